"""Only a few work at once, and who asks for much waits for itself."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.errors import Busy
from hdpd.shares import gate
from hdpd.shares.gate import OWNER, Gate, Who

ANNA, BERT = Who("192.0.2.1", "anna"), Who("192.0.2.2", "bert")
MANY = [Who("198.51.100.0/24", f"m{number}") for number in range(4)]


class Work:
    """Works at a gate, and keeps the order in which turns came."""

    def __init__(self, *limits: int) -> None:
        self.gate = Gate(*limits)
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, *askers: Who) -> None:
        for who in askers:
            self.tasks.append(asyncio.create_task(self._wait(who)))
        await asyncio.sleep(0)

    async def _wait(self, who: Who) -> None:
        await self.gate.enter(who)
        self.order.append(who.peer)

    async def done(self, who: Who) -> None:
        self.gate.leave(who)
        await asyncio.sleep(0)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_one_that_asks_for_much_waits_for_itself() -> None:
    work = Work(1, 1, 1)
    await work.ask(*[ANNA] * 5, BERT, OWNER)
    for who in (ANNA, ANNA, BERT, OWNER):
        await work.done(who)
    assert work.order == ["anna", "anna", "bert", "", "anna"]
    await work.close()


async def test_many_keys_of_one_source_are_one_and_take_turns_among_themselves() -> None:
    work = Work(1, 1, 1)
    await work.ask(*MANY, MANY[0], BERT, BERT)
    assert work.order == ["m0"]
    turns = [MANY[0]]
    for _ in range(6):
        await work.done(turns[-1])
        turns.append(next(who for who in (*MANY, BERT) if who.peer == work.order[-1]))
    assert work.order == ["m0", "m1", "bert", "m2", "bert", "m3", "m0"]
    await work.close()


async def test_a_source_and_a_peer_have_their_parts() -> None:
    work = Work(10, 3, 2)
    await work.ask(*[MANY[0]] * 4, *[MANY[1]] * 2, ANNA)
    assert sorted(work.order) == ["anna", "m0", "m0", "m1"]
    await work.close()


async def test_who_gives_up_is_forgotten() -> None:
    work = Work(1, 1, 1)
    await work.ask(ANNA, BERT, BERT)
    for task in work.tasks[1:]:
        task.cancel()
    await asyncio.sleep(0)
    assert work.gate._waiting == {}
    assert work.gate._waiting_count == 0
    await work.done(ANNA)
    assert not work.gate._working


async def test_a_turn_that_comes_with_the_cancellation_is_given_on() -> None:
    work = Work(1, 1, 1)
    await work.ask(ANNA, BERT, OWNER)
    work.gate.leave(ANNA)
    work.tasks[1].cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert work.order == ["anna", ""]


async def test_one_that_gives_up_in_the_moment_of_its_turn_is_passed_over() -> None:
    work = Work(1, 1, 1)
    await work.ask(ANNA, BERT, OWNER)
    work.tasks[1].cancel()
    work.gate.leave(ANNA)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert work.order == ["anna", ""]
    work.gate.leave(OWNER)
    assert not work.gate._working
    assert not work.gate._waiting
    assert not work.gate._waiting_count


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_WAITING_OF_PEER", 2)
    work = Work(1, 1, 1)
    await work.ask(*[ANNA] * 3)
    with pytest.raises(Busy):
        await work.gate.enter(ANNA)
    await work.ask(BERT)
    await work.done(ANNA)
    await work.done(ANNA)
    assert work.order == ["anna", "anna", "bert"]
    await work.close()


@given(st.lists(st.tuples(st.sampled_from(["ask", "done", "cancel"]), st.integers(0, 5))))
def test_the_limits_hold_and_nobody_is_forgotten(events: list[tuple[str, int]]) -> None:
    asyncio.run(_play(events))


async def _play(events: list[tuple[str, int]]) -> None:
    askers = [*MANY, ANNA, BERT]
    shut = Gate(3, 2, 1)
    working: list[Who] = []
    waiting: list[tuple[Who, asyncio.Task[None]]] = []
    for kind, which in [*events, *[("done", 0)] * (len(events) + 1)]:
        if kind == "ask":
            who = askers[which]
            waiting.append((who, asyncio.create_task(shut.enter(who))))
        elif kind == "done" and working:
            shut.leave(working.pop(which % len(working)))
        elif kind == "cancel" and waiting:
            waiting[which % len(waiting)][1].cancel()
            continue  # what comes next is in the same turn of the loop
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ended = [each for each in waiting if each[1].done()]
        waiting = [each for each in waiting if each not in ended]
        working += [who for who, task in ended if not task.cancelled()]
        assert len(working) <= 3
        assert max(map(working.count, askers)) <= 1
        sources = [who.source for who in working]
        assert all(sources.count(source) <= 2 for source in sources)
        assert not waiting or working
    assert not working
    assert not waiting
    assert not shut._waiting
    assert not shut._working
