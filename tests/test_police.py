"""The suite's own police: each kind of misbehaving test is caught, and good ones pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import StolenTime

MISBEHAVING = """
import asyncio, socket, threading, time
import program, pytest

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
    program.wait(0.4)

async def test_waits_itself():
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


PROGRAM = "import time\ndef wait(seconds): time.sleep(seconds)"


def test_misbehaving_tests_fail(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    program = tmp_path_factory.mktemp("program")
    (program / "program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parents[1]}:{program}")
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makepyfile(MISBEHAVING)
    result = pytester.runpytest_subprocess("-v", "-p", "no:cacheprovider", "-W", "error")

    outcomes = dict.fromkeys(("blocks_the_loop", "loses_an_exception", "leaks_a_thread"), "ERROR")
    outcomes |= dict.fromkeys(("wrong", "leaks_a_task"), "FAILED")
    for name, outcome in outcomes.items():
        result.stdout.fnmatch_lines(f"*test_{name} {outcome}*")
    for name in ("good", "waits_itself"):
        result.stdout.fnmatch_lines(f"*test_{name} PASSED*")
    for name in ("leaks_a_socket", "never_awaits"):
        result.stdout.re_match_lines(f".*test_{name} (ERROR|FAILED)")
    result.stdout.fnmatch_lines(["*event loop was blocked*", "*unhandled in the loop*lost*"])
    result.stdout.fnmatch_lines("*thread still alive*")


def test_what_a_thread_waited_stays_counted_when_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples = [{"1": 100, "2": 5_000}, {"1": 300}, {"1": 400, "3": 50}]
    monkeypatch.setattr(StolenTime, "_waits_ns", lambda _: samples.pop(0))
    monkeypatch.setattr(StolenTime, "_taken_by_the_hypervisor", lambda _: 0.0)
    stolen = StolenTime()
    assert [round(stolen.seconds() * 1e9) for _ in range(3)] == [5_100, 5_300, 5_450]
