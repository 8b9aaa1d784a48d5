"""The dialler: when it tries, in which order, and that nothing of an attempt is left behind."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hdpd.backoff import Backoff
from hdpd.errors import HdpdError, NoCommonTopic, TimedOut
from hdpd.identity.keys import PeerId
from hdpd.identity.topics import Topic
from hdpd.link.connection import Connection
from hdpd.link.session import Session, dial_hello
from hdpd.peers import dialler as dialler_module
from hdpd.peers.book import Address, Book, KnownPeer
from hdpd.peers.dialler import MAX_DIALS, Dialler
from hdpd.peers.peer import Peer, Roster
from hdpd.peers.states import Event, State
from tests.link.helpers import Node, identity, nodes, topic, udp_client
from tests.waiting import until

PARTY = topic("party")


class Scripted(Dialler):
    """Notes the attempts; `outcome` decides each."""

    def __init__(self, node: Node, book: Book) -> None:
        self.roster = Roster(book)
        super().__init__(node.around, self.roster, lambda peer: True, lambda session: None)
        self.tried: list[PeerId] = []
        self.at_once = 0
        self.most_at_once = 0
        self.go_on = asyncio.Event()
        self.error: HdpdError = TimedOut("nothing answered")

    def peer(self, known: KnownPeer | PeerId) -> Peer:
        peer = self.roster.get(known if isinstance(known, PeerId) else known.peer_id)
        assert peer is not None
        return peer

    async def _dial(self, peer: Peer) -> Session:
        self.tried.append(peer.peer_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.go_on.wait()
        finally:
            self.at_once -= 1
        raise self.error


@asynccontextmanager
async def scripted(book: Book) -> AsyncIterator[Scripted]:
    node = Node(who=identity(0))
    async with nodes(node):
        made = Scripted(node, book)
        try:
            yield made
        finally:
            await made.close()


def book_of(count: int, *, friends: int = 0) -> Book:
    """Strangers first, so that the order of the book is not the right one."""
    book = Book()
    for number in range(count + friends):
        peer_id = PeerId(number.to_bytes(32, "big"))
        book.found(peer_id, PARTY.public_id, "mqtt", [("127.0.0.1", 9)], time.time())
        if number >= count:
            book.connected(peer_id, ("127.0.0.1", 9), [PARTY.public_id], time.time())
    return book


async def test_friends_do_not_wait_for_strangers() -> None:
    book = book_of(100, friends=3)
    friends = {peer.peer_id for peer in book if peer.last_connected}
    async with scripted(book) as dialler:
        for peer in book:
            dialler.wake(dialler.peer(peer), at_once=True)
        await until(lambda: friends <= set(dialler.tried), "the friends' turn")
        assert dialler.most_at_once <= MAX_DIALS
        assert dialler.most_at_once == MAX_DIALS // 2 + len(friends)


async def test_all_are_woken_with_the_latest_friends_first() -> None:
    book = book_of(5, friends=2)
    async with scripted(book) as dialler:
        order = [peer.peer_id for peer in sorted(book, key=lambda p: -p.last_connected)]
        woken: list[PeerId] = []
        dialler.wake = lambda peer, **_: woken.append(peer.peer_id)  # type: ignore[method-assign]
        dialler.wake_all()
        assert woken == order
        assert len(woken) == 7


async def test_a_failure_is_tried_again_with_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdpd.peers.backoff.OTHERS", Backoff(first=0.01, longest=600.0))
    book = book_of(1)
    [peer] = book
    async with scripted(book) as dialler:
        dialler.go_on.set()
        dialler.wake(dialler.peer(peer), at_once=True)
        await until(lambda: len(dialler.tried) >= 4, "some tries")
        assert isinstance(dialler.peer(peer).dial.error, TimedOut)
        assert dialler.peer(peer).dial.failures >= 3


async def test_the_higher_key_waits_for_the_lower_one() -> None:
    book = Book()
    low, high = PeerId(b"\0" * 32), PeerId(b"\xff" * 32)
    for peer_id in (low, high):
        book.found(peer_id, PARTY.public_id, "mqtt", [("127.0.0.1", 9)], time.time())
    async with scripted(book) as dialler:
        for peer_id in (low, high):
            dialler.wake(dialler.peer(peer_id))
        await until(lambda: dialler.tried, "the first try")
        assert dialler.tried == [high], "ours is lower than that one's, so it is our turn"
        await until(lambda: len(dialler.tried) == 2, "the second try, should the other not come")


async def test_news_begin_no_second_attempt() -> None:
    book = book_of(1)
    [peer] = book
    async with scripted(book) as dialler:
        for _ in range(20):
            dialler.wake(dialler.peer(peer), at_once=True)
            await asyncio.sleep(0.001)
        assert dialler.tried == [peer.peer_id]
        assert dialler.peer(peer).state is State.DIALLING
        dialler.unwanted(dialler.peer(peer))
        await until(lambda: dialler.at_once == 0, "the end of the attempt")
        assert dialler.peer(peer).state is State.IDLE


async def test_sessions_that_do_not_last_are_begun_more_and_more_seldom() -> None:
    book = book_of(1)
    [peer] = book
    async with scripted(book) as dialler:
        delays = []
        dialler._schedule = lambda peer, delay: delays.append(delay)  # type: ignore[method-assign]
        for _ in range(5):
            dialler.connected(dialler.peer(peer))
            dialler.lost(dialler.peer(peer), 0.1)
        assert all(later > earlier / 2 for earlier, later in itertools.pairwise(delays))
        assert delays[-1] >= 8
        dialler.lost(dialler.peer(peer), dialler_module.LASTING_S)
        assert delays[-1] <= dialler_module.HIGHER_KEY_DELAY_S, "one that lasted is missed at once"


async def test_a_new_session_ends_the_attempt_and_a_lost_one_begins_another() -> None:
    book = book_of(1)
    [peer] = book
    async with scripted(book) as dialler:
        dialler.wake(dialler.peer(peer), at_once=True)
        await until(lambda: dialler.tried, "the attempt")
        dialler.peer(peer).happens(Event.SESSION)
        dialler.connected(dialler.peer(peer))
        dialler.peer(peer).happens(Event.LOST)
        dialler.lost(dialler.peer(peer), 100.0)  # before the attempt has had a chance to end
        await until(lambda: len(dialler.tried) == 2, "the next attempt")


# Real attempts.


class Real:
    """A dialler of `node` for peers at given addresses."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.book = Book()
        self.sessions: list[Session] = []
        self.roster = Roster(self.book)
        self.dialler = Dialler(node.around, self.roster, lambda peer: True, self.stands)

    def stands(self, session: Session) -> None:
        self.sessions.append(session)
        self.peer(session.peer_id).happens(Event.SESSION)
        self.dialler.connected(self.peer(session.peer_id))

    def peer(self, peer_id: PeerId) -> Peer:
        peer = self.roster.get(peer_id)
        assert peer is not None
        return peer

    def error(self, peer_id: PeerId) -> HdpdError | None:
        return self.peer(peer_id).dial.error

    def wake(self, peer_id: PeerId, *addresses: Address) -> None:
        self.book.found(peer_id, PARTY.public_id, "mqtt", addresses, time.time())
        self.dialler.wake(self.peer(peer_id), at_once=True)


async def test_all_addresses_are_tried_at_once() -> None:
    near, far = Node(), Node()
    async with nodes(near, far):
        real = Real(near)
        with udp_client() as silent:
            addresses = [silent.getsockname()[:2], ("192.0.2.1", 9), far.address]
            real.wake(far.identity.peer_id, *addresses)
            await until(lambda: real.sessions, "the session")
        await real.dialler.close()


async def test_of_two_attempts_that_succeed_one_session_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the local network and beyond it, in the same moment."""
    near, far = Node(), Node()
    async with nodes(near, far):
        real = Real(near)
        monkeypatch.setattr(dialler_module, "LAN_HEAD_START_S", 0.0)
        monkeypatch.setattr(near.endpoint, "dialable", lambda told: (told[:1], told[1:]))
        tries = asyncio.Barrier(2)

        async def together(*arguments: object) -> Session:
            session = await dial_hello(*arguments)  # type: ignore[arg-type]
            await tries.wait()
            return session

        monkeypatch.setattr(dialler_module, "dial_hello", together)
        dial = near.endpoint.dial
        monkeypatch.setattr(
            near.endpoint, "dial", lambda target, hosts, topic: dial(target, [far.address], topic)
        )
        real.wake(far.identity.peer_id, far.address, ("127.0.0.2", far.address[1]))
        await until(lambda: real.sessions, "the session")
        await until(lambda: len(far.sessions) == 2, "both there")
        await until(lambda: sum(s.closed for s in far.sessions) == 1, "the end of one")
        assert not real.sessions[0].closed
        assert len(near.endpoint._connections) == 1
        await real.dialler.close()


async def test_a_stopped_attempt_leaves_no_connection() -> None:
    near = Node()
    async with nodes(near):
        real = Real(near)
        with udp_client() as silent:
            real.wake(identity(5).peer_id, silent.getsockname()[:2])
            await until(lambda: near.endpoint._connections, "the attempt")
            await real.dialler.close()
            assert not near.endpoint._connections


async def test_strangers_cannot_make_us_flood_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialler_module, "ATTEMPT_TIMEOUT_S", 0.05)
    monkeypatch.setattr("hdpd.peers.aim.MAX_TRIES", 20)
    near = Node()
    async with nodes(near):
        real = Real(near)
        dialled: list[Address] = []
        dial = near.endpoint.dial

        def note(target: PeerId, hosts: list[Address], topic: Topic) -> Connection:
            dialled.extend(hosts)
            return dial(target, hosts, topic)

        monkeypatch.setattr(near.endpoint, "dial", note)
        victims = [("127.0.0.1", port) for port in range(1, 13)]
        made_up = [PeerId(number.to_bytes(32, "big")) for number in range(50)]
        for number, peer_id in enumerate(made_up):
            real.wake(peer_id, *victims)
            if number % 2:  # one that was met, at another address
                real.peer(peer_id).known.last_connected = time.time()
        await until(lambda: all(real.error(peer_id) for peer_id in made_up), "all tries")
        assert len(dialled) == 20
        assert "dialled often" in str(real.error(made_up[-1]))
        await real.dialler.close()


async def test_a_peer_without_a_common_topic_is_not_dialled() -> None:
    near = Node()
    async with nodes(near):
        real = Real(near)
        peer_id = identity(5).peer_id
        real.book.found(peer_id, topic("other").public_id, "mqtt", [("127.0.0.1", 9)], time.time())
        real.dialler.wake(real.peer(peer_id), at_once=True)
        await until(lambda: real.error(peer_id), "the refusal")
        assert isinstance(real.error(peer_id), NoCommonTopic)
        await real.dialler.close()


async def test_a_peer_without_an_address() -> None:
    near = Node()
    async with nodes(near):
        real = Real(near)
        real.wake(identity(5).peer_id)
        await until(lambda: real.error(identity(5).peer_id), "the reason")
        assert "no address" in str(real.error(identity(5).peer_id))
        [what] = real.peer(identity(5).peer_id).tries.values()
        assert (what.kind, what.address, what.worked) == ("dial", None, False)
        assert "no address" in what.result
        await real.dialler.close()
