"""One other peer: all that is known of it, what stands between us, and what is under way with it.

Nothing else of the package keeps anything by a peer's id but the book, which is what is saved, and
`Roster`, which has one `Peer` for each of its entries and ends it with the entry.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Iterator
from typing import Final

from msgspec import Struct, field

from hdpd import machine
from hdpd.bucket import Bucket
from hdpd.discovery.records import Candidate, NatKind
from hdpd.errors import HdpdError
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.link.connection import Connection
from hdpd.link.session import Session
from hdpd.log import fields
from hdpd.peers.book import Address, Book, KnownPeer
from hdpd.peers.states import Event as _Event
from hdpd.peers.states import State, after
from hdpd.peers.tries import MAX_TRIES, Kind, Try
from hdpd.recent import Recent
from hdpd.wire.messages import ResetCode

log = logging.getLogger(__name__)

MAX_TRIED: Final = 512  # peers whose tries are kept, 5 KB each; the longest untried goes first
# Punch requests that one peer may have us carry: a burst, and then so many a second.
CARRY_BURST: Final = 20.0
CARRY_PER_S: Final = 2.0


class Dial(Struct):
    """The attempts to connect. `connections` are those that the present one has begun."""

    failures: int = 0
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] | None = None
    error: HdpdError | None = None
    connections: set[Connection] = field(default_factory=set)


class Way(Struct):
    """What is known of the way there. `mapped` are addresses that its router forwards."""

    failures: int = 0
    rests_until: float = 0.0
    error: HdpdError | None = None
    peer_nat: NatKind | None = None
    mapped: frozenset[Address] = frozenset()

    def told(self, candidates: Iterable[Candidate]) -> None:
        """The peer said where it can be reached."""
        self.mapped = frozenset((c.host, c.port) for c in candidates if c.kind == "mapped")

    def changed(self) -> None:
        """Its addresses are others, or ours, or it was open: the next punch may come at once."""
        self.failures = 0
        self.rests_until = 0.0


class Peer:
    """Owns the sessions with one peer and every task and timer on its behalf; about 2 KB, and what
    was tried.
    """

    __slots__ = (
        "bulk",
        "carried",
        "dial",
        "held",
        "known",
        "name",
        "peer_id",
        "probing",
        "sessions",
        "tasks",
        "tries",
        "way",
    )

    def __init__(self, known: KnownPeer) -> None:
        self.known = known
        self.peer_id = known.peer_id
        self.name = name_of(known.peer_id)
        self.sessions: list[Session] = []  # in the order in which they began
        self.bulk: list[Session] = []
        self.dial = Dial()
        self.way = Way()
        self.tries: Recent[tuple[Kind, str | None], Try] = Recent(MAX_TRIES)
        self.carried = Bucket(CARRY_PER_S, CARRY_BURST)
        self.held: asyncio.TimerHandle | None = None
        self.probing: asyncio.Task[None] | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> State:
        return self.known.state

    @property
    def session(self) -> Session | None:
        """The newest that stands, where there are two for a moment."""
        return next((each for each in reversed(self.sessions) if not each.closed), None)

    @property
    def is_silent(self) -> bool:
        """Whether no session stands of which anything is heard."""
        return all(session.is_silent for session in self.sessions)

    def happens(self, event: _Event) -> bool:
        """Goes to the next state; False when `event` has no place in this one.

        Raises:
            machine.WrongTransition: it has none, and this is a test.
        """
        try:
            self.known.state = after(self.known.state, event)
        except machine.WrongTransition as error:
            machine.refuse(error, self.name, peer=(self.name, self.peer_id.text))
            return False
        return True

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Does it beside everything else, until the peer is blocked, forgotten or we stop."""
        task = asyncio.get_running_loop().create_task(work, name=f"with {self.name}")
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            about = fields(peer=(self.name, self.peer_id.text))
            log.error("what was under way with %s failed", self.name, exc_info=error, extra=about)

    def stop_tasks(self) -> None:
        """Stops everything but the attempts to connect, which the dialler stops."""
        for task in self.tasks:
            task.cancel()

    def close_sessions(self, code: ResetCode) -> None:
        """Ends all sessions; whoever waits for their end hears of it before this returns."""
        for session in list(self.sessions):
            session.close(code)


class Roster:
    """One `Peer` for each entry of the book that something was asked of; the book caps both."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self._peers: dict[PeerId, Peer] = {}
        self._tried: Recent[PeerId, Peer] = Recent(MAX_TRIED)

    def __iter__(self) -> Iterator[Peer]:
        """Those that something was asked of; the others are in the book only."""
        return iter(list(self._peers.values()))

    def get(self, peer_id: PeerId) -> Peer | None:
        """None: nobody of that id is known."""
        peer = self._peers.get(peer_id)
        if peer is None and (known := self.book.get(peer_id)) is not None:
            peer = self._peers[peer_id] = Peer(known)
        return peer

    def enter(self, peer_id: PeerId, now: float) -> Peer:
        """The peer, who is known from now on, and what happens to it now is saved the next time."""
        self.book.enter(peer_id, now)
        peer = self.get(peer_id)
        assert peer is not None
        return peer

    def forget(self, peer_id: PeerId) -> Peer | None:
        """The entry is gone from the book; what was under way with it is for the caller to end."""
        self._tried.pop(peer_id)
        return self._peers.pop(peer_id, None)

    def session(self, peer_id: PeerId) -> Session | None:
        """The session with a peer."""
        peer = self._peers.get(peer_id)
        return None if peer is None else peer.session

    def connected(self) -> list[Session]:
        """One session for each peer that is connected."""
        found = [peer.session for peer in self._peers.values() if peer.sessions]
        return [session for session in found if session is not None]

    def note(self, peer: Peer, what: Try) -> None:
        """Remembers what came of a try."""
        peer.tries.put((what.kind, what.address), what)
        evicted = self._tried.put(peer.peer_id, peer)
        if evicted is not None:
            evicted[1].tries.clear()
