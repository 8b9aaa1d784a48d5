"""Calls into a share's file system, each in a thread of its own that may never come back.

A dead network mount blocks a thread for ever, and a thread pool whose threads block stops everybody
and hangs the exit of the program. These threads are daemons, few for each share, and whoever waits
for one is told after a while that the share is away.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from hdpd.errors import ShareAway

T = TypeVar("T")

MAX_THREADS = 4  # of one share; once so many are stuck, its calls only wait for their time to end


class BlockingCalls:
    """Runs the blocking calls of one share."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._free = asyncio.Semaphore(MAX_THREADS)

    async def run(self, call: Callable[[], T], timeout: float) -> T:
        """What `call` returns or raises.

        Raises:
            ShareAway: it took longer than `timeout` seconds; it may still be running.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._free.acquire()
                return await self._in_thread(call)
        except TimeoutError:
            raise ShareAway(
                f"the file system of the share {self._name!r} does not answer"
            ) from None

    def _in_thread(self, call: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def finish(result: T | None, error: BaseException | None) -> None:
            self._free.release()
            if future.done():  # nobody waits any more
                return
            if error is None:
                future.set_result(result)  # type: ignore[arg-type]
            else:
                future.set_exception(error)

        def run() -> None:
            result, error = None, None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001 - raised again where it is awaited
                error = raised
            try:
                loop.call_soon_threadsafe(finish, result, error)
            except RuntimeError:  # the loop is closed: the program ends
                return

        threading.Thread(target=run, name=f"share-{self._name}", daemon=True).start()
        return future
