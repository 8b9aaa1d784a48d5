"""The threads for writing, and what all running downloads have in common."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from hdpd.transfers.ranges import Window

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 2  # one may sync while the other writes; more would only wait for the same disk


class Disk:
    """The download directory's worker threads, and the window of bytes on their way to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.window = Window()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="downloads")
        self._syncing = asyncio.Lock()
        self._waiting: set[Callable[[], None]] = set()

    def submit(
        self, function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs
    ) -> asyncio.Future[T]:
        """Runs `function` in a worker thread."""
        call = functools.partial(function, *arguments, **options)
        return asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def sync(self, function: Callable[[], T]) -> T:
        """Like `submit`, for what waits for the disk: one at a time, so that others can write."""
        async with self._syncing:
            return await self.submit(function)

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
        self._threads.shutdown(wait=False)
