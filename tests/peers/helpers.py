"""Whole `Peers` on loopback in one process: book, dialler, topics and sessions."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

from hdpd.database import Database
from hdpd.discovery.discovery import Discovery, Found
from hdpd.discovery.records import Candidate, NatKind
from hdpd.identity.keys import Identity, PeerId
from hdpd.link.endpoint import Endpoint
from hdpd.link.engine import EngineName
from hdpd.link.session import Handlers, Session, Surroundings
from hdpd.link.sockets import UdpSocket
from hdpd.nat.report import NatReport
from hdpd.peers.peer import Peer
from hdpd.peers.peers import Peers
from hdpd.peers.topics import Topics
from hdpd.wire.messages import Announce, Ls
from tests.link.helpers import answer_ok, identity
from tests.waiting import until


def quick_master(name: str) -> bytes:
    """In place of scrypt."""
    return hashlib.sha256(name.encode()).digest()


class FakeNat:
    """A peer that is reached at loopback only, by its port and by the socket of a punch."""

    def __init__(self) -> None:
        self.kind: NatKind = "unknown"
        self.reachable = True
        self.told: tuple[Candidate, ...] = ()

    def report(self) -> NatReport:
        return NatReport(online=True, mapping=self.kind)

    def hops(self) -> int:
        return 1

    def candidates(self) -> tuple[Candidate, ...]:
        return self.told

    async def candidates_of(self, opened: UdpSocket) -> tuple[Candidate, ...]:
        if not self.reachable:
            return ()
        return (Candidate("127.0.0.1", opened.port, "local"),)


class House:
    """One peer with everything between the wire and the control interface."""

    def __init__(
        self, directory: Path, *, who: Identity | None = None, engine: EngineName = "qh3"
    ) -> None:
        self.identity = who or identity()
        self.engine = engine
        self.events: list[object] = []
        self.handlers = Handlers()
        self.handlers.answer(Ls, answer_ok)
        self.running = False
        directory.mkdir(exist_ok=True)
        self.database = Database(directory / "state.db", "state")

    async def start(self, *topics: str, port: int = 0) -> None:
        self.running = True
        await self.database.open()
        self.topics = Topics(self.database, topics, lambda _: None)
        self.endpoint = Endpoint(self.identity, self.engine)
        around = Surroundings(self.identity, self.endpoint, self.topics.current, self.handlers)
        self.nat = FakeNat()
        self.discovery = Discovery(
            self.identity, self.nat.candidates, itertools.count(1).__next__, (), mdns=False
        )
        self.peers = Peers(around, self.topics, self.database, self.nat, self.discovery, self.emit)
        self.meeting = self.peers.meeting
        self.endpoint.on_accept = self.meeting.sessions.accept
        self.discovery.on_found = self.meeting.found
        self.discovery.on_punch = self.meeting.traversal.requested
        self.topics.on_changed = self.meeting.topics_changed
        self.topics.on_count = self.peers.peers_at

        await self.topics.start()
        await self.peers.load()
        self.endpoint.open(["127.0.0.1"], port)
        self.endpoint.gate.set_topics(self.topics.current())
        self.nat.told = (Candidate("127.0.0.1", self.port, "local"),)
        await self.discovery.start(self.port)
        self.discovery.set_topics(self.topics.current())
        self.peers.start()

    def take_records(self) -> None:
        """From now on it listens to the records that peers tell."""
        self.handlers.answer(Announce, self.meeting.telling.answer_announce)

    async def close(self) -> None:
        """Stops it, if it runs."""
        if not self.running:
            return
        self.running = False
        await self.peers.close()
        await self.discovery.close()
        self.endpoint.close()
        await self.database.close()

    async def crash(self) -> None:
        """Ends without a goodbye: the others learn nothing."""
        for opened in self.endpoint._sockets:
            opened.send = lambda datagrams, address: None  # type: ignore[method-assign]
        await self.close()

    def emit(self, event: object) -> None:
        self.events.append(event)

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
        self.meeting.found(Found(other.id, public_id, "mqtt", (candidate,), None, None))

    def peer(self, other: House) -> Peer:
        """What this one has of the other."""
        peer = self.peers._roster.get(other.id)
        assert peer is not None
        return peer

    def session(self, other: House) -> Session | None:
        return self.peers.get(other.id)

    def count(self, kind: type) -> int:
        return sum(isinstance(each, kind) for each in self.events)

    def sessions_with(self, other: House) -> list[Session]:
        """All that stand, which should be one."""
        peer = self.peers._roster.get(other.id)
        return [] if peer is None else [each for each in peer.sessions if not each.closed]


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
