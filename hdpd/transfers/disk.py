"""The threads that write to one volume, and what all running downloads on it have in common."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from hdpd.transfers.ranges import Window

P = ParamSpec("P")
T = TypeVar("T")


class Worker:
    """A thread that makes calls one after another. A daemon, unlike those of a ThreadPoolExecutor:
    one that hangs in the kernel must not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._begun = False

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """What `call` returns or raises; cancelled before it has begun, it is never made."""
        if not self._begun:
            self._begun = True
            self._thread.start()
        job: Future[T] = Future()
        self._jobs.put((job, call))
        return asyncio.wrap_future(job)

    def close(self) -> None:
        """Ends the thread after what it was given; does not wait for it."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, call = item
            if job.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
                    job.set_exception(error)
                else:
                    job.set_result(result)
            del item, job, call  # not held until the next one comes


class Disk:
    """A volume's worker threads, and the window of bytes on their way to it. `root` is the download
    directory, below which everything is written.

    One thread writes large files: two of them would only burn time over the lock of the same file.
    Another one does what ends with waiting for the disk, so that writing goes on meanwhile.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.window = Window()
        self._writer = Worker("downloads-write")
        self._syncer = Worker("downloads-sync")
        self._waiting: set[Callable[[], None]] = set()

    def submit(
        self, function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs
    ) -> asyncio.Future[T]:
        """Runs `function` in the thread that writes."""
        return self._writer.submit(functools.partial(function, *arguments, **options))

    async def sync(self, function: Callable[[], T]) -> T:
        """Like `submit`, in the thread for what waits for the disk: syncs, and batches of files
        that are finished by one.
        """
        return await self._syncer.submit(function)

    def give(self, cost: int) -> None:
        """Gives room in the window back and wakes those who wait for some."""
        self.window.give(cost)
        waiting, self._waiting = self._waiting, set()
        for wake in waiting:
            wake()

    def wake_when_room(self, wake: Callable[[], None]) -> None:
        """Calls `wake` once when the window may have room again."""
        self._waiting.add(wake)

    def close(self) -> None:
        """Ends the threads after what they were given; does not wait for a disk that hangs."""
        self._writer.close()
        self._syncer.close()
