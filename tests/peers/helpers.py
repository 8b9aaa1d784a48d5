"""Whole `Peers` on loopback in one process: book, dialler, topics and sessions."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from hdpd.database import Database
from hdpd.discovery.discovery import Discovery, Found
from hdpd.discovery.records import Candidate
from hdpd.identity.keys import Identity, PeerId
from hdpd.link.endpoint import Endpoint
from hdpd.link.engine import EngineName
from hdpd.link.session import Handler, Session, Surroundings
from hdpd.peers.book_store import load_book
from hdpd.peers.peers import Peers
from hdpd.peers.topics import Topics
from tests.link.helpers import answer_ok, identity
from tests.waiting import until


def quick_master(name: str) -> bytes:
    """In place of scrypt."""
    return hashlib.sha256(name.encode()).digest()


class House:
    """One peer with everything between the wire and the control interface."""

    def __init__(
        self, directory: Path, *, who: Identity | None = None, engine: EngineName = "qh3"
    ) -> None:
        self.identity = who or identity()
        self.engine = engine
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.handlers: dict[str, Handler] = {"ls": answer_ok}
        self.running = False
        directory.mkdir(exist_ok=True)
        self.database = Database(directory / "state.db", "state")

    async def start(self, *topics: str, port: int = 0) -> None:
        self.running = True
        await self.database.open()
        self.topics = Topics(self.database, topics, self.emit)
        await self.topics.start()
        self.endpoint = Endpoint(
            self.identity,
            self.engine,
            lambda connection: self.peers.accept(connection),  # noqa: PLW0108 (made later)
        )
        self.endpoint.open(["127.0.0.1"], port)
        self.endpoint.gate.set_topics(self.topics.current())
        around = Surroundings(self.identity, self.endpoint, self.topics.current, self.handlers)
        book = await load_book(self.database)
        self.peers = Peers(around, self.topics, book, self.database, self.candidates, self.emit)
        self.topics.on_changed = self.peers.topics_changed
        self.topics.count_peers = self.peers.peers_at
        self.peers.start()

    async def start_discovery(self) -> None:
        """Records of its own and those that peers tell; neither broker nor mDNS."""
        discovery = Discovery(
            self.identity,
            self.candidates,
            itertools.count(1).__next__,
            self.peers.found,
            (),
            mdns=False,
        )
        self.peers.discovery = discovery
        await discovery.start(self.port)
        discovery.set_topics(self.topics.current())
        self.handlers["announce"] = self.peers.answer_announce

    async def close(self) -> None:
        """Stops it, if it runs."""
        if not self.running:
            return
        self.running = False
        await self.peers.close()
        if self.peers.discovery is not None:
            await self.peers.discovery.close()
        self.endpoint.close()
        await self.database.close()

    async def crash(self) -> None:
        """Ends without a goodbye: the others learn nothing."""
        for opened in self.endpoint._sockets:
            opened.send = lambda datagrams, address: None  # type: ignore[method-assign]
        await self.close()

    def emit(self, kind: str, data: dict[str, object]) -> None:
        self.events.append((kind, data))

    def candidates(self) -> list[Candidate]:
        return [Candidate("127.0.0.1", self.port, "local")]

    @property
    def id(self) -> PeerId:
        return self.identity.peer_id

    @property
    def port(self) -> int:
        return self.endpoint.ports[0]

    def sees(self, other: House, topic: str = "party", *, port: int = 0) -> None:
        """What discovery tells when it has found `other`."""
        candidate = Candidate("127.0.0.1", port or other.port, "local")
        public_id = next(t.public_id for t in self.topics.current() if t.name == topic)
        self.peers.found(Found(other.id, public_id, "mqtt", (candidate,), None, None))

    def session(self, other: House) -> Session | None:
        return self.peers.get(other.id)

    def count(self, kind: str) -> int:
        return sum(each == kind for each, _ in self.events)

    def sessions_with(self, other: House) -> list[Session]:
        """All that stand, which should be one."""
        return [each for each in self.peers._sessions.get(other.id, []) if not each.closed]


@contextlib.asynccontextmanager
async def houses(
    directory: Path, count: int = 2, *topics: str, engine: EngineName = "qh3"
) -> AsyncIterator[list[House]]:
    """`count` houses, the one with the lowest key first, all with the same topics."""
    identities = sorted((identity() for _ in range(count)), key=lambda each: each.peer_id)
    made = [
        House(directory / str(number), who=who, engine=engine)
        for number, who in enumerate(identities)
    ]
    try:
        for house in made:
            await house.start(*(topics or ("party",)))
        yield made
    finally:
        for house in made:
            await house.close()


async def connected(one: House, other: House) -> None:
    """Until both sides have exactly one session, the same one."""

    def same() -> bool:
        mine, yours = one.sessions_with(other), other.sessions_with(one)
        return len(mine) == len(yours) == 1 and mine[0].dialled_by_us != yours[0].dialled_by_us

    await until(same, "one session between the two")
