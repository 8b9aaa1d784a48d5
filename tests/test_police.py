"""The suite's own police: each kind of misbehaving test is caught, and good ones pass."""

from __future__ import annotations

from pathlib import Path

import pytest

MISBEHAVING = """
import asyncio, socket, threading, time
import pytest

release = threading.Event()

@pytest.fixture
def number():
    return 5

async def test_good(number, tmp_path):
    await asyncio.sleep(0)
    assert number == 5 and tmp_path.is_dir()

async def test_wrong():
    assert await asyncio.sleep(0, False)

async def test_blocks_the_loop():
    time.sleep(0.4)

async def test_leaks_a_task():
    asyncio.create_task(asyncio.sleep(60))

async def test_loses_an_exception():
    async def fail():
        raise ValueError("lost")
    asyncio.create_task(fail())
    await asyncio.sleep(0.01)

def test_leaks_a_thread():
    threading.Thread(target=release.wait, args=(5,), daemon=True).start()

def test_leaks_a_socket():
    socket.socket()

def test_never_awaits():
    asyncio.sleep(0)
"""


def test_misbehaving_tests_fail(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makepyfile(MISBEHAVING)
    result = pytester.runpytest_subprocess("-v", "-p", "no:cacheprovider", "-W", "error")

    outcomes = dict.fromkeys(("blocks_the_loop", "loses_an_exception", "leaks_a_thread"), "ERROR")
    outcomes |= dict.fromkeys(("wrong", "leaks_a_task"), "FAILED")
    for name, outcome in outcomes.items():
        result.stdout.fnmatch_lines(f"*test_{name} {outcome}*")
    result.stdout.fnmatch_lines("*test_good PASSED*")
    for name in ("leaks_a_socket", "never_awaits"):
        result.stdout.re_match_lines(f".*test_{name} (ERROR|FAILED)")
    result.stdout.fnmatch_lines(["*event loop was blocked*", "*unhandled in the loop*lost*"])
    result.stdout.fnmatch_lines("*thread still alive*")
