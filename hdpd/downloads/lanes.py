"""A peer's session and further connections with it, used as one: reads go where fewest are open.

How many connections there are is decided in `trials`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from hdpd.downloads.trials import Trials
from hdpd.errors import HdpdError
from hdpd.identity.keys import PeerId
from hdpd.remote import reads as fetch
from hdpd.wire.messages import Batch, Read, Request

log = logging.getLogger(__name__)

STEP_S = 0.5
IDLE_S = 15.0  # without a read; then further connections are closed


class Lane(fetch.Link, Protocol):
    """What is used of hdpd.link.session.Session."""

    @property
    def name(self) -> str: ...
    @property
    def open_requests(self) -> int: ...
    @property
    def received_bytes(self) -> int: ...
    def close(self) -> None: ...


L = TypeVar("L", bound=Lane)


class Lanes(Generic[L]):
    """A `fetch.Session` over `main` and what is opened beside it."""

    def __init__(
        self, main: L, open_lane: Callable[[L], Awaitable[L]], trials: Trials | None = None
    ) -> None:
        self.main = main
        self.trials = trials or Trials()
        self._open_lane = open_lane
        self._more: list[L] = []
        self._watching: asyncio.Task[None] | None = None

    @property
    def peer_id(self) -> PeerId:
        return self.main.peer_id

    @property
    def rtt(self) -> float:
        return self.main.rtt

    @property
    def on_lan(self) -> bool:
        return self.main.on_lan

    @property
    def closed(self) -> bool:
        return self.main.closed

    @property
    def lanes(self) -> int:
        """How many connections share the reads."""
        return 1 + len(self._in_use)

    @property
    def _in_use(self) -> list[L]:
        return self._more[: self.trials.lanes - 1]

    async def call(self, request: Request, *, budget: int) -> fetch.Stream:
        """Like that of a session. When another lane than the session's own ends, so do its reads,
        with `ConnectionLost`; the session stands then, and they can be asked again.
        """
        lane = self.main
        if isinstance(request, Read | Batch):
            if self._watching is None:
                self._watching = asyncio.create_task(self._watch(), name="lanes")
            usable = [each for each in self._in_use if not each.closed]
            lane = min((lane, *usable), key=_open_requests)
        return await lane.call(request, budget=budget)

    def close(self) -> None:
        """Lets what was opened go; waits for nothing."""
        if self._watching is not None:  # else nothing is open
            self._watching.cancel()

    async def _watch(self) -> None:
        """While there is something to read, and a little longer."""
        loop = asyncio.get_running_loop()
        busy_until = loop.time() + IDLE_S
        counted = {self.main: self.main.received_bytes}
        try:
            await self._adjust()
            while not self.closed and loop.time() < busy_until:
                await asyncio.sleep(STEP_S)
                self._more = [lane for lane in self._more if not lane.closed]
                lanes = (self.main, *self._more)
                received = sum(lane.received_bytes - counted.get(lane, 0) for lane in lanes)
                counted = {lane: lane.received_bytes for lane in lanes}
                if any(map(_open_requests, lanes)):
                    busy_until = loop.time() + IDLE_S
                    self.trials.step(loop.time(), received, self.rtt)
                else:
                    self.trials.interrupt()
                await self._adjust()
        finally:
            self._watching = None
            self.trials.interrupt()
            for lane in self._more:
                lane.close()
            self._more.clear()

    async def _adjust(self) -> None:
        wanted = self.trials.lanes - 1
        for lane in self._more[wanted:]:
            if not lane.open_requests:
                lane.close()
        missing = wanted - len(self._more)
        if missing <= 0:
            return
        opened = await asyncio.gather(
            *(self._open_lane(self.main) for _ in range(missing)), return_exceptions=True
        )
        for outcome in opened:
            if isinstance(outcome, HdpdError):
                log.debug("another connection with %s: %s", self.main.name, outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                self._more.append(outcome)
        if len(self._more) < wanted:
            self.trials.refused(1 + len(self._more), asyncio.get_running_loop().time())
        log.debug("%d connections with %s", self.lanes, self.main.name)


class LanesOfPeers(Generic[L]):
    """The lanes of each connected peer from which something is read."""

    def __init__(
        self,
        session_of: Callable[[PeerId], L | None],
        open_lane: Callable[[L], Awaitable[L]],
    ) -> None:
        self._session_of = session_of
        self._open_lane = open_lane
        self._lanes: dict[PeerId, Lanes[L]] = {}  # of peers that the owner downloads from

    def get(self, peer_id: PeerId) -> Lanes[L] | None:
        """Those of the peer's session; None when it is not connected."""
        main = self._session_of(peer_id)
        if main is None:
            return None
        lanes = self._lanes.get(peer_id)
        if lanes is None or lanes.main is not main:
            # What was found out about the line still holds after an interruption.
            trials = lanes.trials if lanes is not None else None
            lanes = self._lanes[peer_id] = Lanes(main, self._open_lane, trials)
        return lanes

    def close(self) -> None:
        for lanes in self._lanes.values():
            lanes.close()


def _open_requests(lane: Lane) -> int:
    return lane.open_requests
