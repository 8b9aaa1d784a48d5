"""Through the NATs: asks for punches, carries requests for others, and uses the ways that open.

Where two peers punch, the one with the lower key dials. A session whose path broke is moved to the
way that opened instead; only when that does not revive it a new one is made.

Whole because what is asked, carried and opened is about the same few punches of a peer.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from hdpd.backoff import Backoff
from hdpd.discovery.discovery import Discovery
from hdpd.discovery.records import Candidate, NatKind, PunchPart, Record
from hdpd.errors import Busy, HdpdError, PeerNotConnected, ProtocolError
from hdpd.identity.topics import Topic
from hdpd.link.connection import Path
from hdpd.link.session import Session, Surroundings, dial_hello
from hdpd.link.stream import Stream
from hdpd.peers.book import Address
from hdpd.peers.gossip import Gossip
from hdpd.peers.peer import Peer, Roster
from hdpd.peers.tries import Kind, Try, shown
from hdpd.punching.agreement import Ask
from hdpd.punching.birthday import PROBES, SOCKETS, Prober
from hdpd.punching.puncher import Puncher, Running, Surveyor
from hdpd.wire.messages import Rendezvous

log = logging.getLogger(__name__)

DIAL_TIMEOUT_S: Final = 6.0
PUNCHES: Final = Backoff(first=4.0, longest=300.0)  # between those that did not get through
MUTUAL_PEERS: Final = 3  # how many are asked to carry a request
REVIVE_S: Final = 1.0  # a session that was silent gets so long to come back on a new way
PROBE_GAP_S: Final = 0.5  # between probes of one session, which leaves room for those of link/


class Nat(Surveyor, Protocol):
    """What knows how we can be reached."""

    def candidates(self) -> Sequence[Candidate]: ...


class Traversal:
    """`may_punch` says whether a peer that asks for it is wanted; `on_session` gets sessions."""

    def __init__(
        self,
        around: Surroundings,
        roster: Roster,
        gossip: Gossip,
        nat: Surveyor,
        discovery: Discovery,
        may_punch: Callable[[Peer], bool],
        on_session: Callable[[Session], None],
    ) -> None:
        self._around = around
        self._roster = roster
        self._gossip = gossip
        self._nat = nat
        self._discovery = discovery
        self._may_punch = may_punch
        self._on_session = on_session
        self._loop = asyncio.get_running_loop()
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

    def propose(self, peer: Peer, topic: Topic) -> None:
        """Dialling alone has not helped yet: asks the peer to punch, unless that failed lately."""
        if self._loop.time() >= peer.way.rests_until:
            self._puncher.propose(peer.peer_id, topic.public_id)

    def network_changed(self) -> None:
        """Our own addresses are others: what failed may work now."""
        for peer in self._roster:
            peer.way.changed()

    def is_punching(self, peer: Peer) -> bool:
        """Whether a punch is under way."""
        return self._puncher.is_punching(peer.peer_id)

    def stop(self, peer: Peer) -> None:
        """The peer is not wanted, or forgotten: what is under way ends."""
        self._puncher.forget(peer.peer_id)

    def connected(self, peer: Peer, session: Session) -> None:
        """A session stands."""
        running = self._puncher.running(peer.peer_id)
        if running is not None:
            self._note_punch(peer, running, session.path)
        self._puncher.forget(peer.peer_id)
        peer.way.error = None
        peer.way.changed()

    def owes_punch(self, peer: Peer, session: Session) -> bool:
        """Whether the session's path was opened by a punch through NATs on both sides."""
        kinds = (self.own_nat(), peer.way.peer_nat)
        return self._around.endpoint.is_extra(session.path.socket) and "none" not in kinds

    # Requests.

    def _send_request(self, ask: Ask, nat: NatKind, candidates: Sequence[Candidate]) -> None:
        """By the brokers and by peers in common at once: whichever is there brings it."""
        topic = self._topic(ask.topic_id)
        target = self._roster.get(ask.target)
        if topic is None or target is None:
            return
        punch = PunchPart(ask.target, ask.nonce, ask.answers, nat)
        blob = self._discovery.punch_request(topic, punch, candidates)
        ways = ["a broker"] if self._discovery.publish(topic, blob) else []
        for session in self._mutual_peers(ask):
            target.spawn(self._send_through(session, blob))
            ways.append(session.name)
        result = f"sent by {', '.join(ways)}" if ways else "no broker and no common peer carries it"
        self._note(target, "request", None, result)

    def _topic(self, topic_id: bytes) -> Topic | None:
        return next((t for t in self._around.topics() if t.public_id == topic_id), None)

    def _mutual_peers(self, ask: Ask) -> list[Session]:
        tellers = self._gossip.tellers(ask.topic_id, ask.target)
        usable = [
            session
            for session in self._roster.connected()
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
        target = self._roster.session(record.punch.target)
        if target is None or record.topic_id not in target.topics:
            raise PeerNotConnected("not connected with that peer at that topic")
        peer = self._roster.get(session.peer_id)
        if peer is None or not peer.carried.allow(self._loop.time()):
            raise Busy("too many punch requests to carry")
        await target.ask(request, timeout=DIAL_TIMEOUT_S)

    def requested(self, record: Record) -> None:
        """A punch request for us has come, with a good signature and never before."""
        # Its candidates are those of the punch's own socket and no addresses to remember.
        book, peer_id = self._roster.book, record.peer_id
        found_by = "gossip" if book.get(peer_id) is None else "known"
        book.found(peer_id, record.topic_id, found_by, (), time.time())
        peer = self._roster.get(peer_id)
        if peer is not None and record.punch is not None and self._may_punch(peer):
            peer.way.peer_nat = record.punch.nat
            self._puncher.receive(record)

    # What came of it.

    def _opened(self, running: Running, path: Path) -> None:
        peer = self._roster.get(running.peer_id)
        if peer is None:
            return
        self._note_punch(peer, running, path)
        session, is_on_link = peer.session, self._around.endpoint.is_on_link
        if session is not None:
            is_nearer = is_on_link(path.host) and not is_on_link(session.address[0])
            if session.is_silent or is_nearer:
                session.move(path)
        if self._around.identity.peer_id < peer.peer_id:
            peer.spawn(self._dial(peer, running.topic_id, path))

    async def _dial(self, peer: Peer, topic_id: bytes, path: Path) -> None:
        if peer.session is not None:
            await asyncio.sleep(REVIVE_S)
            if not peer.is_silent:
                return
        topic = self._topic(topic_id)
        if topic is None:
            return
        connection = self._around.endpoint.dial_paths(peer.peer_id, (path,), topic)
        address = shown(path.host, path.port)
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                session = await dial_hello(connection, self._around, peer.peer_id)
        except TimeoutError:
            self._note(peer, "dial", address, "punched through, but nobody answered")
        except HdpdError as error:
            self._note(peer, "dial", address, f"punched through, but: {error.message}")
        else:
            self._note(peer, "dial", address, "connected", worked=True)
            self._on_session(session)

    def _failed(self, running: Running, error: HdpdError) -> None:
        peer = self._roster.get(running.peer_id)
        if peer is None:
            return
        self._note_punch(peer, running, None)
        way = peer.way
        way.error = error
        delay = PUNCHES.delay(way.failures, random.random())  # noqa: S311 (spreads load)
        way.failures += 1
        way.rests_until = self._loop.time() + min(PUNCHES.longest, delay)
        log.debug("punching with %s: %s", peer.name, error)

    def _note_punch(self, peer: Peer, running: Running, path: Path | None) -> None:
        for way, seen in running.punch.ways.items():
            if seen.rtt is not None:
                result = f"open, {seen.rtt * 1000:.0f} ms"
            elif seen.heard:
                result = "heard, but nothing of ours arrived"
            else:
                result = "no answer"
            self._note(
                peer,
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
            self._note(peer, "birthday", None, f"{what}: {outcome}", worked=path is not None)

    def _note(
        self, peer: Peer, kind: Kind, address: str | None, result: str, *, worked: bool = False
    ) -> None:
        self._roster.note(peer, Try(kind, address, time.time(), result, worked))

    # Paths of sessions that stand.

    def recover(self, peer: Peer, session: Session) -> None:
        """The session is silent: looks for another way, everywhere at once."""
        topic = next((t for t in self._around.topics() if t.public_id in session.topics), None)
        if topic is not None:
            peer.way.changed()
            self.propose(peer, topic)
        self._probe(peer, session, peer.known.addresses_to_dial())

    def shorten(self, peer: Peer, session: Session) -> None:
        """Looks whether the peer is on the local network after all."""
        endpoint = self._around.endpoint
        if not endpoint.is_on_link(session.address[0]):
            near, _ = endpoint.dialable(peer.known.addresses_to_dial())
            self._probe(peer, session, near)

    def _probe(self, peer: Peer, session: Session, addresses: Sequence[Address]) -> None:
        if addresses and (peer.probing is None or peer.probing.done()):
            peer.probing = peer.spawn(self._probe_in_turn(session, addresses))

    async def _probe_in_turn(self, session: Session, addresses: Sequence[Address]) -> None:
        for host, port in addresses:
            path = self._around.endpoint.path_to(host, port)
            if session.closed:
                return
            if path is not None:
                session.probe(path)
                await asyncio.sleep(PROBE_GAP_S)
