"""What may happen to a peer in which state, and that nothing that dies leaves anything behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd import machine
from hdpd.identity.keys import PeerId
from hdpd.link.connection import Connection
from hdpd.link.session import Session, Surroundings, dial_hello
from hdpd.peers import dialler as dialler_module
from hdpd.peers import peer as peer_module
from hdpd.peers.book import Book, KnownPeer
from hdpd.peers.peer import Peer, Roster
from hdpd.peers.states import TRANSITIONS, WORDS, Event, State, after
from hdpd.peers.status import PeerDisconnected
from hdpd.peers.tries import Try
from hdpd.wire.messages import ResetCode
from tests.peers.helpers import House, connected, houses, quick_master
from tests.waiting import until


@pytest.fixture(autouse=True)
def no_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of topics without their price."""
    monkeypatch.setattr("hdpd.peers.topics.derive_master", quick_master)


def a_peer(number: int = 1) -> Peer:
    return Peer(KnownPeer(PeerId(number.to_bytes(32, "big")), 0.0))


# The table.


def test_every_state_is_reached_and_left() -> None:
    reached, grown = {State.IDLE}, True
    while grown:
        further = {to for (state, _), to in TRANSITIONS.items() if state in reached}
        grown, reached = not further <= reached, reached | further
    assert reached == set(State) == set(WORDS)
    for state in State:
        assert {to for (at, _), to in TRANSITIONS.items() if at is state} - {state}, state


@given(st.lists(st.sampled_from(Event)))
def test_a_peer_is_where_the_table_says(events: list[Event]) -> None:
    peer = a_peer()
    for event in events:
        before = peer.state
        if (before, event) in TRANSITIONS:
            assert peer.happens(event)
            assert peer.state is after(before, event)
        else:
            with pytest.raises(machine.WrongTransition):
                peer.happens(event)
            assert peer.state is before


def test_in_service_a_wrong_transition_is_logged_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine, "STRICT", False)
    peer = a_peer()
    assert not peer.happens(Event.LOST)
    assert peer.state is State.IDLE
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "LOST happened to a peer that is IDLE" in record.getMessage()


def test_there_are_no_more_than_the_book_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdpd.peers.book.MAX_PEERS", 10)
    monkeypatch.setattr(peer_module, "MAX_TRIED", 4)
    book = Book()
    roster = Roster(book)
    forgotten: list[Peer | None] = []
    book.on_forgotten = lambda peer_id: forgotten.append(roster.forget(peer_id))
    for number in range(50):
        peer_id = PeerId(number.to_bytes(32, "big"))
        book.found(peer_id, None, "mqtt", (), float(number))
        peer = roster.get(peer_id)
        assert peer is not None
        peer.known.in_use = number == 0
        roster.note(peer, Try("dial", None, 0.0, "no answer"))
    kept = list(roster)
    assert len(kept) == 10
    assert kept[0].known.in_use, "who is connected is not forgotten for who was only found"
    assert len(forgotten) == 40
    assert sum(bool(peer.tries) for peer in kept) == 4


# What dies.


class Trap:
    """Whatever a peer's tasks wait for: it comes when it is told to, and then it is a mistake."""

    def __init__(self, *, slow: bool) -> None:
        self.spring = asyncio.Event()
        self._slow = slow

    async def wait(self) -> Any:
        try:
            await self.spring.wait()
        except asyncio.CancelledError:
            if self._slow:
                await asyncio.sleep(0.3)
            raise
        raise RuntimeError("a mistake of ours")

    async def dial(self, connection: Connection, *_: object, **__: object) -> Session:
        try:
            await self.wait()
        finally:
            connection.close(ResetCode.REFUSED)
        raise AssertionError

    async def ask(self, *_: object, **__: object) -> dict[str, object]:
        await self.wait()
        raise AssertionError


async def bring(one: House, other: House, state: State, patch: pytest.MonkeyPatch) -> None:
    """Until `other` is in that state for `one`."""
    if state is State.IDLE:
        one.peers._book.found(other.id, None, "mqtt", (), 0.0)
    elif state in {State.WAITING, State.DIALLING}:
        delay = 60.0 if state is State.WAITING else 0.0
        patch.setattr(dialler_module, "HIGHER_KEY_DELAY_S", delay)
        one.sees(other)
    else:
        other.sees(one)  # so that ours is not the side that is caught in the trap
        await connected(one, other)
    if state is State.REDIALLING:
        ours = one.meeting._around
        patch.setattr(Session, "is_silent", property(lambda self: self._around is ours))
        one.meeting._dialler.wake(one.peer(other), at_once=True)
    elif state is State.HELD:
        await one.peers.disconnect(other.id)
    elif state is State.BLOCKED:
        await one.peers.block(other.id)
    peer = one.peer(other)
    await until(lambda: peer.state is state, f"{state}")
    if state in {State.DIALLING, State.REDIALLING}:
        await until(lambda: peer.dial.connections, "an attempt")


def kill(one: House, peer: Peer, trap: Trap, how: str) -> None:
    tasks = [*peer.tasks, *filter(None, [peer.dial.task])]
    if how == "cancelled":
        for task in tasks:
            task.cancel()
    elif how == "failed":
        trap.spring.set()


@pytest.mark.parametrize("how", ["cancelled", "failed", "slow to stop"])
@pytest.mark.parametrize("state", State)
async def test_what_dies_leaves_nothing_behind(
    state: State, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with houses(tmp_path) as (other, one):
        for house in (one, other):
            house.take_records()
        trap = Trap(slow=how == "slow to stop")
        with monkeypatch.context() as patch:
            ask = Session.ask

            async def ask_in_trap(self: Session, *arguments: Any, **options: Any) -> Any:
                return await (trap.ask if self._around is around else ask)(
                    *(() if self._around is around else (self,)), *arguments, **options
                )

            around = one.meeting._around
            patch.setattr(Session, "ask", ask_in_trap)
            if state in {State.WAITING, State.DIALLING, State.REDIALLING}:

                async def dial(connection: Connection, by: Surroundings, *rest: Any) -> Session:
                    if by is around:
                        return await trap.dial(connection)
                    return await dial_hello(connection, by, *rest)

                patch.setattr(dialler_module, "dial_hello", dial)
            await bring(one, other, state, patch)
            peer = one.peer(other)
            kill(one, peer, trap, how)
            await asyncio.sleep(0.05)
        assert peer.state is not State.IDLE or state is State.IDLE, "it goes on by itself"
        # The owner ends it, and nothing is left.
        await one.peers.block(other.id)
        assert peer.state is State.BLOCKED
        assert not peer.sessions
        assert not peer.bulk
        assert (peer.dial.timer, peer.dial.task, peer.held) == (None, None, None)
        await until(lambda: not peer.tasks and not one.meeting._dialler._tasks, "the ends of tasks")
        await until(lambda: not one.meeting.sessions._accepting, "the end of what was let in")
        assert not one.endpoint._connections
        assert not one.meeting.traversal.is_punching(peer)
        assert one.peers.connected() == []
        # And it begins as if nothing had been.
        await one.peers.unblock(other.id)
        one.sees(other)
        other.sees(one)
        await connected(one, other)
        assert one.peer(other) is peer


async def test_two_whose_hellos_pass_each_other_keep_one_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has let the other in before its own attempt has come back: neither may be dropped by
    its dialler, since the other side may keep just that one.
    """
    monkeypatch.setattr(dialler_module, "HIGHER_KEY_DELAY_S", 0.0)
    passed = asyncio.Event()

    async def late(connection: Connection, around: Surroundings, expected: PeerId) -> Session:
        session = await dial_hello(connection, around, expected)
        try:
            await passed.wait()
        except asyncio.CancelledError:
            session.close(ResetCode.REFUSED)
            raise
        return session

    monkeypatch.setattr(dialler_module, "dial_hello", late)
    async with houses(tmp_path) as (one, other):
        one.sees(other)
        other.sees(one)
        await until(lambda: one.sessions_with(other) and other.sessions_with(one), "both let in")
        passed.set()
        await connected(one, other)
        assert one.count(PeerDisconnected) == other.count(PeerDisconnected) == 0


async def test_a_session_that_comes_too_late_is_not_kept(tmp_path: Path) -> None:
    """The owner blocks a peer while an attempt is past the point where it could be stopped."""
    async with houses(tmp_path) as (one, other):
        add: Callable[[Session], None] = one.meeting.sessions.add

        def block_and_add(session: Session) -> None:
            one.peer(other).happens(Event.BLOCK)
            one.meeting.stop(one.peer(other), ResetCode.REFUSED)
            add(session)

        one.meeting._dialler._on_session = block_and_add
        one.sees(other)
        await until(lambda: one.peer(other).state is State.BLOCKED, "the block")
        assert not one.sessions_with(other)
        await until(lambda: not one.endpoint._connections, "the end of the connection")
