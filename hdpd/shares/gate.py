"""Who goes next where only a few may work at once: sources take turns, and in each its peers.

A peer that asks for much waits for itself. So do all peers of one source, which are perhaps one
person's; the owner is a source too. What waits is a request, of which each peer may have so many.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from msgspec import Struct

from hdpd.errors import Busy

MAX_WAITING_OF_PEER: Final = 128  # a suspended task and a stream each, about 5 kB
MAX_WAITING: Final = 4096


class Who(Struct, frozen=True):
    """Whose a request is; those that are perhaps one person have `source` in common."""

    source: str
    peer: str


OWNER: Final = Who("", "")


class Gate:
    """Lets `at_once` work, of each source `of_source` and of each peer `of_peer` at most."""

    def __init__(self, at_once: int, of_source: int, of_peer: int) -> None:
        self._limits = at_once, of_source, of_peer
        self._working: Counter[str | Who] = Counter()  # by source, and by peer
        self._count = 0
        self._waiting: dict[str, dict[Who, deque[asyncio.Future[None]]]] = {}  # the next one first
        self._waiting_count = 0

    @asynccontextmanager
    async def passed(self, who: Who) -> AsyncIterator[None]:
        """Waits for the turn, and gives it on in the end. Raises as `enter`."""
        await self.enter(who)
        try:
            yield
        finally:
            self.leave(who)

    async def enter(self, who: Who) -> None:
        """Returns when it is the turn; `leave` has to follow.

        Raises:
            Busy: too much of that peer, or of all, waits already.
        """
        if self._may_enter(who):
            self._enter(who)
            return
        waiting = len(self._waiting.get(who.source, {}).get(who, ()))
        if waiting >= MAX_WAITING_OF_PEER or self._waiting_count >= MAX_WAITING:
            raise Busy("too many requests wait already; wait for those first")
        own = self._waiting.setdefault(who.source, {}).setdefault(who, deque())
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        own.append(turn)
        self._waiting_count += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(who, turn)
            else:
                self.leave(who)  # it had come in the same moment
            raise

    def leave(self, who: Who) -> None:
        """The work is done, or given up."""
        self._count -= 1
        for key in (who.source, who):
            self._working[key] -= 1
            if not self._working[key]:
                del self._working[key]
        while (following := self._next()) is not None:
            turn = self._waiting[following.source][following].popleft()
            self._waiting_count -= 1
            self._move_back(following)
            if not turn.cancelled():  # given up just now, and to be told of it next
                self._enter(following)
                turn.set_result(None)

    def _may_enter(self, who: Who) -> bool:
        at_once, of_source, of_peer = self._limits
        return (
            self._count < at_once
            and self._working[who.source] < of_source
            and self._working[who] < of_peer
        )

    def _enter(self, who: Who) -> None:
        self._count += 1
        self._working[who.source] += 1
        self._working[who] += 1

    def _next(self) -> Who | None:
        return next(
            (who for peers in self._waiting.values() for who in peers if self._may_enter(who)), None
        )

    def _move_back(self, who: Who) -> None:
        """It had its turn: all others of its source are before it, and all other sources."""
        peers = self._waiting.pop(who.source)
        own = peers.pop(who)
        if own:
            peers[who] = own
        if peers:
            self._waiting[who.source] = peers

    def _forget(self, who: Who, turn: asyncio.Future[None]) -> None:
        peers = self._waiting.get(who.source, {})
        if turn not in peers.get(who, ()):
            return  # passed over already
        peers[who].remove(turn)
        self._waiting_count -= 1
        if not peers[who]:
            del peers[who]
        if not peers:
            del self._waiting[who.source]
