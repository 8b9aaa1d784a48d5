"""Runs `async def` tests and polices every test: blocking, leaking and unhandled errors fail it.

A test fails, whatever it asserts, when
- a callback keeps the event loop of the main thread from running for longer than BLOCKED_SECONDS,
- tasks are still pending after an async test (or it takes longer than ASYNC_TEST_SECONDS),
- the event loop reports an exception that nobody retrieved,
- threads that it started are still alive,
- something is dropped unclosed or warns in any other way (`filterwarnings` in pyproject.toml).

Async tests run in an event loop of their own; all fixtures are synchronous.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest_plugins = ["pytester"]

BLOCKED_SECONDS = 0.25
"""Far above any honest callback (the longest pure computation, a scrypt, is 0.2 s and has no
business in the loop), so that a slow machine does not fail a good test."""

ASYNC_TEST_SECONDS = 90.0
"""Longer than any awaited event takes on a busy machine; a hang is told by its traceback."""

THREAD_GRACE_SECONDS = 2.0
"""A thread that has been told to stop may need a moment on a busy machine."""

TASK_GRACE_SECONDS = 0.1
"""Lets tasks finish that only have to be scheduled once more."""

LOOP_ERRORS = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs root when the suite is not run by root."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root; run `sudo make test` for it"))


def pytest_collection_finish() -> None:
    """Exempts everything imported from garbage collection, so that one per test is cheap."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs an `async def` test; leaves all others to pytest."""
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    arguments = {
        name: pyfuncitem.funcargs[name]
        for name in inspect.signature(function).parameters
        if name in pyfuncitem.funcargs
    }
    errors = pyfuncitem.stash.setdefault(LOOP_ERRORS, [])
    with asyncio.Runner(debug=False) as runner:
        leaked = runner.run(_run_async_test(function(**arguments), errors))
    if leaked:
        pytest.fail("tasks still pending at the end of the test:\n" + "\n".join(leaked))
    return True


async def _run_async_test(test: Any, errors: list[str]) -> list[str]:
    """Awaits the test and returns the tasks that it left behind."""

    def note_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    asyncio.get_running_loop().set_exception_handler(note_error)
    async with asyncio.timeout(ASYNC_TEST_SECONDS):
        await test
    pending = asyncio.all_tasks() - {asyncio.current_task()}
    if pending:
        _done, pending = await asyncio.wait(pending, timeout=TASK_GRACE_SECONDS)
    return [repr(task) for task in pending]


class StolenTime:
    """How long the calling thread was ready to run while other processes had the processors.

    Without Linux's scheduler statistics it is always 0, and a loaded machine may fail a good test.
    """

    def __init__(self) -> None:
        try:
            self._statistics: int | None = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        except OSError:
            self._statistics = None

    def seconds(self) -> float:
        """The total since the thread began."""
        if self._statistics is None:
            return 0.0
        return int(os.pread(self._statistics, 64, 0).split()[1]) / 1e9

    def close(self) -> None:
        """Releases the file; `seconds` must not be called afterwards."""
        if self._statistics is not None:
            os.close(self._statistics)


@pytest.fixture(autouse=True)
def no_blocked_event_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails the test when one callback held the loop, time taken by other processes not counted."""
    blocked: list[str] = []
    stolen = StolenTime()
    test_thread = threading.get_ident()
    run_callback = asyncio.Handle._run

    def run_and_measure(handle: asyncio.Handle) -> None:
        if threading.get_ident() != test_thread:
            run_callback(handle)
            return
        started, stolen_before = time.perf_counter(), stolen.seconds()
        run_callback(handle)
        elapsed = time.perf_counter() - started
        if elapsed > BLOCKED_SECONDS:
            own = elapsed - (stolen.seconds() - stolen_before)
            if own > BLOCKED_SECONDS:
                blocked.append(f"{own:.2f} s in {handle!r}")

    monkeypatch.setattr(asyncio.Handle, "_run", run_and_measure)
    yield
    monkeypatch.undo()
    stolen.close()
    if blocked:
        pytest.fail("the event loop was blocked:\n" + "\n".join(blocked))


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails the test that leaves a thread, an unretrieved exception or an unclosed resource."""
    before = set(threading.enumerate())
    yield
    # Unclosed resources warn when collected; here the warning fails this test, not a later one.
    gc.collect()
    problems = [
        f"unhandled in the loop: {error}" for error in request.node.stash.get(LOOP_ERRORS, [])
    ]
    deadline = time.monotonic() + THREAD_GRACE_SECONDS
    for thread in set(threading.enumerate()) - before:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            problems.append(f"thread still alive: {thread!r}")
    if problems:
        pytest.fail("\n".join(problems))
