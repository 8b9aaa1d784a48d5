"""Punches between whole peers on loopback: agreed on through a common peer, used, explained."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hdpd.discovery.records import NatKind, PunchPart
from hdpd.errors import Busy, HdpdError, NotReachable, ProtocolError
from hdpd.link.session import Session
from hdpd.peers import dialler
from hdpd.punching.puncher import BOTH_HARD
from hdpd.wire.messages import Observed, Rendezvous
from tests.peers.helpers import House, houses
from tests.waiting import until


@contextlib.asynccontextmanager
async def three(
    tmp_path: Path, nat: NatKind = "easy", *, reachable: bool = True
) -> AsyncIterator[list[House]]:
    """The first and the third are connected with the second, which alone can be dialled."""
    async with houses(tmp_path, 3) as made:
        first, middle, last = made
        for house in (first, last):
            house.nat.told = ()  # it tells no address
        for house in made:
            house.nat.kind, house.nat.reachable = nat, reachable
            house.take_records()
            house.handlers.answer(Rendezvous, house.meeting.traversal.answer_rendezvous)
            house.handlers.answer(Observed, house.meeting.telling.answer_observed)
        for house in (first, last):
            house.sees(middle)
        await until(lambda: first.session(middle) and last.session(middle), "the first two pairs")
        yield made


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialler, "UNANSWERED_S", 0.05)


async def test_a_common_peer_brings_two_together(tmp_path: Path) -> None:
    async with three(tmp_path) as (first, _, last):
        await until(lambda: first.session(last) and last.session(first), "the third pair")
        session = first.session(last)
        assert session is not None
        assert session.dialled_by_us  # it has the lower key
        for house, other in ((first, last), (last, first)):
            near = house.session(other)
            assert near is not None
            assert house.endpoint.is_extra(near.path.socket)
            explained = house.peers.explain(other.id)
            assert (explained.own_nat, explained.peer_nat) == ("easy", "easy")
            kinds = {each.kind for each in explained.tries}
            assert {"request", "punch"} <= kinds
        assert "gossip" in first.peers.explain(last.id).found_by
        # The sockets of the punch are the session's now, and go with it.
        assert len(first.endpoint._extra._released) == 1
        session.close()
        assert not first.endpoint._extra._released


async def test_two_hard_sides_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdpd.punching.punch.ORDINARY_S", 0.3)
    async with three(tmp_path, "hard", reachable=False) as (first, _, last):
        for house, other in ((first, last), (last, first)):
            await until(lambda: other.id in {each.peer_id for each in house.peers._book}, "news")  # noqa: B023
            await until(
                lambda: isinstance(house.peer(other).way.error, NotReachable),  # noqa: B023
                "the reason",
            )
            [listed] = [p for p in house.peers.list(all=True) if p.id == other.id]
            assert listed.error is not None
            assert (listed.error.code, listed.error.message) == ("not_reachable", BOTH_HARD)
            explained = house.peers.explain(other.id)
            assert BOTH_HARD in str(explained.reason)
            assert any("forward" in advice for advice in explained.advice)
            assert house.peer(other).way.rests_until > 0
        first.meeting.candidates_changed()
        assert first.peer(last).way.rests_until == 0


async def test_what_is_not_carried(tmp_path: Path) -> None:
    async with three(tmp_path, reachable=False) as (first, middle, last):
        session = first.session(middle)
        assert session is not None
        topic = first.topics.current()[0]

        def request(by: House, to: House) -> bytes:
            part = PunchPart(to.id, bytes(16), None, "easy")
            return by.discovery.punch_request(topic, part, ())

        stranger = House(tmp_path / "stranger")
        for blob, refusal in [
            (bytes(640), ProtocolError),
            (first.discovery.own_record(topic), ProtocolError),
            (request(last, first), ProtocolError),  # of somebody else
            (request(first, stranger), HdpdError),
        ]:
            with pytest.raises(refusal):
                await session.ask(Rendezvous(blob))
        answers = [await _answer(session, request(first, last)) for _ in range(50)]
        assert 10 <= answers.count("carried") <= 30
        assert set(answers) == {"carried", "busy"}


async def _answer(session: Session, blob: bytes) -> str:
    try:
        await session.ask(Rendezvous(blob))
    except Busy:
        return "busy"
    return "carried"


async def test_no_request_without_anybody_to_carry_it(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        one.sees(other, port=1)
        await until(
            lambda: any(each.kind == "request" for each in one.peer(other).tries.values()),
            "the request",
        )
        [tried] = [each for each in one.peer(other).tries.values() if each.kind == "request"]
        assert tried.result == "no broker and no common peer carries it"
        explained = one.peers.explain(other.id)
        assert explained.peer_nat is None
        assert explained.advice


async def test_a_silent_session_moves_to_where_the_peer_is(tmp_path: Path) -> None:
    async with three(tmp_path) as (first, _, last):
        await until(lambda: first.session(last) and last.session(first), "the third pair")
        before = first.session(last)
        assert before is not None
        old = before.path
        for house in (first, last):
            session = house.session(first if house is last else last)
            assert session is not None
            # As when a NAT on the way has forgotten both.
            socket = session.path.socket
            socket.send = lambda datagrams, address: None  # type: ignore[method-assign]
            session.ping_now()
        await until(lambda: before.closed or before.path != old, "another path")
        now = first.session(last)
        assert now is not None
        assert now.path != old
        assert (await now.ask(Observed("127.0.0.1", 1)))["ok"]


async def test_each_side_learns_how_it_is_seen(tmp_path: Path) -> None:
    async with houses(tmp_path) as (one, other):
        seen: list[tuple[object, ...]] = []
        for house in (one, other):
            house.handlers.answer(Observed, house.meeting.telling.answer_observed)
        one.meeting.telling.on_observed = lambda *claim: seen.append(claim)
        one.sees(other)
        await until(lambda: seen, "what the other one sees")
        assert seen[0] == (other.id, "127.0.0.1", "127.0.0.1", one.port)
