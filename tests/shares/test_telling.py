"""Telling of changes: when it is looked for, who is told, and who does not want to know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

import pytest

from hdpd.database import DatabaseError
from hdpd.errors import Busy, UnknownRequest
from hdpd.identity.keys import PeerId
from hdpd.shares import telling
from hdpd.shares.telling import Teller, Who
from hdpd.wire.paths import RemotePath

A, B = RemotePath(b"S/a"), RemotePath(b"S/b")
ANNE, BERT = PeerId(b"a" * 32), PeerId(b"b" * 32)
News = tuple[RemotePath, ...] | None


class World:
    """The shares, and everybody who listens."""

    def __init__(self) -> None:
        self.now: dict[RemotePath, bytes | None] = {A: b"1", B: b"1"}
        self.looks = 0
        self.told: list[tuple[Who, News]] = []
        self.teller = Teller(self._validators)
        self.teller.on_news = self._tell
        self.answer: Callable[[Who], Awaitable[None]] = _fine
        self.heard = asyncio.Event()

    async def _validators(self, paths: Collection[RemotePath]) -> dict[RemotePath, bytes | None]:
        self.looks += 1
        await asyncio.sleep(0)
        return {path: self.now[path] for path in paths}

    async def _tell(self, who: Who, paths: News) -> None:
        await self.answer(who)
        self.told.append((who, paths))
        self.heard.set()

    def lists(self, who: Who, path: RemotePath) -> None:
        self.teller.listed(who, path, self.now[path], self.teller.changes)

    def change(self, path: RemotePath) -> None:
        self.now[path] = (self.now[path] or b"") + b"+"
        self.teller.changed()

    async def hear(self) -> tuple[Who, News]:
        async with asyncio.timeout(10):
            while not self.told:
                self.heard.clear()
                await self.heard.wait()
        return self.told.pop(0)


async def _fine(_who: Who) -> None:
    return


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "PAUSE_S", 0.01)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    made = World()
    life = asyncio.create_task(made.teller.keep())
    try:
        yield made
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


async def test_who_has_a_listing_is_told_and_nobody_else() -> None:
    async with world() as here:
        here.lists(ANNE, A)
        here.lists(BERT, B)
        here.lists(None, A)
        here.change(A)
        assert {await here.hear(), await here.hear()} == {(ANNE, (A,)), (None, (A,))}
        here.change(A)
        here.change(B)
        assert await here.hear() == (BERT, (B,))
        await asyncio.sleep(0.05)
        assert here.told == []


async def test_without_listeners_nobody_looks() -> None:
    async with world() as here:
        for _ in range(5):
            here.change(A)
            await asyncio.sleep(0.02)
        here.lists(ANNE, A)
        here.teller.gone(ANNE)
        here.change(A)
        await asyncio.sleep(0.05)
        assert here.looks <= 1


async def test_a_change_while_a_listing_is_read_is_not_missed() -> None:
    async with world() as here:
        before, validator = here.teller.changes, here.now[A]
        here.change(A)
        await asyncio.sleep(0.05)  # nobody listens yet
        here.teller.listed(ANNE, A, validator, before)
        assert await here.hear() == (ANNE, (A,))


async def test_a_peer_that_does_not_know_the_request_is_left_alone() -> None:
    async def refuse(_who: Who) -> None:
        asked.append(_who)
        raise UnknownRequest

    asked: list[Who] = []
    async with world() as here:
        here.answer = refuse
        for _ in range(3):
            here.lists(ANNE, A)
            here.change(A)
            await asyncio.sleep(0.05)
        assert asked == [ANNE]
        # Connected again it may be of another version.
        here.teller.gone(ANNE)
        here.answer = _fine
        here.lists(ANNE, A)
        here.change(A)
        assert await here.hear() == (ANNE, (A,))


async def test_what_did_not_arrive_is_told_again_as_everything() -> None:
    async def busy_once(who: Who) -> None:
        here.answer = _fine
        raise Busy

    async with world() as here:
        here.answer = busy_once
        here.lists(ANNE, A)
        here.change(A)
        assert await here.hear() == (ANNE, None)


async def test_one_that_does_not_answer_holds_up_nobody() -> None:
    async def hang(who: Who) -> None:
        if who == ANNE:
            await asyncio.Event().wait()

    async with world() as here:
        here.answer = hang
        for who in (ANNE, BERT):
            here.lists(who, A)
        here.change(A)
        assert await here.hear() == (BERT, (A,))
        here.lists(ANNE, B)
        here.lists(BERT, A)
        here.change(A)
        assert await here.hear() == (BERT, (A,))
        here.teller.gone(ANNE)
        here.answer = _fine
        await asyncio.sleep(0.02)
        here.lists(ANNE, A)
        here.change(A)
        assert await here.hear() == (ANNE, (A,))


async def test_an_index_that_cannot_be_read_is_looked_at_again() -> None:
    async def fail(_paths: Collection[RemotePath]) -> dict[RemotePath, bytes | None]:
        failed.set()
        raise DatabaseError("the disk is full")

    failed = asyncio.Event()
    async with world() as here:
        look = here.teller._validators
        here.teller._validators = fail
        here.lists(ANNE, A)
        here.change(A)
        await failed.wait()
        here.teller._validators = look
        here.teller.changed()
        assert await here.hear() == (ANNE, (A,))
