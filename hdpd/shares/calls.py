"""Calls into a share's file system, which may be a mount that is dead."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hdpd.errors import ShareAway
from hdpd.threads.blocking import BlockingCalls

T = TypeVar("T")


class ShareCalls:
    """The calls of one share."""

    def __init__(self, share: str) -> None:
        self._share = share
        self._calls = BlockingCalls(f"share-{share}")

    async def run(self, call: Callable[[], T], timeout: float) -> T:
        """What `call` returns or raises.

        Raises:
            ShareAway: it took longer than `timeout` seconds; it may still be running.
        """
        try:
            return await self._calls.run(call, timeout)
        except TimeoutError:
            message = f"the file system of the share {self._share!r} does not answer"
            raise ShareAway(message) from None
