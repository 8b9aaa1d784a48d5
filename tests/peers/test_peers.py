"""Peers in one process: who is dialled, which session stays, blocking, invites, records."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from hdpd.errors import (
    HdpdError,
    InvalidParams,
    InviteInvalid,
    NoCommonTopic,
    PeerNotConnected,
    PeerNotFound,
    TimedOut,
)
from hdpd.identity.names import name_of
from hdpd.link.connection import Connection
from hdpd.link.session import Session, Surroundings, accept_hello, dial_hello
from hdpd.link.stream import Stream
from hdpd.peers import dialler as dialler_module
from hdpd.peers import gossip
from hdpd.peers import sessions as sessions_module
from hdpd.peers.book import Book
from hdpd.peers.book_store import load_book, save_book
from hdpd.peers.sessions import MAX_SESSIONS_OF_A_PEER
from hdpd.peers.states import Event
from hdpd.peers.status import PeerConnected, PeerDisconnected, PeerFound
from hdpd.wire.messages import Announce, Ls, Request, ResetCode
from hdpd.wire.paths import RemotePath
from tests.link.helpers import ENGINES, Node, answer_ok, nodes, topic
from tests.peers.helpers import House, connected, houses, quick_master
from tests.waiting import until

LIST = Ls(RemotePath(b""))


@pytest.fixture(autouse=True)
def no_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of topics without their price."""
    monkeypatch.setattr("hdpd.peers.topics.derive_master", quick_master)


async def test_a_peer_that_was_found_is_connected(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        met: list[Session] = []
        one.meeting.on_connected = met.append
        one.sees(other)
        await connected(one, other)
        assert [session.peer_id for session in met] == [other.id]
        assert one.count(PeerFound) == one.count(PeerConnected) == 1
        [described] = one.peers.list(all=False)
        assert described.state == "connected"
        assert described.name == name_of(other.id)
        assert described.topics == ("party",)
        assert described.address == f"127.0.0.1:{other.port}"
        assert one.topics.list()[0].peers == 1


async def test_the_peer_with_the_higher_key_dials_too(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        other.sees(one)
        await connected(one, other)


@pytest.mark.parametrize("engine", ENGINES)
async def test_two_that_dial_at_once_end_with_one_session(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty times over with small random delays, so that all orders of events come up."""
    monkeypatch.setattr(dialler_module, "HIGHER_KEY_DELAY_S", 0.0)
    monkeypatch.setattr(dialler_module, "LASTING_S", 0.0)
    monkeypatch.setattr(sessions_module, "TIE_S", 1.0)
    chance = random.Random(5)
    async with houses(tmp_path, engine=engine) as (one, other):  # type: ignore[arg-type]
        for _ in range(20):
            first, second = chance.sample([one, other], 2)
            first.sees(second)
            await asyncio.sleep(chance.choice([0, 0, 0.001, 0.003, 0.01, 0.03]))
            second.sees(first)
            await connected(one, other)
            session = one.session(other)
            assert session is not None
            assert await session.ask(LIST) == {"ok": True}
            await hang_up(one, other)


async def hang_up(one: House, other: House) -> None:
    """Ends all sessions between the two, and keeps either side from dialling."""
    for house, far in ((one, other), (other, one)):
        house.peer(far).happens(Event.HOLD)
        for session in house.sessions_with(far):
            session.close()
    await until(lambda: not one.sessions_with(other) and not other.sessions_with(one), "the end")
    for house, far in ((one, other), (other, one)):
        house.peer(far).happens(Event.RELEASE)


async def test_who_was_met_first_has_a_place_where_too_many_are_connected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "MAX_CONNECTED", 2)
    async with houses(tmp_path, 4) as (hub, friend, first, second):
        hub.sees(friend)
        await connected(hub, friend)
        friend_since = hub.peer(friend).known.first_connected
        await hang_up(hub, friend)
        for stranger in (first, second):
            hub.sees(stranger)
            await connected(hub, stranger)
        hub.sees(friend)
        await connected(hub, friend)
        await until(lambda: hub.session(second) is None, "the one that was met last to go")
        assert hub.session(first) is not None
        assert hub.peer(friend).known.first_connected == friend_since
        await save_book(hub.database, hub.peers._book)  # and it is known so after a restart
        book = Book()
        await load_book(hub.database, book)
        saved = book.get(friend.id)
        assert saved is not None
        assert saved.first_connected == friend_since


@pytest.mark.parametrize("restarted", [0, 1])
async def test_a_restarted_peer_replaces_its_dead_session(restarted: int, tmp_path: Path) -> None:
    async with houses(tmp_path) as both:
        gone, stays = both[restarted], both[1 - restarted]
        gone.sees(stays)
        await connected(gone, stays)
        dead = stays.session(gone)
        await gone.crash()
        again = House(tmp_path / str(restarted), who=gone.identity)
        await again.start("party", port=0)
        # It knows its friend from its book.
        await until(lambda: again.session(stays), "the new session")
        await until(lambda: stays.session(again) not in (None, dead), "the new session there")
        session = stays.session(again)
        assert session is not None
        assert await session.ask(LIST) == {"ok": True}
        await again.close()


async def test_a_session_that_ends_is_dialled_again(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        one.sees(other)
        await connected(one, other)
        gone: list[object] = []
        one.meeting.on_disconnected = gone.append
        session = one.session(other)
        assert session is not None
        session.close()
        await until(lambda: gone == [other.id], "the end")
        assert isinstance(one.events[-1], PeerDisconnected)
        await connected(one, other)


async def test_the_blocked_do_not_come_back_and_do_not_hammer(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        one.sees(other)
        await connected(one, other)
        await one.peers.block(other.id)
        await until(lambda: not one.sessions_with(other), "the end")
        assert [each.state for each in one.peers.list(all=True)] == ["blocked"]
        one.sees(other)
        assert one.peer(other).dial.task is None
        # The blocked one tries again, learns nothing, and takes its time.
        await until(lambda: other.peer(one).dial.error, "another try")
        assert isinstance(other.peer(one).dial.error, NoCommonTopic)
        assert one.count(PeerConnected) == other.count(PeerConnected) == 1
        await one.peers.unblock(other.id)
        await connected(one, other)


async def test_a_block_survives_a_restart(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        one.sees(other)
        await connected(one, other)
        await one.peers.block(other.id)
        await one.crash()
        again = House(tmp_path / "0", who=one.identity)
        await again.start("party")
        assert [each.state for each in again.peers.list(all=True)] == ["blocked"]
        await again.close()


async def test_the_disconnected_are_left_alone(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        with pytest.raises(PeerNotConnected):
            await one.peers.disconnect(other.id)
        one.sees(other)
        await connected(one, other)
        await one.peers.disconnect(other.id)
        one.sees(other)
        assert one.peer(other).dial.task is None
        await until(lambda: other.peer(one).dial.error, "another try")
        assert one.count(PeerConnected) == 1
        # The owner's own wish goes before it.
        one.meeting.let_in(one.peer(other))
        other.sees(one)
        await connected(one, other)


async def test_one_key_cannot_take_every_connection(tmp_path: Path) -> None:
    async with houses(tmp_path, 1) as (one,):
        party = topic("party")
        greedy = Node(topics=one.topics.current())
        async with nodes(greedy):
            assert greedy.topics == (party,)
            for _ in range(10):
                connection = greedy.endpoint.dial(
                    one.id, [("127.0.0.1", one.port)], greedy.topics[0]
                )
                await dial_hello(connection, greedy.around, one.id)
            peer = one.peers._roster.get(greedy.identity.peer_id)
            assert peer is not None
            sessions = peer.sessions
            await until(
                lambda: sum(not each.closed for each in sessions) <= MAX_SESSIONS_OF_A_PEER,
                "few sessions",
            )


# Topics.


async def test_joining_a_topic_while_connected(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        one.sees(other)
        await connected(one, other)
        await asyncio.gather(one.topics.join("second"), other.topics.join("second"))
        for house, far in ((one, other), (other, one)):
            await until(lambda: len(house.session(far).topics) == 2, "both topics")  # type: ignore[union-attr]  # noqa: B023
        assert one.topics.list()[1].peers == 1


async def test_leaving_the_last_common_topic(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        one.sees(other)
        await connected(one, other)
        await one.topics.leave("party")
        await until(lambda: not one.sessions_with(other), "the end")
        await until(lambda: not other.sessions_with(one), "the end on the other side")
        assert one.peers.list(all=True)[0].topics == ()
        await one.topics.join("party")
        await connected(one, other)


async def test_a_topic_left_during_the_hello_is_not_common(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with houses(tmp_path, 2, "party", "second") as (one, other):

        async def leave_meanwhile(connection: Connection, around: Surroundings) -> Session:
            session = await accept_hello(connection, around)
            await other.topics.leave("second")
            return session

        monkeypatch.setattr(sessions_module, "accept_hello", leave_meanwhile)
        one.sees(other)
        await until(lambda: one.session(other) and other.session(one), "the session")
        party = {each.public_id for each in one.topics.current() if each.name == "party"}
        for house, far in ((one, other), (other, one)):
            await until(lambda: house.session(far).topics == party, "one topic")  # type: ignore[union-attr]  # noqa: B023


async def test_a_knock_is_heard_though_another_topic_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dialler knows two topics and cannot know which of them the other one still has."""
    monkeypatch.setattr(dialler_module, "ATTEMPT_TIMEOUT_S", 0.5)
    async with houses(tmp_path, 2, "first", "second") as (one, other):
        await other.topics.leave("first")
        one.sees(other, "first")
        one.sees(other, "second")
        await connected(one, other)


async def test_strangers_at_another_topic_stay_strangers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialler_module, "ATTEMPT_TIMEOUT_S", 0.3)
    async with houses(tmp_path) as (one, other):
        await other.topics.join("elsewhere")
        await other.topics.leave("party")
        one.sees(other)
        await until(lambda: one.peer(other).dial.error, "the failure")
        [described] = one.peers.list(all=True)
        assert isinstance(described.error, TimedOut)
        assert described.error.message == f"nothing answered at 127.0.0.1 port {other.port}"
        assert not other.peers.list(all=True)


# Invites.


async def test_an_invite_brings_two_together(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        for house in (one, other):
            await house.topics.leave("party")
        code = await one.peers.invite()
        assert await other.peers.connect(code) == one.id
        await connected(one, other)
        assert other.peers.list(all=False)[0].found_by[0] == "invite"
        assert one.peers.resolve(name_of(other.id)) == other.id


async def test_invites_that_cannot_be_used(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        code = await one.peers.invite()
        with pytest.raises(InvalidParams, match="made here"):
            await one.peers.connect(code)
        with pytest.raises(InviteInvalid):
            await other.peers.connect(code[:-1])
        await other.peers.block(one.id)
        with pytest.raises(InvalidParams, match="unblock"):
            await other.peers.connect(code)


# Records.


async def test_news_of_one_peer_are_passed_on_at_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gossip, "PEER_S", 0.5)
    async with houses(tmp_path, 3) as (one, other, third):
        passed: list[int] = []

        async def count(session: Session, request: Request, stream: Stream) -> None:
            assert isinstance(request, Announce)
            passed.extend(len(blob) for blob in request.records)
            await answer_ok(session, request, stream)

        third.handlers.answer(Announce, count)
        for each in (other, third):
            one.sees(each)
            await connected(one, each)
        topic_id = next(iter(one.topics.current())).public_id
        await asyncio.sleep(0.3)
        passed.clear()
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < 1.2:
            one.meeting._gossip.heard(topic_id, other.id, os.urandom(500))
            await asyncio.sleep(0.01)
        assert 1 <= passed.count(500) <= 4
        told = len(passed)
        await until(lambda: len(passed) > told, "the last of the news")


async def test_connected_peers_tell_their_addresses(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        for house in (one, other):
            house.take_records()
        one.sees(other)
        await connected(one, other)
        for house, far in ((one, other), (other, one)):
            await until(
                lambda: far.id in {peer_id for _, peer_id in house.meeting._gossip._heard},  # noqa: B023
                "the record",
            )
            # What a peer says of itself is no gossip.
            assert "gossip" not in house.peers.list(all=True)[0].found_by
            known = next(peer for peer in house.peers._book if peer.peer_id == far.id)
            assert ("127.0.0.1", far.port) in known.addresses


async def test_records_that_prove_nothing_are_dropped(tmp_path: Path) -> None:
    async with houses(tmp_path, 2, "party") as (one, other):
        one.take_records()
        other.take_records()
        await other.topics.join("elsewhere")
        one.sees(other)
        await connected(one, other)
        session = other.session(one)
        discovery = other.discovery
        assert session is not None
        party, elsewhere = sorted(other.topics.current(), key=lambda each: each.name != "party")
        for_party = discovery.own_record(party)
        hostile = (
            b"",
            bytes(640),
            for_party[:-1] + bytes([for_party[-1] ^ 1]),
            discovery.own_record(elsewhere),
        )
        await until(lambda: one.count(PeerFound) > 0, "what is known so far")
        before = [(peer.peer_id, set(peer.topics)) for peer in one.peers._book]
        assert await session.ask(Announce(hostile)) == {"ok": True}
        assert [(peer.peer_id, set(peer.topics)) for peer in one.peers._book] == before
        assert not session.closed


# What is known.


async def test_old_friends_meet_without_anybody_else(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        one.sees(other)
        await connected(one, other)
        ports = one.port, other.port
        await one.close()
        await other.close()
        again = [House(tmp_path / str(n), who=h.identity) for n, h in enumerate((one, other))]
        for house, port in zip(again, ports, strict=True):
            await house.start("party", port=port)
        await connected(*again)
        for house in again:
            await house.close()


async def test_peers_are_resolved_by_name_and_id(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        with pytest.raises(PeerNotFound):
            one.peers.resolve(other.id.text)
        one.sees(other)
        await connected(one, other)
        for text in (other.id.text, name_of(other.id), other.id.text[:20]):
            assert one.peers.resolve(text) == other.id


async def test_a_session_asks_until_it_is_gone(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        one.sees(other)
        await connected(one, other)
        session = one.session(other)
        assert session is not None
        await other.close()
        await until(lambda: session.closed, "the goodbye")
        assert session.close_code == ResetCode.SHUTTING_DOWN
        with pytest.raises((PeerNotConnected, NoCommonTopic, HdpdError)):
            await session.ask(LIST)
        assert one.peers.get(other.id) is None
        assert one.peers.list(all=True)[0].state in {"connecting", "known"}
