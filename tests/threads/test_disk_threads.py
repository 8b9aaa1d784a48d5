"""Threads for blocking calls: results, errors, queues that do not wait for each other, batches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from hdpd.threads import disk_threads
from hdpd.threads.disk_threads import DiskThreads


class Gates:
    """Calls that block until they are let go."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)

    def call(self) -> str:
        self.entered.release()
        assert self.open.wait(30)
        return "through"


@pytest.fixture
def gates() -> Iterator[Gates]:
    gates = Gates()
    yield gates
    gates.open.set()


async def test_results_and_errors_arrive() -> None:
    threads = DiskThreads()
    results = [threads.run("share", partial(divmod, number, 7)) for number in range(100)]
    assert await asyncio.gather(*results) == [divmod(number, 7) for number in range(100)]
    with pytest.raises(ZeroDivisionError):
        await threads.run("share", lambda: 1 // 0)
    assert await threads.run("share", threading.get_ident) != threading.get_ident()
    assert threads._queues == {}
    threads.close()


async def test_hanging_queues_do_not_hold_others(gates: Gates) -> None:
    threads = DiskThreads()
    hanging = [threads.run(f"dead {queue}", gates.call) for queue in range(5)]
    assert await threads.run("alive", lambda: "read") == "read"
    gates.open.set()
    assert await asyncio.gather(*hanging) == ["through"] * 5
    threads.close()


async def test_slow_queue_gets_more_threads_but_not_all(gates: Gates) -> None:
    threads = DiskThreads()
    jobs = []
    for _ in range(disk_threads.QUEUE_THREADS + 5):
        jobs.append(threads.run("slow", gates.call))
        await asyncio.sleep(2 * disk_threads.SLOW_S)
    assert threads._threads == disk_threads.QUEUE_THREADS
    gates.open.set()
    assert await asyncio.gather(*jobs) == ["through"] * len(jobs)
    threads.close()


async def test_quick_queue_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine any call may seem slow.
    monkeypatch.setattr("hdpd.threads.disk_threads.SLOW_S", 60.0)
    threads = DiskThreads()
    calls = [threads.run("quick", threading.get_ident) for _ in range(50)]
    assert len(set(await asyncio.gather(*calls))) == 1
    threads.close()


async def test_cancelled_job_is_not_begun(gates: Gates) -> None:
    threads = DiskThreads()
    first = threads.run("share", gates.call)
    called: list[int] = []
    second = threads.run("share", lambda: called.append(2))
    second.cancel()
    gates.open.set()
    await first
    await threads.run("share", lambda: called.append(3))
    assert called == [3]
    threads.close()


async def test_close_waits_for_nothing(gates: Gates) -> None:
    threads = DiskThreads()
    threads.run("share", gates.call)
    assert gates.entered.acquire(timeout=5)
    threads.close()
