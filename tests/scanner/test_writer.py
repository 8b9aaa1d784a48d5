"""The writer of the index: batches that a thread stores while the next one is gathered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hdpd.database import Connection, DatabaseError, open_connection, write_transaction
from hdpd.database.migrations import migrate
from hdpd.scanner import writer as writer_module
from hdpd.scanner.writer import READ, UNREAD, Directory, IndexWriter


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[IndexWriter]:
    writer = IndexWriter(tmp_path / "index.db")
    migrate(writer.connection, "index")
    yield writer
    writer.close()


def seen(path: Path) -> list[tuple[object, ...]]:
    """What another process finds of the directories."""
    connection = open_connection(path, readonly=True)
    try:
        return list(connection.execute("SELECT name, scanned, files FROM directory ORDER BY id"))
    finally:
        connection.close()


def test_what_a_directory_says_later_is_not_stored_before_its_files(
    writer: IndexWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the process is killed, a directory that was read has its files."""
    may_store = threading.Event()
    store = writer_module._store

    def store_later(connection: Connection, batch: writer_module._Batch) -> None:
        assert may_store.wait(20)
        store(connection, batch)

    monkeypatch.setattr(writer_module, "_store", store_later)
    share = Directory(None, "S", 0)
    writer.add_directory(share)
    inner = Directory(share, "inner", 0)
    writer.add_directory(inner)
    writer.flush()
    inner.scanned, inner.files = READ, 1
    writer.touch(inner)
    writer.add_files(inner, [("a", 1, 2)])
    may_store.set()
    _ = writer.connection  # waits for it
    assert seen(tmp_path / "index.db") == [("S", UNREAD, 0), ("inner", UNREAD, 0)]
    writer.flush()
    assert list(writer.files(inner)) == ["a"]
    assert seen(tmp_path / "index.db") == [("S", UNREAD, 0), ("inner", READ, 1)]


def test_whatever_reads_the_index_finds_what_was_flushed(writer: IndexWriter) -> None:
    share = Directory(None, "S", 0)
    writer.add_directory(share)
    writer.flush()
    for number in range(20):
        child = Directory(share, f"{number}", number)
        writer.add_directory(child)
        writer.add_files(child, [("f", number, 2**63 - 1), ("g", 1, -(2**62))])
        writer.flush()
        assert writer.children(share)[f"{number}"].id == child.id > 0
        assert writer.totals(child) == (number + 1, 2)
        assert writer.files(child)["f"][1:] == (number, 2**63 - 1)


def test_what_cannot_be_stored_is_told_at_the_next_step(writer: IndexWriter) -> None:
    writer.connection.execute("DROP TABLE file")
    share = Directory(None, "S", 0)
    writer.add_directory(share)
    writer.add_files(share, [("a", 1, 1)])
    writer.flush()
    with pytest.raises(DatabaseError, match="no such table"):
        writer.flush()


def test_one_statement_takes_all_rows_whatever_they_hold(tmp_path: Path) -> None:
    connection = open_connection(tmp_path / "rows.db")
    connection.execute("CREATE TABLE kept (number INTEGER, text TEXT)")
    rows = [(number, f'{number} \x01"\\ö\uef80\U0001f600') for number in range(-5, 25_000)]
    rows += [(2**63 - 1, "most"), (-(2**63), "least"), (2**53 + 1, "")]
    with write_transaction(connection) as transaction:
        transaction.execute_all(
            "INSERT INTO kept SELECT value->>0, value->>1 FROM json_each(?)", rows
        )
    assert list(connection.execute("SELECT number, text FROM kept ORDER BY rowid")) == rows
    connection.close()
