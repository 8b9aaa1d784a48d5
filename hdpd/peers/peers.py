"""The set of sessions: who is connected, who should be, and what the control interface says of it.

One session for each pair of peers: where two come about, the peer with the lower key chooses, so
that both ends keep the same one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol

from hdpd.database import Database
from hdpd.discovery.discovery import Discovery, Found
from hdpd.discovery.records import Candidate
from hdpd.errors import (
    HdpdError,
    InvalidParams,
    PeerNotConnected,
    PeerNotFound,
    ProtocolError,
)
from hdpd.identity import invites
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.identity.topics import SECRET_BYTES
from hdpd.link.connection import Connection
from hdpd.link.session import Session, Surroundings, accept_hello
from hdpd.link.stream import Stream
from hdpd.log import fields
from hdpd.peers.book import Book, KnownPeer
from hdpd.peers.book_store import load_book, save_book
from hdpd.peers.bulk import BulkSessions
from hdpd.peers.describe import Descriptions
from hdpd.peers.dialler import Dialler
from hdpd.peers.gossip import Gossip
from hdpd.peers.naming import resolve_peer
from hdpd.peers.topics import Emit, Topics
from hdpd.peers.traversal import Traversal
from hdpd.peers.tries import Tries
from hdpd.punching.puncher import Surveyor
from hdpd.wire.messages import Announce, Observed, ResetCode

log = logging.getLogger(__name__)

# One that stands, one that replaces it, and one more while they pass each other; who makes more
# would take the places of others.
MAX_SESSIONS_OF_A_PEER = 3
TIE_S = 5.0  # two connections that began within it were dialled by both sides at once
HOLD_S = 600.0  # after `peers.disconnect` the peer is left alone so long
INVITE_LIFETIME_S = 7 * 24 * 3600
SAVE_INTERVAL_S = 5.0
SHORTEN_INTERVAL_S = 20.0  # how often a shorter path is looked for
SLEEP_CHECK_S = 1.0
SLEPT_S = 2.0
REDIAL_S = 3.5  # a silent session may come back by itself; after so long a new one is dialled, too


class Nat(Surveyor, Protocol):
    """What knows how we can be reached."""

    def candidates(self) -> Sequence[Candidate]: ...


class Peers:
    """Knows everybody. `on_connected` and `on_disconnected` tell the transfers."""

    def __init__(
        self,
        around: Surroundings,
        topics: Topics,
        database: Database,
        nat: Nat,
        discovery: Discovery,
        emit: Emit,
    ) -> None:
        self.on_connected: Callable[[Session], None] = lambda session: None
        self.on_disconnected: Callable[[PeerId], None] = lambda peer_id: None
        self.on_observed: Callable[[PeerId, str, str, int], None] = lambda *claim: None
        self.on_woken: Callable[[], None] = lambda: None
        self._around = around
        self._topics = topics
        self._book = book = Book()
        self._database = database
        self._nat = nat
        self._discovery = discovery
        self._emit = emit
        self._sessions: dict[PeerId, list[Session]] = {}
        self._held_until: dict[PeerId, float] = {}  # one entry for each `disconnect` by the owner
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._tries = Tries()
        self._gossip = Gossip(self.connected, self._spawn)
        self._bulk = BulkSessions(around)
        self.traversal = Traversal(
            around,
            book,
            self,
            self._tries,
            self._gossip,
            nat,
            discovery,
            self._may_connect,
            self._add,
            self._spawn,
        )
        self._dialler = Dialler(around, book, self._is_wanted, self._add)
        self._dialler.on_unanswered = self.traversal.propose
        self._dialler.on_tried = self._tries.note
        self._descriptions = Descriptions(
            around, topics, self._dialler, self.traversal, self._tries, nat.candidates
        )

    async def load(self) -> None:
        """Remembers who was known before; to be done first."""
        await load_book(self._database, self._book)

    def start(self) -> None:
        """Dials everybody who is known."""
        self.traversal.start()
        self._dialler.wake_all()
        self._spawn(self._save_regularly())
        self._spawn(self._shorten_paths())
        self._spawn(self._watch_sleep())

    async def close(self) -> None:
        await self._dialler.close()
        self.traversal.close()
        self._gossip.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for session in self.connected():
            session.close(ResetCode.SHUTTING_DOWN)
        await save_book(self._database, self._book)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shorten_paths(self) -> None:
        while True:
            await asyncio.sleep(SHORTEN_INTERVAL_S)
            for session in self.connected():
                self.traversal.shorten(session)

    async def _watch_sleep(self) -> None:
        """After the machine slept, sessions, paths and addresses are likely others; the clock of
        the event loop stood still meanwhile and would let them wait.
        """
        asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        while True:
            await asyncio.sleep(SLEEP_CHECK_S)
            now = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
            if now - asleep > SLEPT_S:
                log.info("the machine slept for %d s", now - asleep)
                self.on_woken()
                self.network_changed()
            asleep = now

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(SAVE_INTERVAL_S)
            await save_book(self._database, self._book)

    # Coming together.

    def found(self, found: Found) -> None:
        """Somebody is said to be at one of our topics."""
        addresses = [(each.host, each.port) for each in found.candidates]
        session = self.get(found.peer_id)
        is_new = self._book.found(
            found.peer_id, found.topic_id, found.found_by, addresses, time.time()
        )
        peer = self._book.get(found.peer_id)
        assert peer is not None
        if found.record is not None:
            self._gossip.heard(found.topic_id, found.peer_id, found.record)
            self.traversal.situation(found.peer_id).told(found.candidates)
        if is_new:
            self.traversal.situation_changed(found.peer_id)
        if session is not None and session.is_silent:
            self.traversal.recover(session)
        if is_new:
            self._emit("peer.found", self._describe(peer))
        if self._is_wanted(peer):
            self._dialler.wake(peer.peer_id)

    def _is_wanted(self, peer: KnownPeer) -> bool:
        sessions = self._sessions.get(peer.peer_id, ())
        return all(session.is_silent for session in sessions) and self._may_connect(peer)

    def _may_connect(self, peer: KnownPeer) -> bool:
        return (
            not peer.blocked
            and self._held_until.get(peer.peer_id, 0.0) < self._loop.time()
            and any(topic.public_id in peer.topics for topic in self._topics.current())
        )

    def accept(self, connection: Connection) -> None:
        """An incoming connection; it becomes a session when its hello holds."""
        self._spawn(self._accept(connection))

    async def _accept(self, connection: Connection) -> None:
        try:
            session = await accept_hello(connection, self._around)
        except HdpdError as error:
            log.info("a connection from %s was refused: %s", connection.path.host, error)
            return
        held = self._held_until.get(session.peer_id, 0.0) > self._loop.time()
        if held or self._book.is_blocked(session.peer_id):
            session.close(ResetCode.REFUSED)
        elif session.bulk:
            self._bulk.add(session, self.get(session.peer_id))
        else:
            self._add(session)

    def _add(self, session: Session) -> None:
        if session.closed:
            self._look_after(session)
            return
        self._book.connected(session.peer_id, session.address, session.topics, time.time())
        session.on_closed = self._closed
        session.on_topics = self._topics_changed_with
        session.on_path = self._path_changed
        session.on_silent = self._silent
        others = self._sessions.setdefault(session.peer_id, [])
        others.append(session)
        self._dialler.connected(session.peer_id)
        self.traversal.connected(session)
        if len(others) > MAX_SESSIONS_OF_A_PEER:
            others[0].close(ResetCode.DUPLICATE)
        if len(others) > 1:
            self._choose(session, others[-2])
        if self.get(session.peer_id) is not session:
            return
        log.info(
            "connected with %s at %s",
            session.name,
            session.address[0],
            extra=fields(peer=(session.name, session.peer_id.text)),
        )
        self._emit("peer.connected", self._describe_id(session.peer_id))
        self.on_connected(session)
        self._spawn(self._announce_to(session))
        self._spawn(self._tell_observed(session))
        self._gossip.connected_with(session)
        self.traversal.shorten(session)
        if session.offered != self._topics.current():
            # A topic was joined or left during the hello.
            self._spawn(self._renew_topics(session))

    def _choose(self, new: Session, old: Session) -> None:
        """Ends one of two sessions: the older one, which the peer must have lost if it came again,
        unless both sides dialled at once. Then the lower key ends one and the other side follows.
        """
        tie = new.since - old.since < TIE_S and new.dialled_by_us != old.dialled_by_us
        if not tie:
            old.close(ResetCode.DUPLICATE)
        elif self._around.identity.peer_id < new.peer_id:
            (new if old.dialled_by_us else old).close(ResetCode.DUPLICATE)
        else:
            # Should the other side not know the old one any more, it goes a little later.
            self._loop.call_later(TIE_S, self._settle, new, old)

    @staticmethod
    def _settle(new: Session, old: Session) -> None:
        if not new.closed:
            old.close(ResetCode.DUPLICATE)

    def _closed(self, session: Session) -> None:
        sessions = self._sessions.get(session.peer_id, [])
        if session in sessions:
            sessions.remove(session)
        if sessions:
            return  # it was one of two
        self._sessions.pop(session.peer_id, None)
        log.info(
            "disconnected from %s: %s",
            session.name,
            session.end,
            extra=fields(peer=(session.name, session.peer_id.text)),
        )
        self._emit("peer.disconnected", self._describe_id(session.peer_id))
        self.traversal.disconnected(session.peer_id)
        self._bulk.end(session.peer_id)
        self.on_disconnected(session.peer_id)
        self._look_after(session)

    def _look_after(self, session: Session) -> None:
        """A session has ended; another one is wanted if it was the only one."""
        peer = self._book.get(session.peer_id)
        if peer is not None and self._is_wanted(peer):
            self._dialler.lost(session.peer_id, self._loop.time() - session.since)
        else:
            self._dialler.forget(session.peer_id)

    def _silent(self, session: Session) -> None:
        """The peer does not answer any more: its path broke, or it is gone. Called each second."""
        self.traversal.recover(session)
        if session.silence > REDIAL_S and self.get(session.peer_id) is session:
            self._dialler.wake(session.peer_id, at_once=True)

    def _path_changed(self, session: Session) -> None:
        """The session goes on at another address of the peer."""
        self._dialler.connected(session.peer_id)
        self._bulk.follow(session)
        self._book.connected(session.peer_id, session.address, session.topics, time.time())
        self._emit("peer.changed", self._describe_id(session.peer_id))
        self._spawn(self._tell_observed(session))

    async def _tell_observed(self, session: Session) -> None:
        host, port = session.address
        if "%" not in host:
            with contextlib.suppress(HdpdError):
                await session.ask(Observed(host, port))

    async def answer_observed(self, session: Session, request: Observed, stream: Stream) -> None:
        """The peer says at which address it sees us."""
        self.on_observed(session.peer_id, session.address[0], request.host, request.port)
        await stream.send_message({"ok": True}, end=True)

    # Topics and the network change.

    def topics_changed(self) -> None:
        """A topic was joined or left: every session proves anew, and others may be reached."""
        current = self._topics.current()
        self._around.endpoint.gate.set_topics(current)
        self._discovery.set_topics(current)
        self._gossip.forget_topics_but(topic.public_id for topic in current)
        for session in self.connected():
            self._spawn(self._renew_topics(session))
        self._dialler.wake_all()

    async def _renew_topics(self, session: Session) -> None:
        try:
            await session.renew_topics()
        except HdpdError as error:
            if not session.closed:
                about = fields(peer=(session.name, session.peer_id.text))
                log.info("proving the topics to %s: %s", session.name, error, extra=about)
                session.close(ResetCode.PROTOCOL_ERROR)

    def _topics_changed_with(self, session: Session) -> None:
        self._book.connected(session.peer_id, session.address, session.topics, time.time())
        self._emit("peer.changed", self._describe_id(session.peer_id))
        self._spawn(self._announce_to(session))
        self._gossip.connected_with(session)

    def candidates_changed(self) -> None:
        """We can be reached elsewhere: tells the peers and whoever looks for us."""
        self._discovery.candidates_changed()
        for session in self.connected():
            self._spawn(self._announce_to(session))
        self.traversal.situation_changed()
        self._dialler.wake_all()

    def network_changed(self) -> None:
        """Interfaces or addresses changed: prove the paths, tell the peers, try the others."""
        self._around.endpoint.network_changed()
        self._discovery.candidates_changed()
        self._spawn(self._discovery.network_changed())
        self.traversal.situation_changed()
        for session in self.connected():
            session.ping_now()
            self._spawn(self._announce_to(session))
        self._dialler.wake_all()

    async def _announce_to(self, session: Session) -> None:
        """Tells the peer our addresses at each common topic."""
        topics = [topic for topic in self._topics.current() if topic.public_id in session.topics]
        records = tuple(self._discovery.own_record(topic) for topic in topics[:16])
        with contextlib.suppress(HdpdError):
            await session.ask(Announce(records))

    async def answer_announce(self, session: Session, request: Announce, stream: Stream) -> None:
        """Takes records for the topics in common."""
        for blob in request.records:
            try:
                record = self._discovery.receive_gossip(blob, session.topics, session.peer_id)
                if record.peer_id != session.peer_id:
                    self._gossip.told_by(record.topic_id, record.peer_id, session.peer_id)
            except ProtocolError as error:
                log.debug("a record from %s was dropped: %s", session.name, error)
        await stream.send_message({"ok": True}, end=True)

    # What the control interface asks.

    def get(self, peer_id: PeerId) -> Session | None:
        """The session with a peer; the newest that stands where there are two for a moment."""
        sessions = self._sessions.get(peer_id, [])
        return next((each for each in reversed(sessions) if not each.closed), None)

    def connected(self) -> list[Session]:
        found = (self.get(peer_id) for peer_id in list(self._sessions))
        return [session for session in found if session is not None]

    def peers_at(self, topic_id: bytes) -> int:
        return sum(topic_id in session.topics for session in self.connected())

    def resolve(self, text: str) -> PeerId:
        """See `resolve_peer`; connected peers go before those that are only known."""
        connected = [session.peer_id for session in self.connected()]
        with contextlib.suppress(HdpdError):
            return resolve_peer(text, connected)
        return resolve_peer(text, {*connected, *(peer.peer_id for peer in self._book)})

    def list(self, all: bool) -> list[dict[str, object]]:  # noqa: A002 (the parameter's name)
        """Connected and connecting peers; with `all`, everybody who is known."""
        described = [self._describe(peer) for peer in self._book]
        order = ("connected", "connecting", "known", "blocked")
        chosen = [each for each in described if all or each["state"] in order[:2]]
        return sorted(chosen, key=lambda e: (order.index(str(e["state"])), str(e["name"])))

    def _describe_id(self, peer_id: PeerId) -> dict[str, object]:
        peer = self._book.get(peer_id)
        return self._describe(peer) if peer else {"id": peer_id.text, "name": name_of(peer_id)}

    def _describe(self, peer: KnownPeer) -> dict[str, object]:
        return self._descriptions.describe(peer, self.get(peer.peer_id))

    def explain(self, peer_id: PeerId) -> dict[str, object]:
        """What `peers.list` says of it, with everything that was tried, and what could be changed.

        Raises:
            PeerNotFound: it is not known.
        """
        peer = self._book.get(peer_id)
        if peer is None:
            raise PeerNotFound(f"no peer with the id {peer_id.text} is known")
        return self._descriptions.explain(peer, self.get(peer_id))

    async def open_bulk(self, main: Session) -> Session:
        """Another connection with the peer of `main`, for reads; see `BulkSessions.open`."""
        return await self._bulk.open(main)

    async def invite(self) -> str:
        """A code that brings its reader to a new private topic, where we wait."""
        secret = secrets.token_bytes(SECRET_BYTES)
        told = [(each.host, each.port) for each in self._nat.candidates() if not each.has_zone]
        invite = invites.Invite(
            self._around.identity.peer_id,
            secret,
            tuple(told[: invites.MAX_ADDRESSES]),
            int(time.time()) + INVITE_LIFETIME_S,
        )
        await self._topics.join(invite.topic_name)
        return invite.encode()

    async def connect(self, code: str) -> PeerId:
        """Uses an invite code: joins its topic and dials its maker.

        Raises:
            InviteInvalid, InviteExpired: see `invites.parse`.
        """
        invite = invites.parse(code, time.time())
        if invite.peer_id == self._around.identity.peer_id:
            raise InvalidParams("this invite code was made here; give it to somebody else")
        if self._book.is_blocked(invite.peer_id):
            name = name_of(invite.peer_id)
            raise InvalidParams(f"the maker of this code is blocked: `hdpctl unblock {name}` first")
        name = await self._topics.join(invite.topic_name)
        topic = next(topic for topic in self._topics.current() if topic.name == name)
        self._held_until.pop(invite.peer_id, None)
        self._book.found(invite.peer_id, topic.public_id, "invite", invite.addresses, time.time())
        if self.get(invite.peer_id) is None:
            self._dialler.wake(invite.peer_id, at_once=True)
        return invite.peer_id

    async def disconnect(self, peer_id: PeerId) -> None:
        """Ends the session and leaves the peer alone for ten minutes.

        Raises:
            PeerNotConnected: there is none.
        """
        if self.get(peer_id) is None:
            raise PeerNotConnected(f"{name_of(peer_id)} is not connected")
        self._held_until[peer_id] = self._loop.time() + HOLD_S
        self._loop.call_later(HOLD_S + 1, self._dialler.wake_all)
        self._close_sessions(peer_id)

    async def block(self, peer_id: PeerId) -> None:
        """Ends the session; the peer is not let in again until it is unblocked."""
        self._book.block(peer_id, True, time.time())
        self._dialler.forget(peer_id)
        self.traversal.forget(peer_id)
        self._close_sessions(peer_id)
        await save_book(self._database, self._book)

    async def unblock(self, peer_id: PeerId) -> None:
        self._book.block(peer_id, False, time.time())
        self._held_until.pop(peer_id, None)
        self._dialler.wake(peer_id, at_once=True)
        await save_book(self._database, self._book)

    def _close_sessions(self, peer_id: PeerId) -> None:
        for session in list(self._sessions.get(peer_id, [])):
            session.close(ResetCode.REFUSED)
