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


class Connection(fetch.Link, Protocol):
    """What is used of hdpd.link.session.Session."""

    @property
    def name(self) -> str: ...
    @property
    def open_requests(self) -> int: ...
    @property
    def received_bytes(self) -> int: ...
    def close(self) -> None: ...


L = TypeVar("L", bound=Connection)


class Connections(Generic[L]):
    """A `fetch.Session` over `main` and what is opened beside it."""

    def __init__(
        self, main: L, open_connection: Callable[[L], Awaitable[L]], trials: Trials | None = None
    ) -> None:
        self.main = main
        self.trials = trials or Trials()
        self._open_connection = open_connection
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
    def connections(self) -> int:
        """How many connections share the reads."""
        return 1 + len(self._in_use)

    @property
    def _in_use(self) -> list[L]:
        return self._more[: self.trials.connections - 1]

    async def call(self, request: Request, *, budget: int) -> fetch.Stream:
        """Like that of a session. When another connection than the session's own ends, so do its
        reads, with `ConnectionLost`; the session stands then, and they can be asked again.
        """
        connection = self.main
        if isinstance(request, Read | Batch):
            if self._watching is None:
                self._watching = asyncio.create_task(self._watch(), name="connections")
            usable = [each for each in self._in_use if not each.closed]
            connection = min((connection, *usable), key=_open_requests)
        return await connection.call(request, budget=budget)

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
                self._more = [each for each in self._more if not each.closed]
                connections = (self.main, *self._more)
                received = sum(each.received_bytes - counted.get(each, 0) for each in connections)
                counted = {each: each.received_bytes for each in connections}
                if any(map(_open_requests, connections)):
                    busy_until = loop.time() + IDLE_S
                    self.trials.step(loop.time(), received, self.rtt)
                else:
                    self.trials.interrupt()
                await self._adjust()
        finally:
            self._watching = None
            self.trials.interrupt()
            for connection in self._more:
                connection.close()
            self._more.clear()

    async def _adjust(self) -> None:
        wanted = self.trials.connections - 1
        for connection in self._more[wanted:]:
            if not connection.open_requests:
                connection.close()
        missing = wanted - len(self._more)
        if missing <= 0:
            return
        opened = await asyncio.gather(
            *(self._open_connection(self.main) for _ in range(missing)), return_exceptions=True
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
        log.debug("%d connections with %s", self.connections, self.main.name)


class ConnectionsOfPeers(Generic[L]):
    """The connections of each connected peer from which something is read."""

    def __init__(
        self,
        session_of: Callable[[PeerId], L | None],
        open_connection: Callable[[L], Awaitable[L]],
    ) -> None:
        self._session_of = session_of
        self._open_connection = open_connection
        # Of peers that the owner downloads from.
        self._connections: dict[PeerId, Connections[L]] = {}

    def get(self, peer_id: PeerId) -> Connections[L] | None:
        """Those of the peer's session; None when it is not connected."""
        main = self._session_of(peer_id)
        if main is None:
            return None
        known = self._connections.get(peer_id)
        if known is not None and known.main is main:
            return known
        # What was found out about the line still holds after an interruption.
        trials = known.trials if known is not None else None
        made = self._connections[peer_id] = Connections(main, self._open_connection, trials)
        return made

    def close(self) -> None:
        for connections in self._connections.values():
            connections.close()


def _open_requests(connection: Connection) -> int:
    return connection.open_requests
