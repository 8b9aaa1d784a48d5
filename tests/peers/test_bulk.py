"""Further connections with a connected peer: what they may do, how many, and how they end."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from hdpd.errors import ConnectionLost, HdpdError, ProtocolError
from hdpd.link.session import Session
from hdpd.peers.bulk import MAX_BULK
from hdpd.peers.status import PeerConnected, PeerDisconnected
from hdpd.wire.messages import Ls, Read
from hdpd.wire.paths import RemotePath
from tests.link.helpers import ENGINES, answer_ok
from tests.peers.helpers import House, connected, houses, quick_master
from tests.waiting import until

READ = Read(RemotePath(b"media/file"), 0, 1)
LIST = Ls(RemotePath(b""))


@pytest.fixture(autouse=True)
def no_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of topics without their price."""
    monkeypatch.setattr("hdpd.peers.topics.derive_master", quick_master)


async def meet(one: House, other: House) -> Session:
    """Both answer reads; the session of `one`."""
    for house in (one, other):
        house.handlers.answer(Read, answer_ok)
    one.sees(other)
    await connected(one, other)
    session = one.session(other)
    assert session is not None
    return session


@pytest.mark.parametrize("engine", ENGINES)
async def test_it_serves_reads_and_nothing_else(engine: str, tmp_path: Path) -> None:
    async with houses(tmp_path, engine=engine) as (one, other):  # type: ignore[arg-type]
        main = await meet(one, other)
        bulk = await one.peers.open_bulk(main)
        assert (await bulk.ask(READ))["ok"] is True
        with pytest.raises(ProtocolError, match="reads only"):
            await bulk.ask(LIST)
        assert (await main.ask(LIST))["ok"] is True
        assert one.session(other) is main
        assert one.count(PeerConnected) == other.count(PeerConnected) == 1
        assert one.count(PeerDisconnected) == 0


async def test_there_are_so_many_and_no_more(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        main = await meet(one, other)
        bulk = [await one.peers.open_bulk(main) for _ in range(MAX_BULK)]
        with pytest.raises(HdpdError):
            await one.peers.open_bulk(main)
        bulk[0].close()
        await until(lambda: len(other.peer(one).bulk) < MAX_BULK, "the end of one")
        bulk.append(await one.peers.open_bulk(main))
        for session in bulk[1:]:
            assert (await session.ask(READ))["ok"] is True


async def test_they_end_with_the_session(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        main = await meet(one, other)
        bulk = await one.peers.open_bulk(main)
        await other.topics.leave("party")
        await until(lambda: main.closed and bulk.closed, "the end of both")
        with pytest.raises(ConnectionLost):
            await bulk.ask(READ)
        assert not one.peer(other).bulk
        assert not other.peer(one).bulk


async def test_without_a_session_it_has_no_place(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        main = await meet(one, other)
        # As if the other side had just lost the session: it must not take a bulk one in its place.
        kept, other.peer(one).sessions = other.peer(one).sessions, []
        with contextlib.suppress(HdpdError):
            await one.peers.open_bulk(main)
        await until(lambda: not one.peer(other).bulk, "its end")
        assert one.session(other) is main
        other.peer(one).sessions = kept
