"""What the owner asks of the peers: who is known, who is connected, invites, blocks; and upkeep."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Coroutine

from hdpd.database import Database
from hdpd.discovery.discovery import Discovery
from hdpd.errors import HdpdError, InvalidParams, PeerNotConnected, PeerNotFound
from hdpd.identity import invites
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.identity.topics import SECRET_BYTES
from hdpd.link.session import Session, Surroundings
from hdpd.peers.book import Book
from hdpd.peers.book_store import load_book, save_book
from hdpd.peers.bulk import open_bulk
from hdpd.peers.describe import CLOCK_ADVICE, clock_reason
from hdpd.peers.meeting import Meeting
from hdpd.peers.naming import resolve_peer
from hdpd.peers.peer import Roster
from hdpd.peers.states import Event
from hdpd.peers.status import News, PeerExplained, PeerStatus
from hdpd.peers.topics import Topics
from hdpd.peers.traversal import Nat
from hdpd.tasks import keep_running
from hdpd.wire.messages import ResetCode

log = logging.getLogger(__name__)

HOLD_S = 600.0  # after `peers.disconnect` the peer is left alone so long
SAVE_INTERVAL_S = 5.0
SHORTEN_INTERVAL_S = 20.0  # how often a shorter path is looked for
SLEEP_CHECK_S = 1.0
SLEPT_S = 2.0


class Peers:
    """Knows everybody; `meeting` brings us together. `on_woken` says that the machine slept."""

    def __init__(
        self,
        around: Surroundings,
        topics: Topics,
        database: Database,
        nat: Nat,
        discovery: Discovery,
        emit: Callable[[News], None],
    ) -> None:
        self.on_woken: Callable[[], None] = lambda: None
        self._around = around
        self._topics = topics
        self._database = database
        self._nat = nat
        self._discovery = discovery
        self._tasks: set[asyncio.Task[None]] = set()  # of ours, not of one peer
        self._loop = asyncio.get_running_loop()
        self._book = Book()
        self._roster = Roster(self._book)
        self.meeting = Meeting(around, self._roster, topics, nat, discovery, emit)

    async def load(self) -> None:
        """Remembers who was known before; to be done first."""
        await load_book(self._database, self._book)

    def start(self) -> None:
        """Dials everybody who is known."""
        self.meeting.start()
        self._tasks.add(keep_running(self._save_regularly, "save the peers"))
        self._tasks.add(keep_running(self._shorten_paths, "shorten paths"))
        self._tasks.add(keep_running(self._watch_sleep, "watch for sleep"))

    async def close(self) -> None:
        """Stops everything, says goodbye to everybody, and saves the book."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.meeting.close()
        await save_book(self._database, self._book)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shorten_paths(self) -> None:
        while True:
            await asyncio.sleep(SHORTEN_INTERVAL_S)
            for peer in self._roster:
                if (session := peer.session) is not None:
                    self.meeting.traversal.shorten(peer, session)

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

    def network_changed(self) -> None:
        """Interfaces or addresses changed: prove the paths, tell the peers, try the others."""
        self.meeting.network_changed()
        self._spawn(self._discovery.network_changed())

    # What the control interface asks.

    def get(self, peer_id: PeerId) -> Session | None:
        """The session with a peer; the newest that stands where there are two for a moment."""
        return self._roster.session(peer_id)

    def connected(self) -> list[Session]:
        """The sessions, one for each peer that is connected."""
        return self._roster.connected()

    def peers_at(self, topic_id: bytes) -> int:
        """How many connected peers have that topic in common with us."""
        return sum(topic_id in session.topics for session in self.connected())

    def resolve(self, text: str) -> PeerId:
        """See `resolve_peer`; connected peers go before those that are only known."""
        connected = [session.peer_id for session in self.connected()]
        with contextlib.suppress(HdpdError):
            return resolve_peer(text, connected)
        known = {*connected, *(peer.peer_id for peer in self._book)}
        try:
            return resolve_peer(text, known)
        except PeerNotFound:
            self._tell_of_clock(text)
            raise

    def _tell_of_clock(self, text: str) -> None:
        """Raises PeerNotFound where the reason is that the peer's clock is wrong, or ours."""
        differ = [each.peer_id for each in self._discovery.wrong_clocks()[0]]
        try:
            peer_id = resolve_peer(text, differ)
        except HdpdError:
            return
        seconds = self._discovery.refused_clock(peer_id)
        if seconds is not None:
            raise PeerNotFound(f"{clock_reason(name_of(peer_id), seconds)}: {CLOCK_ADVICE}")

    def list(self, all: bool) -> list[PeerStatus]:  # noqa: A002 (the parameter's name)
        """Connected and connecting peers; with `all`, everybody who is known."""
        known = [self._roster.get(each.peer_id) for each in self._book]
        described = [self.meeting.descriptions.describe(peer) for peer in known if peer is not None]
        order = ("connected", "connecting", "known", "blocked")
        chosen = [each for each in described if all or each.state in order[:2]]
        return sorted(chosen, key=lambda each: (order.index(each.state), each.name))

    def explain(self, peer_id: PeerId) -> PeerExplained:
        """What `peers.list` says of it, with everything that was tried, and what could be changed.

        Raises:
            PeerNotFound: it is not known.
        """
        peer = self._roster.get(peer_id)
        if peer is None:
            raise PeerNotFound(f"no peer with the id {peer_id.text} is known")
        return self.meeting.descriptions.explain(peer)

    async def open_bulk(self, main: Session) -> Session:
        """Another connection with the peer of `main`, for reads.

        Raises:
            HdpdError: the peer has room for no more, or does not answer.
        """
        peer = self._roster.get(main.peer_id)
        if peer is None:
            raise PeerNotConnected(f"{main.name} is not connected")
        return await open_bulk(peer, main, self._around)

    async def invite(self) -> str:
        """A code that brings its reader to a new private topic, where we wait."""
        secret = secrets.token_bytes(SECRET_BYTES)
        told = [(each.host, each.port) for each in self._nat.candidates() if not each.has_zone]
        invite = invites.Invite(
            self._around.identity.peer_id,
            secret,
            tuple(told[: invites.MAX_ADDRESSES]),
            int(time.time()) + invites.LIFETIME_S,
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
        self._book.found(invite.peer_id, topic.public_id, "invite", invite.addresses, time.time())
        peer = self._roster.get(invite.peer_id)
        assert peer is not None
        self.meeting.let_in(peer)
        return invite.peer_id

    async def disconnect(self, peer_id: PeerId) -> None:
        """Ends the session and leaves the peer alone for ten minutes.

        Raises:
            PeerNotConnected: there is none.
        """
        peer = self._roster.get(peer_id)
        if peer is None or peer.session is None:
            raise PeerNotConnected(f"{name_of(peer_id)} is not connected")
        peer.happens(Event.HOLD)
        self.meeting.stop(peer, ResetCode.REFUSED)
        peer.held = self._loop.call_later(HOLD_S, self.meeting.let_in, peer)

    async def block(self, peer_id: PeerId) -> None:
        """Ends the session; the peer is not let in again until it is unblocked."""
        peer = self._roster.enter(peer_id, time.time())
        peer.happens(Event.BLOCK)
        self.meeting.stop(peer, ResetCode.REFUSED)
        await save_book(self._database, self._book)

    async def unblock(self, peer_id: PeerId) -> None:
        """The opposite of `block`; the peer is dialled."""
        self.meeting.let_in(self._roster.enter(peer_id, time.time()))
        await save_book(self._database, self._book)
