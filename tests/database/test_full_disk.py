"""The disk of state.db is full for a while: nothing crashes, and nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import apsw
import pytest

from hdpd.config.peer_rules import PeerRules
from hdpd.control.events import SEQ_PER_START, Events
from hdpd.control.rules import Role
from hdpd.control.tokens import LAST_USED_S, Tokens
from hdpd.database import Database, Transaction, database
from hdpd.errors import StartError, StateUnavailable
from hdpd.identity.keys import PeerId
from hdpd.peers.record_numbers import RecordNumbers
from hdpd.uploads.privileges import Privileges


class SmallDisk(Database):
    """A database whose disk can be filled up and cleared."""

    async def fill(self) -> None:
        pages = await self.read(lambda t: t.one("PRAGMA page_count"))
        assert pages is not None
        await self._set_most(pages[0])

    async def clear(self) -> None:
        await self._set_most(1 << 30)

    async def _set_most(self, pages: int) -> None:
        def limit() -> None:
            self._connection(readonly=False).execute(f"PRAGMA max_page_count={pages}")

        await self._writer.submit(limit)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "AGAIN_S", 0.01)


@asynccontextmanager
async def small_disk(directory: Path) -> AsyncIterator[SmallDisk]:
    made = SmallDisk(directory / "state.db", "state")
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def insert(key: str) -> Callable[[Transaction], str]:
    def change(transaction: Transaction) -> str:
        transaction.execute("INSERT INTO setting VALUES (?, ?)", (key, "x" * 100_000))
        return key

    return change


async def keys(disk: Database) -> list[str]:
    rows = await disk.read(lambda t: list(t.execute("SELECT key FROM setting")))
    return [key for (key,) in rows]


async def fail_writes(disk: SmallDisk) -> None:
    async def full(_change: Callable[[Transaction], object]) -> NoReturn:
        raise StateUnavailable

    disk.write = full  # type: ignore[method-assign, assignment]


async def test_a_full_disk_is_told_as_what_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with small_disk(tmp_path) as disk:
        await disk.fill()
        with pytest.raises(StateUnavailable, match=f"no room on the disk of {tmp_path}"):
            await disk.write(insert("a"))
        with pytest.raises(StateUnavailable):
            await disk.write(insert("a"))
        assert caplog.text.count("no room") == 1  # however often it is tried
        assert await keys(disk) == []
        await disk.clear()
        await disk.write(insert("a"))
        assert await keys(disk) == ["a"]


@pytest.mark.parametrize(
    "error", [apsw.FullError("full"), OSError(28, "No space left on device"), apsw.IOError("shm")]
)
async def test_a_start_waits_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    if isinstance(error, apsw.IOError):
        monkeypatch.setattr(database, "NO_ROOM", 1 << 62)
    made = Database(tmp_path / "state.db", "state")
    prepare, tries = made._prepare, 0

    def full_at_first() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise error
        prepare()

    monkeypatch.setattr(made, "_prepare", full_at_first)
    try:
        await made.open()
        assert await keys(made) == []
    finally:
        await made.close()


async def test_a_disk_with_room_that_fails_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Database(tmp_path / "state.db", "state")

    def broken() -> None:
        raise apsw.IOError("disk I/O error")

    monkeypatch.setattr(made, "_prepare", broken)
    with pytest.raises(StartError, match="disk I/O error"):
        await made.open()
    await made.close()


async def test_numbers_rise_without_a_word_on_the_disk(tmp_path: Path) -> None:
    async with small_disk(tmp_path) as disk:
        numbers, events = RecordNumbers(disk), Events()
        await numbers.load()
        before = numbers.take()
        await events.start(disk)
        await numbers.close()
        await fail_writes(disk)
        again, later = RecordNumbers(disk), Events()
        await again.load()
        first = again.take()
        assert again.take() > first > before
        await later.start(disk)
        assert later.last_seq == events.last_seq + SEQ_PER_START
        await again.close()


async def test_a_token_lets_in_though_its_use_cannot_be_noted(tmp_path: Path) -> None:
    async with small_disk(tmp_path) as disk:
        now = 0.0
        tokens = Tokens(disk, lambda: now)
        token, secret = await tokens.new(Role.READ)
        now = 2 * LAST_USED_S
        await fail_writes(disk)
        assert await tokens.check(secret) is token


async def test_counts_that_cannot_be_saved_are_saved_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small_disk(tmp_path) as disk:
        peer = PeerId(bytes(32))
        privileges = Privileges(disk, PeerRules(), lambda: "today")
        await privileges.start()
        privileges.sent(peer, 5)
        write = disk.write
        await fail_writes(disk)
        await privileges._save()
        monkeypatch.setattr(disk, "write", write)
        await privileges._save()
        rows = await disk.read(lambda t: list(t.execute("SELECT bytes FROM sent_today")))
        assert rows == [(5,)]
        await privileges.close()
