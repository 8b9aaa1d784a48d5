"""Lets transfers wait for their part of a limited rate: the shaper with futures and one timer.

Where nothing is limited, all that it costs is the question whether something is.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Protocol

from hdpd.identity.keys import PeerId
from hdpd.rates.shaper import Shaper

Granted = Callable[[int], None]


class Peer(Protocol):
    """What is needed of a session. `on_lan`: it goes over the local network at the moment."""

    @property
    def peer_id(self) -> PeerId: ...
    @property
    def on_lan(self) -> bool: ...


class Throttle:
    """One direction; made and used in one event loop. Nothing is limited until `set_rates`."""

    def __init__(self, slice_seconds: float, min_slice: int) -> None:
        self._shaper = Shaper(slice_seconds, min_slice)
        self._lan = False
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        self._waiting: dict[int, Granted] = {}
        self._timer: asyncio.TimerHandle | None = None

    def set_rates(self, rate: int | None, per_peer: int | None, *, lan: bool) -> None:
        """Bytes per second for all peers together and each one, None for no limit; those on the
        local network count with `lan` only. Holds at once, also for who waits already.
        """
        self._lan = lan
        self._shaper.set_rates(rate, per_peer, self._loop.time())
        self._stop_timer()
        self._grant()

    def limits(self, peer: Peer) -> bool:
        """Whether bytes to or from this peer have to be asked for."""
        return self._shaper.limited and (self._lan or not peer.on_lan)

    @property
    def slice_bytes(self) -> int:
        """The most that is granted at once; only while something is limited."""
        return self._shaper.slice_bytes

    async def take(self, peer: Peer, size: int) -> int:
        """Waits until bytes may go: so many of `size`, at least one."""
        granted: asyncio.Future[int] = self._loop.create_future()

        def grant(size: int) -> None:
            if not granted.cancelled():  # of which `cancel` hears only when this task runs again
                granted.set_result(size)

        request = self.request(peer, size, grant)
        try:
            return await granted
        finally:
            if request is not None:
                self.cancel(request)

    def request(self, peer: Peer, size: int, granted: Granted) -> int | None:
        """Calls `granted` with how many bytes of `size` may go, as soon as some may; returns what
        `cancel` needs, None when it was called already.
        """
        number = next(self._numbers)
        self._waiting[number] = granted
        self._shaper.want(peer.peer_id, number, size, self._loop.time())
        self._grant()
        return number if number in self._waiting else None

    def cancel(self, request: int) -> None:
        """Takes a request back; does nothing when it was granted."""
        if self._waiting.pop(request, None) is not None:
            self._shaper.forget(request)

    def give_back(self, peer: Peer, size: int) -> None:
        """So much of what was granted was not used; less than 0: so much more was."""
        self._shaper.give_back(peer.peer_id, size, self._loop.time())
        self._grant()

    def close(self) -> None:
        """Nothing is granted any more."""
        self._stop_timer()

    def _grant(self) -> None:
        while (grant := self._shaper.next_grant(self._loop.time())) is not None:
            self._waiting.pop(grant.stream)(grant.size)
        wake_at = self._shaper.wake_at()
        if wake_at is None or (self._timer is not None and self._timer.when() <= wake_at):
            return  # when the timer comes too early it is set anew
        self._stop_timer()
        self._timer = self._loop.call_at(wake_at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._grant()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
