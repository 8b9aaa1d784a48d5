"""Calls that may never come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from hdpd.threads.blocking import BlockingCalls


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


async def test_gives_the_result_or_the_error() -> None:
    calls = BlockingCalls("test")
    assert await calls.run(lambda: 5, 30) == 5
    with pytest.raises(KeyError):
        await calls.run(lambda: dict[str, str]()["x"], 30)


async def test_does_not_wait_longer_than_it_was_told(gate: threading.Event) -> None:
    calls = BlockingCalls("test")
    with pytest.raises(TimeoutError):
        await calls.run(gate.wait, 0.05)


async def test_stuck_calls_keep_their_threads_and_no_more_are_started(
    gate: threading.Event,
) -> None:
    calls = BlockingCalls("stuck", threads=2)
    for _ in range(5):
        with pytest.raises(TimeoutError):
            await calls.run(gate.wait, 0.05)
    stuck = [each for each in threading.enumerate() if each.name == "stuck"]
    assert len(stuck) == 2
    gate.set()
    assert await calls.run(lambda: 5, 30) == 5


async def test_a_late_result_can_be_given_back(gate: threading.Event) -> None:
    calls = BlockingCalls("test", threads=1)
    late: asyncio.Queue[int] = asyncio.Queue()

    def call() -> int:
        gate.wait(30)
        return 5

    with pytest.raises(TimeoutError):
        await calls.run(call, 0.05, late=late.put_nowait)
    gate.set()
    assert await late.get() == 5
    assert await calls.run(lambda: 6, 30, late=late.put_nowait) == 6
    assert late.empty()


async def test_an_error_that_comes_late_is_nobodys(gate: threading.Event) -> None:
    calls = BlockingCalls("test", threads=1)

    def call() -> None:
        gate.wait(30)
        raise OSError

    with pytest.raises(TimeoutError):
        await calls.run(call, 0.05)
    gate.set()
    assert await calls.run(lambda: 6, 30) == 6
