"""Tells whoever has listed a directory that its listing is not current any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from hdpd.database import DatabaseError
from hdpd.errors import Busy, ConnectionLost, HdpdError, StateUnavailable, TimedOut
from hdpd.identity.keys import PeerId
from hdpd.shares.audience import Listener, Validators
from hdpd.wire.paths import RemotePath

LOG = logging.getLogger(__name__)

PAUSE_S = 1.0  # after something was told, and so between two messages to one listener
LOOK_S = 0.1  # after a look that found nothing, which is soon after a scan has begun

Who = PeerId | None
"""A peer, or None for the clients of this hdpd."""

Tell = Callable[[Who, tuple[RemotePath, ...] | None], Awaitable[None]]
"""Tells one listener what it has that is not current; None is everything."""


class Teller:
    """Everybody who has listed something, as long as they are connected; `keep` is its life."""

    def __init__(
        self, validators: Callable[[Collection[RemotePath]], Awaitable[Validators]]
    ) -> None:
        self.on_news: Tell = _nobody
        self.changes = 0
        """How often something may have changed. Who reads a listing takes this number before."""
        self._validators = validators
        self._listeners: dict[Who, Listener] = {}  # one for each connected peer
        self._deaf: set[Who] = set()  # connected peers that do not know what they are told
        self._telling: dict[Who, asyncio.Task[None]] = {}
        self._is_stale = False  # something may have changed since the last look
        self._woken = asyncio.Event()

    def changed(self) -> None:
        """Something in the index, or the set of shares, may have changed."""
        self.changes += 1
        self._is_stale = True
        if self._listeners:
            self._woken.set()

    def listed(self, who: Who, path: RemotePath, validator: bytes | None, changes: int) -> None:
        """`who` is given the listing of a directory that was read when `changes` was as it says."""
        if who in self._deaf:
            return
        listener = self._listeners.setdefault(who, Listener())
        listener.listed(path, validator)
        if changes != self.changes:
            self._is_stale = True
        if listener.has_news or self._is_stale:
            self._woken.set()

    def gone(self, who: Who) -> None:
        """The peer is no longer connected."""
        self._listeners.pop(who, None)
        self._deaf.discard(who)
        if (task := self._telling.get(who)) is not None:
            task.cancel()

    async def keep(self) -> None:
        """Looks for changes and tells them until cancelled."""
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                await self._look()
                concerned = [
                    (who, listener)
                    for who, listener in self._listeners.items()
                    if listener.has_news and who not in self._telling
                ]
                for who, listener in concerned:
                    self._begin_to_tell(who, listener)
                await asyncio.sleep(PAUSE_S if concerned else LOOK_S)
        finally:
            for task in self._telling.values():
                task.cancel()
            await asyncio.gather(*self._telling.values(), return_exceptions=True)

    async def _look(self) -> None:
        if not self._is_stale:
            return
        self._is_stale = False
        held = (listener.held for listener in self._listeners.values())
        paths = frozenset[RemotePath]().union(*held)
        try:
            now = await self._validators(paths)
        except (DatabaseError, StateUnavailable) as error:  # the next change is another chance
            LOG.warning("changes of the shares cannot be looked up: %s", error)
            return
        for listener in self._listeners.values():
            listener.compare(now)

    def _begin_to_tell(self, who: Who, listener: Listener) -> None:
        task = asyncio.create_task(self._tell(who, listener), name="tell of changed listings")
        self._telling[who] = task
        task.add_done_callback(lambda _: self._told(who, listener))

    async def _tell(self, who: Who, listener: Listener) -> None:
        try:
            await self.on_news(who, listener.take())
        except (Busy, ConnectionLost, TimedOut):
            listener.untold()  # it is told again, unless it is gone
        except HdpdError as error:
            # One of an earlier version, which is not asked again.
            LOG.debug("a peer does not want to know what changed: %s", error)
            self._deaf.add(who)
            self._listeners.pop(who, None)

    def _told(self, who: Who, listener: Listener) -> None:
        self._telling.pop(who, None)
        if listener.has_news and self._listeners.get(who) is listener:
            self._woken.set()


async def _nobody(_who: Who, _paths: tuple[RemotePath, ...] | None) -> None:
    return
