"""Writing the index in batches: what a scan found goes to the database in few, short transactions.

A batch is gathered in memory, so that no transaction is open while the file system is asked (a dead
mount would hold the write lock). Ids are given inside of the transaction, so several scanners may
write at once and an id that is higher was committed later; the search tables rely on that.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from hdpd.database import Transaction, open_connection, write_transaction
from hdpd.shares.fold import fold

BATCH_ROWS = 10_000  # a transaction of about 50 ms, and 2 MB while it is gathered
BATCH_SECONDS = 0.5  # what was found becomes visible at least so often
_CHECKPOINT_PAGES = 8000  # 32 MB of write-ahead log: each checkpoint waits for the disk


class Directory:
    """A row of the table `directory`; its id is 0 until it is stored."""

    __slots__ = ("files", "id", "mtime", "name", "parent", "scanned", "size")

    def __init__(self, parent: Directory | None, name: str, mtime: int) -> None:
        self.parent = parent
        self.name = name
        self.mtime = mtime
        self.id = 0
        self.scanned = False
        self.size = 0
        self.files = 0

    @classmethod
    def stored(
        cls, id_: int, parent: Directory | None, name: str, mtime: int, *totals: int
    ) -> Directory:
        """A row that the table has already; `totals` are its columns scanned, size and files."""
        directory = cls(parent, name, mtime)
        directory.id = id_
        scanned, directory.size, directory.files = totals
        directory.scanned = bool(scanned)
        return directory


FileRow = tuple[str, int, int]  # name, size, mtime in ns


class IndexWriter:
    """Gathers changes; `flush` writes them, and `flush_when_due` when there are enough."""

    def __init__(self, path: Path) -> None:
        self.connection = open_connection(path)
        self.connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        self._clear()

    def _clear(self) -> None:
        self._new_directories: list[Directory] = []
        self._touched: list[Directory] = []
        self._lost_directories: list[int] = []
        self._new_files: list[tuple[Directory, list[FileRow]]] = []
        self._changed_files: list[tuple[int, int, int]] = []
        self._lost_files: list[tuple[int, str]] = []
        self._rows = 0
        self._last_flush = time.monotonic()

    def close(self) -> None:
        self.connection.close()

    def children(self, parent: Directory) -> dict[str, Directory]:
        """The stored directories in a directory, by name."""
        rows = self.connection.execute(
            "SELECT id, name, mtime, scanned, size, files FROM directory WHERE parent=?",
            (parent.id,),
        )
        return {name: Directory.stored(id_, parent, name, *rest) for id_, name, *rest in rows}

    def files(self, directory: Directory) -> dict[str, tuple[int, int, int]]:
        """The stored files in a directory: id, size and mtime by name."""
        rows = self.connection.execute(
            "SELECT id, name, size, mtime FROM file WHERE directory=?", (directory.id,)
        )
        return {name: (id_, size, mtime) for id_, name, size, mtime in rows}

    def add_directory(self, directory: Directory) -> None:
        """A new one, after its parent."""
        self._new_directories.append(directory)
        self._rows += 1

    def touch(self, directory: Directory) -> None:
        """Says that the columns of an added or stored directory have changed."""
        if directory.id:
            self._touched.append(directory)
            self._rows += 1

    def lose_directory(self, directory: Directory) -> None:
        """It is no longer there, nor is what was below it."""
        self._lost_directories.append(directory.id)
        self._rows += 1

    def add_files(self, directory: Directory, rows: list[FileRow]) -> None:
        self._new_files.append((directory, rows))
        self._rows += len(rows)

    def change_file(self, id_: int, size: int, mtime: int) -> None:
        self._changed_files.append((size, mtime, id_))
        self._rows += 1

    def lose_file(self, id_: int, name: str) -> None:
        self._lost_files.append((id_, name))
        self._rows += 1

    def is_due(self) -> bool:
        """Whether enough was gathered, or long enough."""
        return self._rows >= BATCH_ROWS or time.monotonic() - self._last_flush >= BATCH_SECONDS

    def flush(self) -> None:
        """Writes all that was gathered in one transaction."""
        with write_transaction(self.connection) as transaction:
            self._store_directories(transaction)
            self._store_files(transaction)
        self._clear()

    def _store_directories(self, transaction: Transaction) -> None:
        next_id = take_ids(transaction, "last_directory", len(self._new_directories))
        for directory in self._new_directories:
            directory.id = next_id
            next_id += 1
        transaction.executemany(
            "INSERT INTO directory (id, parent, name, mtime, scanned, size, files) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (d.id, d.parent.id if d.parent else 0, d.name, d.mtime, d.scanned, d.size, d.files)
                for d in self._new_directories
            ),
        )
        transaction.executemany(
            "UPDATE directory SET mtime=?, scanned=?, size=?, files=? WHERE id=?",
            ((d.mtime, d.scanned, d.size, d.files, d.id) for d in self._touched),
        )
        transaction.executemany(
            "UPDATE directory SET parent=NULL WHERE id=?",
            ((id_,) for id_ in self._lost_directories),
        )

    def _store_files(self, transaction: Transaction) -> None:
        delete_files(transaction, self._lost_files)
        transaction.executemany("UPDATE file SET size=?, mtime=? WHERE id=?", self._changed_files)
        first = take_ids(transaction, "last_file", sum(len(rows) for _, rows in self._new_files))
        ids = itertools.count(first)
        transaction.executemany(
            "INSERT INTO file (id, directory, name, size, mtime) VALUES (?, ?, ?, ?, ?)",
            [
                (next(ids), directory.id, name, size, mtime)
                for directory, files in self._new_files
                for name, size, mtime in files
            ],
        )


def take_ids(transaction: Transaction, counter: str, count: int) -> int:
    """The first of `count` new ids."""
    (last,) = transaction.one(f"SELECT {counter} FROM state") or (0,)  # noqa: S608
    transaction.execute(f"UPDATE state SET {counter}={counter}+?", (count,))  # noqa: S608
    return int(last) + 1


def delete_files(transaction: Transaction, files: list[tuple[int, str]]) -> None:
    """Deletes rows (id, name) and what the search table has of them."""
    if not files:
        return
    (searchable,) = transaction.one("SELECT searchable_file FROM state") or (0,)
    transaction.executemany(
        "INSERT INTO file_search (file_search, rowid, name) VALUES ('delete', ?, ?)",
        ((id_, fold(name)) for id_, name in files if id_ <= searchable),
    )
    transaction.executemany("DELETE FROM file WHERE id=?", ((id_,) for id_, _ in files))
