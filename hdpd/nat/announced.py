"""Addresses that the owner forwards to this peer by hand, as names that may change."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from hdpd.config import HostPort
from hdpd.nat.resolve import Resolver
from hdpd.tasks import keep_running

AGAIN_S: Final = 300.0  # as long as names of lines at home are mostly kept
RETRY_S: Final = 15.0  # where nothing was found


class Announced:
    """`addresses` are what the names lead to now, `unresolved` those that lead nowhere; `on_change`
    is called when the addresses change.
    """

    def __init__(self, names: Sequence[HostPort], on_change: Callable[[], None]) -> None:
        self.addresses: tuple[HostPort, ...] = ()
        self.unresolved: tuple[HostPort, ...] = ()
        self._names = names
        self._on_change = on_change
        self._resolver = Resolver()
        self._again = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._names:
            self._task = keep_running(self._run, "announced")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look_again(self) -> None:
        """The network is another one."""
        self._again.set()

    async def _run(self) -> None:
        while True:
            self._again.clear()
            found = await asyncio.gather(*map(self._resolver.resolve, self._names))
            pairs = zip(self._names, found, strict=True)
            self.unresolved = tuple(name for name, group in pairs if not group)
            addresses = tuple(dict.fromkeys(each for group in found for each in group))
            if addresses != self.addresses:
                self.addresses = addresses
                self._on_change()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S if all(found) else RETRY_S):
                    await self._again.wait()
