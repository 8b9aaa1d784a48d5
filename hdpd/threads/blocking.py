"""Calls that may never come back, each in a thread of its own.

A dead network mount or a name server that is silent blocks a thread for as long as it likes. Such a
thread is left alone when the time of its call is over, and few are started for one thing, so that
they do not gather.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MAX_THREADS = 4  # about 100 kB each


class BlockingCalls:
    """The calls to one thing: a share, a server. Once `threads` of them are stuck, further ones
    only wait for their time to end.
    """

    def __init__(self, name: str, threads: int = MAX_THREADS) -> None:
        self._name = name
        self._free = asyncio.Semaphore(threads)

    async def run(
        self, call: Callable[[], T], timeout: float, *, late: Callable[[T], None] | None = None
    ) -> T:
        """What `call` returns or raises. `late` gets a result that nobody waits for any more, to
        close what it holds; it must not block.

        Raises:
            TimeoutError: it took longer than `timeout` seconds; it may still be running.
        """
        async with asyncio.timeout(timeout):
            await self._free.acquire()
            return await self._in_thread(call, late)

    def _in_thread(
        self, call: Callable[[], T], late: Callable[[T], None] | None
    ) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def succeed(result: T) -> None:
            self._free.release()
            if not future.done():
                future.set_result(result)
            elif late is not None:
                late(result)

        def fail(error: BaseException) -> None:
            self._free.release()
            if not future.done():
                future.set_exception(error)

        def run() -> None:
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
                _tell(loop, fail, error)
            else:
                if not _tell(loop, succeed, result) and late is not None:
                    late(result)

        threading.Thread(target=run, name=self._name, daemon=True).start()
        return future


def _tell(loop: asyncio.AbstractEventLoop, hear: Callable[[T], None], outcome: T) -> bool:
    """Whether the loop still runs; it calls `hear` then."""
    try:
        loop.call_soon_threadsafe(hear, outcome)
    except RuntimeError:  # it is closed: the program ends
        return False
    return True
