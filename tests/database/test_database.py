"""The database shell: migrations, transactions, time limits, and orderly ends."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from hdpd.database import (
    Database,
    DatabaseError,
    Transaction,
    open_connection,
    recovery,
    write_transaction,
)
from hdpd.errors import StartError, StateUnavailable


@asynccontextmanager
async def opened(
    path: Path, schema: str = "state", *, durable: bool = False
) -> AsyncIterator[Database]:
    database = Database(path, schema, durable=durable)
    try:
        await database.open()
        yield database
    finally:
        await database.close()


def set_value(transaction: Transaction, key: str, value: str) -> None:
    transaction.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (key, value))


def get_value(transaction: Transaction, key: str) -> object:
    row = transaction.one("SELECT value FROM setting WHERE key=?", (key,))
    return row[0] if row else None


@pytest.mark.parametrize("schema", ["state", "index"])
async def test_a_new_file_gets_the_whole_schema(tmp_path: Path, schema: str) -> None:
    async with opened(tmp_path / "x.db", schema) as database:
        tables = await database.read(lambda t: list(t.execute("SELECT name FROM sqlite_schema")))
        version = await database.read(lambda t: t.one("PRAGMA user_version"))
        mode = await database.read(lambda t: t.one("PRAGMA journal_mode"))
    assert ("share",) in tables
    assert version is not None
    assert version[0] >= 1
    assert mode == ("wal",)


@pytest.mark.parametrize("noticed", ["at the start", "in use"])
async def test_a_damaged_file_that_can_be_made_anew_is_refused_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noticed: str
) -> None:
    path = tmp_path / "x.db"
    async with opened(path, "index") as database:
        (page,) = await database.read(
            lambda t: t.one("SELECT rootpage FROM sqlite_schema WHERE name='share'") or (0,)
        )
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(4096))
    if noticed == "in use":
        monkeypatch.setattr(recovery, "check", lambda *_: None)  # as where there is too much
        async with opened(path, "index") as database:
            with pytest.raises(StateUnavailable, match="damaged"):
                await database.read(lambda t: list(t.execute("SELECT * FROM share")))
    with pytest.raises(StartError, match="cannot open"):
        async with opened(path, "index"):
            pass


@pytest.mark.parametrize("earlier", [False, True])
async def test_the_disk_gets_back_what_was_deleted(tmp_path: Path, earlier: bool) -> None:
    path = tmp_path / "x.db"
    if earlier:  # a file that was made without a thought of giving anything back
        with closing(sqlite3.connect(path)) as old:
            old.execute("PRAGMA journal_mode=WAL")
            old.execute("CREATE TABLE t (a)")
            old.execute("DROP TABLE t")
    rows = [(f"k{number}", "v" * 1000) for number in range(10_000)]
    insert = "INSERT INTO setting VALUES (?, ?)"
    delete = "DELETE FROM setting WHERE key IN (SELECT key FROM setting LIMIT 500)"
    async with opened(path, durable=True) as database:
        await database.write(lambda t: t.executemany(insert, rows))
    full = path.stat().st_size
    async with opened(path, durable=True) as database:
        for _ in range(60):
            await database.write(lambda t: t.execute(delete))
    assert full > 10_000_000
    assert path.stat().st_size < 3_000_000


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    for round_ in range(3):
        async with opened(tmp_path / "x.db") as database:
            assert await database.read(lambda t: get_value(t, "k")) == (round_ or None)
            await database.write(
                lambda t, value=round_ + 1: t.execute(  # type: ignore[misc]
                    "INSERT OR REPLACE INTO setting VALUES ('k', ?)", (value,)
                )
            )


def schema_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *steps: str) -> None:
    folder = tmp_path / "schema" / "test"
    folder.mkdir(parents=True, exist_ok=True)
    for number, step in enumerate(steps, 1):
        (folder / f"{number:04}.sql").write_text(step)
    monkeypatch.setattr("hdpd.database.migrations.resources.files", lambda _: tmp_path)


async def test_an_older_file_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = "CREATE TABLE a (x); INSERT INTO a VALUES (1);"
    schema_folder(tmp_path, monkeypatch, first)
    async with opened(tmp_path / "x.db", "test"):
        pass
    schema_folder(tmp_path, monkeypatch, first, "ALTER TABLE a ADD COLUMN y DEFAULT 2")
    for _ in range(2):  # the second time there is nothing to do
        async with opened(tmp_path / "x.db", "test") as database:
            assert await database.read(lambda t: list(t.execute("SELECT * FROM a"))) == [(1, 2)]


async def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema_folder(tmp_path, monkeypatch, "CREATE TABLE a (x)", "CREATE TABLE b (x); nonsense;")
    with pytest.raises(StartError, match=r"x\.db"):
        async with opened(tmp_path / "x.db", "test"):
            pass
    schema_folder(tmp_path, monkeypatch, "CREATE TABLE a (x)", "CREATE TABLE b (y)")
    async with opened(tmp_path / "x.db", "test") as database:
        await database.write(lambda t: t.execute("INSERT INTO b (y) VALUES (1)"))


async def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as database:
        await database.write(lambda t: t.execute("PRAGMA user_version=99"))
    before = (tmp_path / "x.db").read_bytes()
    with pytest.raises(StartError, match="later version"):
        async with opened(tmp_path / "x.db"):
            pass
    assert (tmp_path / "x.db").read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 4096]
)
async def test_a_damaged_file_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(StartError, match=r"x\.db"):
        async with opened(tmp_path / "x.db"):
            pass


async def test_a_directory_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="nowhere"):
        async with opened(tmp_path / "nowhere" / "x.db"):
            pass


async def test_an_exception_rolls_everything_back(tmp_path: Path) -> None:
    def change(transaction: Transaction) -> None:
        set_value(transaction, "k", "new")
        raise ValueError("no")

    async with opened(tmp_path / "x.db") as database:
        await database.write(lambda t: set_value(t, "k", "old"))
        with pytest.raises(ValueError, match="no"):
            await database.write(change)
        assert await database.read(lambda t: get_value(t, "k")) == "old"
        await database.write(lambda t: set_value(t, "k", "newer"))
        assert await database.read(lambda t: get_value(t, "k")) == "newer"


async def test_a_wrong_statement_is_a_database_error_and_rolls_back(tmp_path: Path) -> None:
    def change(transaction: Transaction) -> None:
        set_value(transaction, "k", "new")
        transaction.execute("INSERT INTO token VALUES ('i', 'h', 'emperor', 0, 0)")

    async with opened(tmp_path / "x.db") as database:
        with pytest.raises(DatabaseError):
            await database.write(change)
        assert await database.read(lambda t: get_value(t, "k")) is None


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as database:
        with pytest.raises(DatabaseError):
            await database.read(lambda t: set_value(t, "k", "v"))


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n"


async def test_a_query_is_interrupted_when_its_time_is_over(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as database:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await database.read(lambda t: t.one(ENDLESS), timeout=0.05)
        assert time.monotonic() - started < 5
        # The next query on the same connections is not interrupted.
        for _ in range(4):
            assert await database.read(lambda t: t.one("SELECT 1")) == (1,)


async def test_the_time_limit_holds_for_the_second_statement_too(tmp_path: Path) -> None:
    def query(transaction: Transaction) -> None:
        transaction.one("SELECT 1")
        time.sleep(0.05)
        transaction.one(ENDLESS)

    async with opened(tmp_path / "x.db") as database:
        with pytest.raises(TimeoutError):
            await database.read(query, timeout=0.02)


async def test_a_read_sees_one_snapshot(tmp_path: Path) -> None:
    first_read, written = threading.Event(), threading.Event()

    def query(transaction: Transaction) -> list[object]:
        before = get_value(transaction, "k")
        first_read.set()
        assert written.wait(10)
        return [before, get_value(transaction, "k")]

    async with opened(tmp_path / "x.db") as database:
        await database.write(lambda t: set_value(t, "k", "old"))
        reading = asyncio.create_task(database.read(query))
        await asyncio.to_thread(first_read.wait, 10)
        await database.write(lambda t: set_value(t, "k", "new"))
        written.set()
        assert await reading == ["old", "old"]
        assert await database.read(lambda t: get_value(t, "k")) == "new"


async def test_closing_waits_for_what_was_begun(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db", "state")
    await database.open()
    writes = [
        asyncio.create_task(database.write(lambda t, n=n: set_value(t, str(n), "v")))  # type: ignore[misc]
        for n in range(20)
    ]
    await asyncio.sleep(0)  # lets the tasks hand over their work
    await database.close()
    await asyncio.gather(*writes)
    async with opened(tmp_path / "x.db") as again:
        assert await again.read(lambda t: t.one("SELECT count(*) FROM setting")) == (20,)


async def test_closing_does_not_wait_for_a_disk_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hdpd.database.database.CLOSE_S", 0.1)
    database = Database(tmp_path / "x.db", "state")
    await database.open()
    answers = threading.Event()
    try:
        writing = asyncio.create_task(database.write(lambda _: answers.wait(30)))
        await asyncio.sleep(0)
        await database.close()
        assert "does not answer" in caplog.text
        assert not writing.done()
    finally:
        answers.set()
    await writing
    await asyncio.to_thread(database._writer.join)


def test_a_write_transaction_holds_the_lock_from_its_beginning(tmp_path: Path) -> None:
    first, second = (open_connection(tmp_path / "x.db") for _ in range(2))
    second.set_busy_timeout(0)
    try:
        first.execute("CREATE TABLE a (x)")
        with write_transaction(first), pytest.raises(DatabaseError), write_transaction(second):
            pytest.fail("two writers at once")
        with write_transaction(second) as transaction:
            transaction.executemany("INSERT INTO a VALUES (?)", [(1,), (2,)])
            transaction.execute("UPDATE a SET x=3")
            assert transaction.changes() == 2
            assert transaction.last_rowid() == 2
    finally:
        first.close()
        second.close()
