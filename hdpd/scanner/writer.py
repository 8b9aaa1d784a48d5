"""Writing the index in batches: what a scan found goes to the database in few, short transactions.

A batch is gathered in memory, so that no transaction is open while the file system is asked (a dead
mount would hold the write lock). A thread writes it while the next one is gathered; whatever reads
the index waits for it. Ids are given inside of the transaction, so several scanners may write at
once and an id that is higher was committed later; the search tables rely on that. Whole because
a batch is gathered in the shape in which the transaction takes it.
"""

from __future__ import annotations

import itertools
import time
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from msgspec import Struct

from hdpd.database import Connection, Row, Transaction, open_connection, write_transaction
from hdpd.shares.fold import fold
from hdpd.threads.worker import Worker

BATCH_ROWS = 10_000  # a transaction of about 50 ms, and 2 MB while it is gathered
BATCH_S = 0.5  # what was found becomes visible at least so often
_CHECKPOINT_PAGES = 8000  # 32 MB of write-ahead log: each checkpoint waits for the disk


# What `scanned` says of a directory.
UNREAD = 0
READ = 1  # so soon after a change that another one need not have moved its mtime
SETTLED = 2

COLUMNS = "id, name, mtime, inode, mark, scanned, size, files"
"""Of a directory, in the order in which `Directory.stored` takes them."""


class Directory:
    """A row of the table `directory`; its id is 0 until it is stored."""

    __slots__ = (
        "files",
        "id",
        "inode",
        "mark",
        "mtime",
        "name",
        "parent",
        "scanned",
        "shown",
        "size",
    )

    def __init__(self, parent: Directory | None, name: str, mtime: int, inode: int = 0) -> None:
        self.parent = parent
        self.name = name
        self.mtime = mtime
        self.inode = inode
        self.mark = 0
        self.id = 0
        self.scanned = UNREAD
        self.size = 0
        self.files = 0
        self.shown: tuple[int, int, int] | None = None
        """Its mtime, size and files as listings show them."""

    @classmethod
    def stored(cls, parent: Directory | None, row: Row) -> Directory:
        """The row that the table has already, by its COLUMNS."""
        id_, name, mtime, inode, mark, scanned, size, files = row
        directory = cls(parent, name, mtime, inode)
        directory.id = id_
        directory.mark, directory.scanned = mark, scanned
        directory.size, directory.files = size, files
        directory.shown = (mtime, size, files)
        return directory


FileRow = tuple[str, int, int]  # name, size, mtime in ns
_BEING_STORED = -1  # the id of a directory whose row is taken, but not in the index yet


class _Batch(Struct):
    """What one transaction writes. The values of directories are those of the moment when it was
    closed: what a directory says later goes with files of the next batch.
    """

    new: list[Directory]
    new_values: list[tuple[str | int, ...]]
    touched: list[Directory]
    touched_values: list[tuple[str | int, ...]]
    moved: list[tuple[Directory, Directory | None, str]]
    lost_directories: set[int]
    new_files: list[tuple[Directory, list[FileRow]]]
    changed_files: list[tuple[int, int, int]]
    lost_files: list[tuple[int, str]]
    altered: set[Directory | None]


class IndexWriter:
    """Gathers changes for the index. What is read of it includes all that was flushed."""

    def __init__(self, path: Path) -> None:
        self._connection = open_connection(path)
        self._connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        self._thread = Worker("index-writer")
        self._writing: Future[None] | None = None
        self._clear()

    def _clear(self) -> None:
        self._new_directories: list[Directory] = []
        self._touched: dict[int, Directory] = {}  # by identity: some have no id yet
        self._lost_directories: set[int] = set()
        self._moved: dict[int, Directory] = {}
        self._new_files: list[tuple[Directory, list[FileRow]]] = []
        self._changed_files: list[tuple[int, int, int]] = []
        self._lost_files: list[tuple[int, str]] = []
        # Those of which listings show something else now. One that was never read has not been
        # listed with a version, so a first scan adds little here.
        self._altered: set[Directory | None] = set()
        self._rows = 0
        self._last_flush = time.monotonic()

    @property
    def connection(self) -> Connection:
        """The connection, once everything that was flushed is written; raises what that raised."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
        return self._connection

    def close(self) -> None:
        self._thread.close()
        self._thread.join()
        self._connection.close()

    def children(self, parent: Directory) -> dict[str, Directory]:
        """The stored directories in a directory, by name."""
        rows = self.connection.execute(
            f"SELECT {COLUMNS} FROM directory WHERE parent=?",  # noqa: S608
            (parent.id,),
        )
        return {row[1]: Directory.stored(parent, row) for row in rows}

    def directory(self, id_: int, parent: Directory | None = None) -> Directory | None:
        """The stored directory with that id."""
        rows = self.connection.execute(
            f"SELECT {COLUMNS} FROM directory WHERE id=?",  # noqa: S608
            (id_,),
        )
        return next((Directory.stored(parent, row) for row in rows), None)

    def with_inode(self, inode: int, mtime: int) -> list[Directory]:
        """The stored directories that may be the one with that inode and mtime."""
        rows = self.connection.execute(
            f"SELECT {COLUMNS} FROM directory WHERE inode=? AND mtime=?",  # noqa: S608
            (inode, mtime),
        )
        return [Directory.stored(None, row) for row in rows]

    def way_to(self, id_: int) -> list[tuple[int, str]] | None:
        """Ids and names of the directories from a share's own one to this one, None when it is
        no longer part of any share.
        """
        way: list[tuple[int, str]] = []
        while id_:
            if id_ in self._lost_directories:
                return None
            row = self.connection.execute("SELECT parent, name FROM directory WHERE id=?", (id_,))
            parent, name = next(iter(row), (None, ""))
            if parent is None:
                return None
            way.append((id_, name))
            id_ = parent
        way.reverse()
        return way

    def count_below(self, directory: Directory) -> int:
        """The number of stored directories below a directory."""
        rows = self.connection.execute(
            "WITH RECURSIVE below (id) AS (VALUES (?) UNION ALL SELECT directory.id "
            "FROM directory JOIN below ON parent=below.id) SELECT count(*)-1 FROM below",
            (directory.id,),
        )
        (count,) = next(iter(rows))
        return int(count)

    def totals(self, directory: Directory) -> tuple[int, int]:
        """Size and number of the stored files in a directory, not of those further down."""
        rows = self.connection.execute(
            "SELECT coalesce(sum(size), 0), count(*) FROM file WHERE directory=?", (directory.id,)
        )
        size, files = next(iter(rows))
        return size, files

    def files(self, directory: Directory) -> dict[str, tuple[int, int, int]]:
        """The stored files in a directory: id, size and mtime by name."""
        rows = self.connection.execute(
            "SELECT id, name, size, mtime FROM file WHERE directory=?", (directory.id,)
        )
        return {name: (id_, size, mtime) for id_, name, size, mtime in rows}

    def add_directory(self, directory: Directory) -> None:
        """A new one, after its parent."""
        self._new_directories.append(directory)
        if directory.parent is not None and directory.parent.scanned != UNREAD:
            self._altered.add(directory.parent)
        self._rows += 1

    def touch(self, directory: Directory) -> None:
        """Says that the columns of an added or stored directory have changed."""
        if directory.id:
            self._touched[id(directory)] = directory
            self._rows += 1
            shown = (directory.mtime, directory.size, directory.files)
            if shown != directory.shown:
                directory.shown = shown
                self._altered.add(directory.parent)

    def lose_directory(self, directory: Directory) -> None:
        """It is no longer there, nor is what was below it; one that was moved is elsewhere."""
        if directory.id not in self._moved:
            self._lost_directories.add(directory.id)
            self._altered.add(directory.parent)
            self._rows += 1

    def move_directory(self, directory: Directory) -> None:
        """It has another parent or name now; what is below it is as it was."""
        self._lost_directories.discard(directory.id)
        self._moved[directory.id] = directory
        self._altered.add(directory.parent)
        self._rows += 1

    def add_files(self, directory: Directory, rows: list[FileRow]) -> None:
        self._new_files.append((directory, rows))
        if rows and directory.scanned != UNREAD:
            self._altered.add(directory)
        self._rows += len(rows)

    def change_file(self, id_: int, size: int, mtime: int) -> None:
        self._changed_files.append((size, mtime, id_))
        self._rows += 1

    def lose_file(self, id_: int, name: str) -> None:
        self._lost_files.append((id_, name))
        self._rows += 1

    def is_due(self) -> bool:
        """Whether enough was gathered, or long enough."""
        return self._rows >= BATCH_ROWS or time.monotonic() - self._last_flush >= BATCH_S

    def flush(self) -> None:
        """Has all that was gathered written in one transaction, after what was flushed before."""
        batch = _Batch(
            self._new_directories,
            [_values(directory) for directory in self._new_directories],
            list(self._touched.values()),
            [_values(directory) for directory in self._touched.values()],
            [(directory, directory.parent, directory.name) for directory in self._moved.values()],
            self._lost_directories,
            self._new_files,
            self._changed_files,
            self._lost_files,
            self._altered,
        )
        connection = self.connection
        for directory in self._new_directories:
            directory.id = _BEING_STORED
        self._clear()
        self._writing = self._thread.begin(partial(_store, connection, batch))


def _values(directory: Directory) -> tuple[str | int, ...]:
    d = directory
    return d.name, d.mtime, d.inode, d.mark, d.scanned, d.size, d.files


def _store(connection: Connection, batch: _Batch) -> None:
    with write_transaction(connection) as transaction:
        altered = _altered_otherwise(transaction, batch)
        _store_directories(transaction, batch)
        _store_files(transaction, batch)
        altered |= {directory.id for directory in batch.altered if directory is not None}
        if altered:
            version = take_ids(transaction, "last_version", 1)
            transaction.executemany(
                "UPDATE directory SET version=? WHERE id=?", ((version, id_) for id_ in altered)
            )


def _altered_otherwise(transaction: Transaction, batch: _Batch) -> set[int]:
    """The directories that something stored leaves or changes in, while the rows still tell."""
    files = [id_ for id_, _ in batch.lost_files] + [id_ for *_, id_ in batch.changed_files]
    found = [transaction.one("SELECT directory FROM file WHERE id=?", (id_,)) for id_ in files]
    found += [
        transaction.one("SELECT coalesce(parent, 0) FROM directory WHERE id=?", (directory.id,))
        for directory, *_ in batch.moved
    ]
    return {row[0] for row in found if row is not None}


def _store_directories(transaction: Transaction, batch: _Batch) -> None:
    next_id = take_ids(transaction, "last_directory", len(batch.new))
    for directory in batch.new:
        directory.id = next_id
        next_id += 1
    transaction.execute_all(
        f"INSERT INTO directory ({COLUMNS}, parent) "  # noqa: S608
        "SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, "
        "value->>7, value->>8 FROM json_each(?)",
        (
            (directory.id, *values, _id_of(directory.parent))
            for directory, values in zip(batch.new, batch.new_values, strict=True)
        ),
    )
    transaction.execute_all(
        "UPDATE directory SET mtime=value->>2, inode=value->>3, mark=value->>4, "
        "scanned=value->>5, size=value->>6, files=value->>7 FROM json_each(?) "
        "WHERE directory.id=value->>0",
        (
            (directory.id, *values)
            for directory, values in zip(batch.touched, batch.touched_values, strict=True)
        ),
    )
    for directory, parent, name in batch.moved:
        rename_directory(transaction, directory.id, _id_of(parent), name)
    transaction.executemany(
        "UPDATE directory SET parent=NULL WHERE id=?", ((id_,) for id_ in batch.lost_directories)
    )


def _store_files(transaction: Transaction, batch: _Batch) -> None:
    delete_files(transaction, batch.lost_files)
    transaction.executemany("UPDATE file SET size=?, mtime=? WHERE id=?", batch.changed_files)
    first = take_ids(transaction, "last_file", sum(len(rows) for _, rows in batch.new_files))
    ids = itertools.count(first)
    transaction.execute_all(
        "INSERT INTO file (id, directory, name, size, mtime) "
        "SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each(?)",
        ((next(ids), directory.id, *row) for directory, rows in batch.new_files for row in rows),
    )


def take_ids(transaction: Transaction, counter: str, count: int) -> int:
    """The first of `count` new ids."""
    (last,) = transaction.one(f"SELECT {counter} FROM state") or (0,)  # noqa: S608
    transaction.execute(f"UPDATE state SET {counter}={counter}+?", (count,))  # noqa: S608
    return int(last) + 1


def _id_of(directory: Directory | None) -> int:
    return directory.id if directory else 0


def rename_directory(transaction: Transaction, id_: int, parent: int, name: str) -> None:
    """Gives a directory another parent and name, in the search table too."""
    row = transaction.one(
        "SELECT name, id<=searchable_directory FROM directory, state WHERE id=?", (id_,)
    )
    assert row is not None, "only the sweep deletes directories, and it comes later"
    old_name, is_searchable = row
    if is_searchable and fold(old_name) != fold(name):
        transaction.execute(
            "INSERT INTO directory_search (directory_search, rowid, name) VALUES ('delete', ?, ?)",
            (id_, fold(old_name)),
        )
        transaction.execute(
            "INSERT INTO directory_search (rowid, name) VALUES (?, ?)", (id_, fold(name))
        )
    transaction.execute("UPDATE directory SET parent=?, name=? WHERE id=?", (parent, name, id_))


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
