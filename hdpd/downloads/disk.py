"""The threads that write to one volume, and what all running downloads on it have in common."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from hdpd.downloads.ranges import Window
from hdpd.downloads.site import Site
from hdpd.errors import DiskUnavailable
from hdpd.threads.worker import Worker

P = ParamSpec("P")
T = TypeVar("T")


async def done_within(call: asyncio.Future[T], timeout: float) -> bool:
    """Waits for a call in a thread, but no longer than `timeout` seconds; whether it is done. What
    it raises counts as seen, also when whoever waited was cancelled.
    """
    call.add_done_callback(see)
    await asyncio.wait({call}, timeout=timeout)
    return call.done()


def see(call: asyncio.Future[T]) -> None:
    """Nobody waits for this call: whatever it raised is no news."""
    if not call.cancelled():
        call.exception()


@contextmanager
def located(site: Site) -> Iterator[None]:
    """A DiskUnavailable then says where it was."""
    try:
        yield
    except DiskUnavailable as error:
        error.at = site.path
        raise


class Disk:
    """A volume's worker threads, and the window of bytes on their way to it. `site` is where on it
    everything is written.

    One thread writes large files: two of them would only burn time over the lock of the same file.
    Another one does what ends with waiting for the disk, so that writing goes on meanwhile.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.window = Window()
        self._writer = Worker("downloads-write")
        self._syncer = Worker("downloads-sync")
        self._waiting: set[Callable[[], None]] = set()

    def submit(
        self, function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs
    ) -> asyncio.Future[T]:
        """Runs `function` in the thread that writes. A DiskUnavailable then says where it was."""
        call = functools.partial(function, *arguments, **options)
        return self._writer.submit(self._located(call))

    async def sync(self, function: Callable[[], T]) -> T:
        """Like `submit`, in the thread for what waits for the disk: syncs, and batches of files
        that are finished by one.
        """
        return await self._syncer.submit(self._located(function))

    def _located(self, function: Callable[[], T]) -> Callable[[], T]:
        def run() -> T:
            with located(self.site):
                return function()

        return run

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
