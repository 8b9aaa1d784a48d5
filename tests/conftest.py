"""Runs `async def` tests and polices every test: blocking, leaking and unhandled errors fail it.

A test fails, whatever it asserts, when
- a callback keeps the event loop of the main thread from running for longer than BLOCKED_SECONDS,
  unless it is the test itself that reads a file or makes data,
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
import site
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.fake_hdpd import FakeHdpd, serving

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


@pytest.fixture(scope="module")
def fake_hdpd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHdpd]:
    with serving(tmp_path_factory.mktemp("hdpd")) as fake:
        yield fake


@pytest.fixture
def hdpd(fake_hdpd: FakeHdpd) -> FakeHdpd:
    """A server that hdpctl can be pointed at, with nothing asked of it yet."""
    return fake_hdpd.forget()


@pytest.fixture(autouse=True)
def strict_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot happen in a state fails the test, where service only logs it."""
    monkeypatch.setattr("hdpd.machine.STRICT", True)


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


class Lookout(threading.Thread):
    """Sees in whose code a callback holds the loop, by looking at the main thread now and then."""

    INTERVAL_SECONDS = 0.05
    TESTS = f"{Path(__file__).parent}{os.sep}"
    LIBRARIES = (str(Path(os.__file__).parent), *site.getsitepackages())

    def __init__(self) -> None:
        super().__init__(name="lookout", daemon=True)
        self._callback: object = None
        self._places: set[str] = set()

    def begin(self, callback: object) -> None:
        """From now on `callback` holds the loop."""
        self._callback = callback

    def end(self) -> set[str]:
        """Where it was seen, as paths of files; of a short one nothing is."""
        self._callback, places, self._places = None, self._places, set()
        return places

    def run(self) -> None:
        before: object = None
        main = threading.main_thread().ident
        while True:
            time.sleep(self.INTERVAL_SECONDS)
            callback = self._callback
            frame = sys._current_frames().get(main or 0)
            if callback is not None and callback is before and callback is self._callback:
                self._places.add(self._innermost(frame))
            before = callback

    def _innermost(self, frame: FrameType | None) -> str:
        """The file of the innermost function that is no library's, nor this one's."""
        while frame is not None:
            path = frame.f_code.co_filename
            if path != __file__ and not path.startswith((*self.LIBRARIES, "<")):
                return path
            frame = frame.f_back
        return ""

    @classmethod
    def is_of_the_test(cls, places: set[str]) -> bool:
        """Whether all that was seen is tests' own work, which service does not have."""
        return bool(places) and all(place.startswith(cls.TESTS) for place in places)


LOOKOUT = Lookout()


def pytest_sessionstart() -> None:
    LOOKOUT.start()


class StolenTime:
    """For how long others had the processors that this process was ready to use.

    Each thread counts, because the one that holds the interpreter's lock keeps the others waiting
    while it waits itself; and so does what a hypervisor took. What a thread waited stays counted
    when it has ended. Where Linux does not tell, it is always 0, and a loaded machine may fail a
    good test.
    """

    SAMPLE_SECONDS = 0.02

    def __init__(self) -> None:
        self._sampled_at = 0.0
        self._sample = 0.0
        self._waited_ns = 0
        self._known: dict[str, int] = {}

    def recent(self, now: float) -> float:
        """Like `seconds`, at most SAMPLE_SECONDS ago, so that it costs next to nothing."""
        if now - self._sampled_at > self.SAMPLE_SECONDS:
            self._sampled_at, self._sample = now, self.seconds()
        return self._sample

    def seconds(self) -> float:
        """The total until now."""
        return self._waited_for_a_processor() + self._taken_by_the_hypervisor()

    def _waited_for_a_processor(self) -> float:
        waits = self._waits_ns()
        self._waited_ns += sum(
            max(0, waited - self._known.get(thread, 0)) for thread, waited in waits.items()
        )
        self._known = waits
        return self._waited_ns / 1e9

    @staticmethod
    def _waits_ns() -> dict[str, int]:
        """How long each thread that runs has waited."""
        waits = {}
        for statistics in Path("/proc/self/task").glob("*/schedstat"):
            with suppress(OSError):  # the thread has ended
                waits[statistics.parent.name] = int(statistics.read_text().split()[1])
        return waits

    @staticmethod
    def _taken_by_the_hypervisor() -> float:
        with suppress(OSError, IndexError), Path("/proc/stat").open() as file:
            return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")
        return 0.0


@pytest.fixture(autouse=True)
def no_blocked_event_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails the test when one callback held the loop, time that was stolen from it not counted."""
    blocked: list[str] = []
    stolen = StolenTime()
    test_thread = threading.get_ident()
    run_callback = asyncio.Handle._run

    def run_and_measure(handle: asyncio.Handle) -> None:
        if threading.get_ident() != test_thread:
            run_callback(handle)
            return
        started = time.perf_counter()
        stolen_before = stolen.recent(started)
        LOOKOUT.begin(handle)
        run_callback(handle)
        places = LOOKOUT.end()
        elapsed = time.perf_counter() - started
        if elapsed > BLOCKED_SECONDS and not LOOKOUT.is_of_the_test(places):
            own = elapsed - (stolen.seconds() - stolen_before)
            if own > BLOCKED_SECONDS:
                blocked.append(f"{own:.2f} s in {handle!r}, seen in {sorted(places)}")

    monkeypatch.setattr(asyncio.Handle, "_run", run_and_measure)
    yield
    monkeypatch.undo()
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
