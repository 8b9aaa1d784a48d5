"""Threads that make the calls of one owner."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial

import pytest

from hdpd.threads.worker import Worker


async def test_calls_are_made_in_order_by_one_thread() -> None:
    worker = Worker("test")
    made: list[int] = []

    def call(number: int) -> int:
        made.append(number)
        return threading.get_ident()

    threads = await asyncio.gather(*(worker.submit(partial(call, n)) for n in range(50)))
    assert made == list(range(50))
    assert len(set(threads)) == 1
    worker.close()


async def test_errors_are_raised_where_the_result_is_awaited() -> None:
    worker = Worker("test")
    with pytest.raises(ZeroDivisionError):
        await worker.submit(lambda: 1 // 0)
    assert await worker.submit(lambda: 5) == 5
    worker.close()


async def test_what_is_cancelled_before_it_begins_is_never_done() -> None:
    worker = Worker("test")
    go_on = threading.Event()
    called: list[int] = []
    first = worker.submit(lambda: go_on.wait(30))
    second = worker.submit(lambda: called.append(2))
    second.cancel()
    await asyncio.sleep(0)  # the thread's side hears of it
    go_on.set()
    await first
    await worker.submit(lambda: called.append(3))
    assert called == [3]
    worker.close()


async def test_several_threads_share_the_calls_and_start_when_needed() -> None:
    worker = Worker("test", 2)
    both = threading.Barrier(2, timeout=30)
    for _ in range(5):
        await worker.submit(lambda: None)
        await asyncio.to_thread(until_idle, worker)
    assert len(worker._threads) == 1
    await asyncio.gather(worker.submit(both.wait), worker.submit(both.wait))
    assert len(worker._threads) == 2
    await asyncio.gather(*(worker.submit(lambda: None) for _ in range(10)))
    assert len(worker._threads) == 2
    worker.close()


def until_idle(worker: Worker) -> None:
    """Waits until its one thread waits for calls again."""
    assert worker._idle.acquire(timeout=30)
    worker._idle.release()


async def test_what_it_was_given_is_done_after_close_and_nothing_else() -> None:
    worker = Worker("test")
    go_on = threading.Event()
    first, second = worker.submit(lambda: go_on.wait(30)), worker.submit(lambda: 2)
    worker.close()
    worker.close()
    assert worker.begin(lambda: 3).cancelled()
    go_on.set()
    assert (await first, await second) == (True, 2)
    await asyncio.to_thread(worker.join)
    assert all(not thread.is_alive() for thread in worker._threads)


def test_it_needs_no_event_loop() -> None:
    worker = Worker("test")
    assert worker.begin(lambda: 5).result(30) == 5
    worker.close()
    worker.join(30)


def test_one_that_was_never_used_ends_at_once() -> None:
    worker = Worker("test")
    worker.close()
    began = time.monotonic()
    worker.join()
    assert time.monotonic() - began < 1
