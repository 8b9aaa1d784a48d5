"""The book of known peers: what it remembers, what it forgets, and that it survives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdpd.database import Database, Transaction
from hdpd.identity.keys import PeerId
from hdpd.peers import book as book_module
from hdpd.peers.book import FORGET_ADDRESS_S, MAX_ADDRESSES, Book, KnownPeer
from hdpd.peers.book_store import load_book, save_book
from hdpd.peers.peer import Peer, Roster
from hdpd.peers.states import Event, State
from tests.link.helpers import identity

A, B, C = (PeerId(bytes([number]) * 32) for number in range(3))
HOME, AWAY = ("192.0.2.1", 3031), ("198.51.100.1", 3031)
TOPIC = b"t" * 32


def known(book: Book, peer_id: PeerId) -> KnownPeer:
    peer = book.get(peer_id)
    assert peer is not None
    return peer


def test_what_is_found_is_remembered_and_new_only_once() -> None:
    book = Book()
    assert book.found(A, TOPIC, "mqtt", [HOME], 1.0)
    assert not book.found(A, TOPIC, "mqtt", [HOME], 2.0)
    assert book.found(A, TOPIC, "mqtt", [AWAY], 3.0), "another address"
    assert book.found(A, b"u" * 32, "mqtt", [], 4.0), "another topic"
    assert not book.found(A, TOPIC, "mdns", [HOME], 5.0)
    assert known(book, A).found_by == ["mqtt", "mdns"]
    assert known(book, A).last_seen == 5.0


def test_addresses_that_worked_are_dialled_first_then_those_told_last() -> None:
    book = Book()
    book.found(A, TOPIC, "mqtt", [HOME], 1.0)
    book.found(A, TOPIC, "mqtt", [AWAY], 2.0)
    assert known(book, A).addresses_to_dial() == [AWAY, HOME]
    book.connected(A, HOME, [TOPIC], 3.0)
    assert known(book, A).addresses_to_dial() == [HOME, AWAY]


def test_addresses_are_few_and_the_one_that_worked_stays() -> None:
    """A member can advertise a friend at made-up addresses, as often as it likes."""
    book = Book()
    book.connected(A, HOME, [TOPIC], 1.0)
    for number in range(100):
        book.found(
            A, TOPIC, "mdns", [("192.0.2.9", port) for port in range(number, 5000, 500)], 2.0
        )
        assert len(known(book, A).addresses) <= MAX_ADDRESSES
    assert known(book, A).addresses_to_dial()[0] == HOME


def test_new_addresses_find_room_among_those_that_worked() -> None:
    book = Book()
    for number in range(MAX_ADDRESSES):
        book.connected(A, ("192.0.2.1", 1000 + number), [TOPIC], 1.0 + number)
    book.found(A, TOPIC, "mqtt", [AWAY], 100.0)
    assert AWAY in known(book, A).addresses


def test_a_clock_that_is_set_back_spoils_nothing() -> None:
    book = Book()
    told = [("192.0.2.9", port) for port in range(1, MAX_ADDRESSES + 1)]
    book.found(A, TOPIC, "mqtt", told, 1_000_000.0)
    book.connected(A, HOME, [TOPIC], 1.0)
    assert known(book, A).addresses_to_dial()[0] == HOME
    assert len(known(book, A).addresses) == MAX_ADDRESSES


def test_old_addresses_are_forgotten() -> None:
    book = Book()
    book.found(A, TOPIC, "mqtt", [HOME], 0.0)
    book.found(A, TOPIC, "mqtt", [AWAY], FORGET_ADDRESS_S + 1)
    assert list(known(book, A).addresses) == [AWAY]


def test_strangers_go_before_friends_and_friends_before_the_blocked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(book_module, "MAX_PEERS", 3)
    book = Book()
    block(book, A, True, 1.0)
    book.connected(B, HOME, [TOPIC], 2.0)
    for number in range(50):
        book.found(identity(number).peer_id, TOPIC, "gossip", [AWAY], 3.0 + number)
    assert len(list(book)) == 3
    assert book.is_blocked(A)
    assert book.get(B)


def test_blocking() -> None:
    book = Book()
    block(book, A, True, 1.0)
    assert book.is_blocked(A)
    assert not book.is_blocked(B)
    book.found(A, TOPIC, "mqtt", [HOME], 2.0)
    assert book.is_blocked(A), "being found does not unblock"
    block(book, A, False, 3.0)
    assert not book.is_blocked(A)


def test_what_happened_to_a_peer_is_what_is_saved_of_it() -> None:
    book = Book()
    roster = Roster(book)
    peer = roster.enter(A, 1.0)
    assert book.take_changed() == ([peer.known], [])
    assert not peer.known.is_blocked
    roster.enter(A, 2.0).happens(Event.BLOCK)
    assert book.take_changed() == ([peer.known], [])
    assert peer.known.is_blocked
    assert Peer(peer.known).state is State.BLOCKED


def block(book: Book, peer_id: PeerId, blocked: bool, now: float) -> None:
    """As the owner does it."""
    peer = Peer(book.enter(peer_id, now))
    if blocked:
        peer.happens(Event.BLOCK)
    elif peer.state is State.BLOCKED:
        peer.happens(Event.UNBLOCK)


ids = st.integers(0, 9).map(lambda number: PeerId(bytes([number]) * 32))
addresses = st.lists(st.tuples(st.just("192.0.2.1"), st.integers(1, 40)), max_size=20)
steps = st.one_of(
    st.tuples(st.just("found"), ids, addresses),
    st.tuples(st.just("connected"), ids, addresses),
    st.tuples(st.just("block"), ids, st.booleans()),
    st.tuples(st.just("save"), st.none(), st.none()),
    st.tuples(st.just("fail"), st.none(), st.none()),
    st.tuples(st.just("clock"), st.none(), st.sampled_from([-1000.0, 2 * FORGET_ADDRESS_S])),
)


@settings(max_examples=200)
@given(st.lists(steps, max_size=40))
def test_the_disk_ends_up_with_what_the_book_holds(script: list[Any]) -> None:
    """Whatever happens between saves, and when saves fail; and the caps hold all the time."""
    most, book_module.MAX_PEERS = book_module.MAX_PEERS, 4
    try:
        book, disk = Book(), set[PeerId]()
        now = 100.0
        for what, peer_id, detail in script:
            now += 1.0
            if what == "clock":
                now += detail
            elif what == "found":
                book.found(peer_id, TOPIC, "mqtt", detail, now)
            elif what == "connected":
                book.connected(peer_id, detail[0] if detail else HOME, [TOPIC], now)
            elif what == "block":
                block(book, peer_id, detail, now)
            elif what in ("save", "fail"):
                saved, removed = book.take_changed()
                if what == "fail":
                    book.keep(saved, removed)
                else:
                    save(disk, saved, removed)
            assert len(list(book)) <= 4
            assert all(len(peer.addresses) <= MAX_ADDRESSES for peer in book)
        save(disk, *book.take_changed())
        assert disk == {peer.peer_id for peer in book}
    finally:
        book_module.MAX_PEERS = most


def save(disk: set[PeerId], saved: list[KnownPeer], removed: list[PeerId]) -> None:
    """As book_store does it: first the one, then the other."""
    disk.update(peer.peer_id for peer in saved)
    disk.difference_update(removed)


async def test_the_book_survives_a_restart(tmp_path: Path) -> None:
    book = Book()
    book.found(A, TOPIC, "mqtt", [HOME, ("2001:db8::1", 5), ("fe80::1%2", 6)], 1.5)
    book.connected(A, HOME, [TOPIC, b"u" * 32], 2.5)
    block(book, B, True, 3.5)
    book.found(C, None, "invite", [], 4.5)
    async with opened(tmp_path) as database:
        await save_book(database, book)
        await save_book(database, book)
    async with opened(tmp_path) as database:
        again = Book()
        await load_book(database, again)
    expected = known(book, A)
    del expected.addresses["fe80::1%2", 6]  # means nothing after a restart
    assert {peer.peer_id: peer for peer in again} == {peer.peer_id: peer for peer in book}


async def test_a_book_that_cannot_be_saved_now_is_saved_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    book = Book()
    book.found(A, TOPIC, "mqtt", [HOME], 1.0)
    async with opened(tmp_path) as database:
        write = database.write

        async def full(change: Callable[[Transaction], object]) -> None:
            raise apsw.FullError("database or disk is full")

        monkeypatch.setattr(database, "write", full)
        await save_book(database, book)
        assert "could not be saved" in caplog.text
        monkeypatch.setattr(database, "write", write)
        await save_book(database, book)
        again = Book()
        await load_book(database, again)
        assert [peer.peer_id for peer in again] == [A]


async def test_a_block_whose_call_ends_while_it_is_saved_is_saved_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Book()
    block(book, A, True, 1.0)
    async with opened(tmp_path) as database:
        with monkeypatch.context() as patched:
            waits = asyncio.Event()

            async def never_begins(_change: Callable[[Transaction], object]) -> None:
                waits.set()
                await asyncio.Event().wait()

            patched.setattr(database, "write", never_begins)
            saving = asyncio.create_task(save_book(database, book))
            await waits.wait()
            saving.cancel()
            await asyncio.wait({saving})
        await save_book(database, book)
        again = Book()
        await load_book(database, again)
        assert again.is_blocked(A)


class opened:  # noqa: N801 (used as a function)
    """A state.db for the time of a block."""

    def __init__(self, directory: Path) -> None:
        self._database = Database(directory / "state.db", "state")

    async def __aenter__(self) -> Database:
        await self._database.open()
        return self._database

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(self._database.close())
