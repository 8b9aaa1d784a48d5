"""Through the NATs: asks for punches, carries requests for others, and uses the ways that open.

Where two peers punch, the one with the lower key dials. A session whose path broke is moved to the
way that opened instead; only when that does not revive it a new one is made.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from hdpd.discovery.discovery import Discovery
from hdpd.discovery.records import Candidate, NatKind, PunchPart, Record
from hdpd.errors import Busy, HdpdError, PeerNotConnected, ProtocolError
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.identity.topics import Topic
from hdpd.link.connection import Path
from hdpd.link.session import Session, Surroundings, dial_hello
from hdpd.link.stream import Stream
from hdpd.peers.backoff import Backoff
from hdpd.peers.book import Address, Book, KnownPeer
from hdpd.peers.gossip import Gossip
from hdpd.peers.tries import Kind, Tries, Try, shown
from hdpd.punching.agreement import Ask
from hdpd.punching.birthday import PROBES, SOCKETS, Prober
from hdpd.punching.puncher import Puncher, Running, Surveyor
from hdpd.wire.messages import Rendezvous

log = logging.getLogger(__name__)

DIAL_TIMEOUT_S: Final = 6.0
# Between punches of a pair that did not get through: the first time, and at most.
FIRST_REST_S: Final = 4.0
MAX_REST_S: Final = 300.0
MAX_SITUATIONS: Final = 2000  # about 1 KB each, as many as the book has peers; the oldest goes
MUTUAL_PEERS: Final = 3  # how many are asked to carry a request
REVIVE_S: Final = 1.0  # a session that was silent gets so long to come back on a new way
PROBE_GAP_S: Final = 0.5  # between probes of one session, which leaves room for those of link/
# Requests that one peer may have us carry: a burst, and then so many a second.
CARRY_BURST: Final = 20.0
CARRY_PER_S: Final = 2.0


class Sessions(Protocol):
    """The set of sessions, as far as this needs it."""

    def get(self, peer_id: PeerId) -> Session | None: ...
    def connected(self) -> list[Session]: ...


@dataclass(slots=True)
class Situation:
    """What is known of the way to one peer. `mapped` are addresses that its router forwards."""

    error: HdpdError | None = None
    peer_nat: NatKind | None = None
    mapped: frozenset[Address] = frozenset()
    rests_until: float = 0.0
    backoff: Backoff = field(default_factory=Backoff)

    def told(self, candidates: Iterable[Candidate]) -> None:
        """The peer said where it can be reached."""
        self.mapped = frozenset((c.host, c.port) for c in candidates if c.kind == "mapped")


class Traversal:
    """`may_punch` says whether a peer that asks for it is wanted; `on_session` gets sessions."""

    def __init__(
        self,
        around: Surroundings,
        book: Book,
        sessions: Sessions,
        tries: Tries,
        gossip: Gossip,
        nat: Surveyor,
        discovery: Discovery,
        may_punch: Callable[[KnownPeer], bool],
        on_session: Callable[[Session], None],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self._around = around
        self._book = book
        self._sessions = sessions
        self._tries = tries
        self._gossip = gossip
        self._nat = nat
        self._discovery = discovery
        self._may_punch = may_punch
        self._on_session = on_session
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._situations: OrderedDict[PeerId, Situation] = OrderedDict()
        self._carried: dict[PeerId, tuple[float, float]] = {}  # of connected peers only
        self._probing: set[PeerId] = set()
        self._puncher = Puncher(
            around.endpoint, around.identity, nat, self._send_request, self._opened, self._failed
        )

    def start(self) -> None:
        """From now on requests that were not answered are repeated."""
        self._puncher.start()

    def close(self) -> None:
        self._puncher.close()

    def own_nat(self) -> NatKind:
        return self._nat.report().mapping

    # Wanting a way.

    def propose(self, peer_id: PeerId, topic: Topic) -> None:
        """Dialling alone has not helped yet: asks the peer to punch, unless that failed lately."""
        if self._loop.time() >= self.situation(peer_id).rests_until:
            self._puncher.propose(peer_id, topic.public_id)

    def situation_changed(self, peer_id: PeerId | None = None) -> None:
        """The peer's addresses are others, or, without a peer, our own: it may work now."""
        changed = self._situations.values() if peer_id is None else [self.situation(peer_id)]
        for situation in changed:
            situation.backoff.reset()
            situation.rests_until = 0.0

    def is_punching(self, peer_id: PeerId) -> bool:
        return self._puncher.is_punching(peer_id)

    def situation(self, peer_id: PeerId) -> Situation:
        """What is known of the way to a peer."""
        found = self._situations.get(peer_id)
        if found is None:
            found = self._situations[peer_id] = Situation()
            if len(self._situations) > MAX_SITUATIONS:
                self._situations.popitem(last=False)
        return found

    def forget(self, peer_id: PeerId) -> None:
        """The peer is blocked, or gone from the book."""
        self._puncher.forget(peer_id)
        self._situations.pop(peer_id, None)

    def connected(self, session: Session) -> None:
        """A session stands."""
        running = self._puncher.running(session.peer_id)
        if running is not None:
            self._note_punch(running, session.path)
        self._puncher.forget(session.peer_id)
        situation = self.situation(session.peer_id)
        situation.error = None
        situation.backoff.reset()
        situation.rests_until = 0.0

    def disconnected(self, peer_id: PeerId) -> None:
        self._carried.pop(peer_id, None)

    def owes_punch(self, session: Session) -> bool:
        """Whether the session's path was opened by a punch through NATs on both sides."""
        kinds = (self.own_nat(), self.situation(session.peer_id).peer_nat)
        return self._around.endpoint.is_extra(session.path.socket) and "none" not in kinds

    # Requests.

    def _send_request(self, ask: Ask, nat: NatKind, candidates: Sequence[Candidate]) -> None:
        """By the brokers and by peers in common at once: whichever is there brings it."""
        topic = next((t for t in self._around.topics() if t.public_id == ask.topic_id), None)
        if topic is None:
            return
        punch = PunchPart(ask.target, ask.nonce, ask.answers, nat)
        blob = self._discovery.punch_request(topic, punch, candidates)
        ways = ["a broker"] if self._discovery.publish(topic, blob) else []
        for session in self._mutual_peers(ask):
            self._spawn(self._send_through(session, blob))
            ways.append(session.name)
        result = f"sent by {', '.join(ways)}" if ways else "no broker and no common peer carries it"
        self._note(ask.target, "request", None, result)

    def _mutual_peers(self, ask: Ask) -> list[Session]:
        tellers = self._gossip.tellers(ask.topic_id, ask.target)
        usable = [
            session
            for session in self._sessions.connected()
            if ask.topic_id in session.topics
            and session.peer_id != ask.target
            and not session.is_silent
        ]
        usable.sort(key=lambda session: session.peer_id not in tellers)
        return usable[:MUTUAL_PEERS]

    @staticmethod
    async def _send_through(session: Session, blob: bytes) -> None:
        try:
            await session.ask(Rendezvous(blob), timeout=DIAL_TIMEOUT_S)
        except HdpdError as error:
            log.debug("%s does not carry a punch request: %s", session.name, error)

    async def answer_rendezvous(
        self, session: Session, request: Rendezvous, stream: Stream
    ) -> None:
        """A punch request for us, or one of the asker's own for a peer that we are connected with.

        Raises:
            ProtocolError, PeerNotConnected, Busy: it is none, or cannot be brought to its target.
        """
        record = self._discovery.open_any(request.record, session.topics)
        if record.punch is None:
            raise ProtocolError("a rendezvous is about a punch request")
        if record.punch.target == self._around.identity.peer_id:
            self._discovery.receive_gossip(request.record, session.topics, session.peer_id)
        else:
            await self._carry(session, record, request)
        await stream.send_message({"ok": True}, end=True)

    async def _carry(self, session: Session, record: Record, request: Rendezvous) -> None:
        assert record.punch is not None
        if record.peer_id != session.peer_id:
            raise ProtocolError("a punch request is carried for its author only")
        target = self._sessions.get(record.punch.target)
        if target is None or record.topic_id not in target.topics:
            raise PeerNotConnected("not connected with that peer at that topic")
        self._count_carried(session.peer_id)
        await target.ask(request, timeout=DIAL_TIMEOUT_S)

    def _count_carried(self, peer_id: PeerId) -> None:
        now = self._loop.time()
        left, since = self._carried.get(peer_id, (CARRY_BURST, now))
        left = min(CARRY_BURST, left + (now - since) * CARRY_PER_S)
        if left < 1:
            raise Busy("too many punch requests to carry")
        self._carried[peer_id] = (left - 1, now)

    def requested(self, record: Record) -> None:
        """A punch request for us has come, with a good signature and never before."""
        # Its candidates are those of the punch's own socket and no addresses to remember.
        found_by = "gossip" if self._book.get(record.peer_id) is None else "known"
        self._book.found(record.peer_id, record.topic_id, found_by, (), time.time())
        peer = self._book.get(record.peer_id)
        if peer is None or record.punch is None:
            return
        if self._may_punch(peer):
            situation = self.situation(record.peer_id)
            situation.peer_nat = record.punch.nat
            self._puncher.receive(record)

    # What came of it.

    def _opened(self, running: Running, path: Path) -> None:
        peer_id = running.peer_id
        self._note_punch(running, path)
        session = self._sessions.get(peer_id)
        is_near = self._around.endpoint.is_on_link(path.host)
        if session is not None and (session.is_silent or is_near):
            session.move(path)
        if self._around.identity.peer_id < peer_id:
            self._spawn(self._dial(running, path))

    async def _dial(self, running: Running, path: Path) -> None:
        peer_id = running.peer_id
        if self._sessions.get(peer_id) is not None:
            await asyncio.sleep(REVIVE_S)
            session = self._sessions.get(peer_id)
            if session is not None and not session.is_silent:
                return
        topics = (t for t in self._around.topics() if t.public_id == running.topic_id)
        topic = next(topics, None)
        if topic is None:
            return
        connection = self._around.endpoint.dial_paths(peer_id, (path,), topic)
        address = shown(path.host, path.port)
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                session = await dial_hello(connection, self._around, peer_id)
        except TimeoutError:
            self._note(peer_id, "dial", address, "punched through, but nobody answered")
        except HdpdError as error:
            self._note(peer_id, "dial", address, f"punched through, but: {error.message}")
        else:
            self._note(peer_id, "dial", address, "connected", worked=True)
            self._on_session(session)

    def _failed(self, running: Running, error: HdpdError) -> None:
        peer_id = running.peer_id
        self._note_punch(running, None)
        situation = self.situation(peer_id)
        situation.error = error
        delay = FIRST_REST_S * situation.backoff.delay(float("inf"), random.random())  # noqa: S311
        situation.rests_until = self._loop.time() + min(MAX_REST_S, delay)
        log.debug("punching with %s: %s", name_of(peer_id), error)

    def _note_punch(self, running: Running, path: Path | None) -> None:
        for way, seen in running.punch.ways.items():
            if seen.rtt is not None:
                result = f"open, {seen.rtt * 1000:.0f} ms"
            elif seen.heard:
                result = "heard, but nothing of ours arrived"
            else:
                result = "no answer"
            self._note(
                running.peer_id,
                "punch",
                shown(*way.address),
                result,
                worked=path is not None and way.address == (path.host, path.port),
            )
        birthday = running.punch.birthday
        if birthday is not None:
            what = (
                f"probed {birthday.count} of {PROBES} random ports"
                if isinstance(birthday, Prober)
                else f"opened {SOCKETS} ports"
            )
            outcome = "got through" if path is not None else "did not get through"
            self._note(
                running.peer_id, "birthday", None, f"{what}: {outcome}", worked=path is not None
            )

    def _note(
        self, peer_id: PeerId, kind: Kind, address: str | None, result: str, *, worked: bool = False
    ) -> None:
        self._tries.note(peer_id, Try(kind, address, time.time(), result, worked))

    # Paths of sessions that stand.

    def recover(self, session: Session) -> None:
        """The session is silent: looks for another way, everywhere at once."""
        topic = next((t for t in self._around.topics() if t.public_id in session.topics), None)
        if topic is not None:
            self.situation_changed(session.peer_id)
            self.propose(session.peer_id, topic)
        peer = self._book.get(session.peer_id)
        if peer is not None:
            self._probe(session, peer.addresses_to_dial())

    def shorten(self, session: Session) -> None:
        """Looks whether the peer is on the local network after all."""
        peer = self._book.get(session.peer_id)
        endpoint = self._around.endpoint
        if peer is not None and not endpoint.is_on_link(session.address[0]):
            near, _ = endpoint.dialable(peer.addresses_to_dial())
            self._probe(session, near)

    def _probe(self, session: Session, addresses: Iterable[tuple[str, int]]) -> None:
        addresses = list(addresses)
        if addresses and session.peer_id not in self._probing:
            self._probing.add(session.peer_id)
            self._spawn(self._probe_in_turn(session, addresses))

    async def _probe_in_turn(self, session: Session, addresses: list[tuple[str, int]]) -> None:
        try:
            for host, port in addresses:
                path = self._around.endpoint.path_to(host, port)
                if session.closed:
                    return
                if path is not None:
                    session.probe(path)
                    await asyncio.sleep(PROBE_GAP_S)
        finally:
            self._probing.discard(session.peer_id)
