"""One SQLite file: a writer thread, a few reader threads, and its schema brought up to date.

Callers hand over a function that gets a `Transaction` and runs in one of these threads, so the
event loop never waits for the disk, and a function's statements are one transaction.

A disk that is full, read-only or failing is told as StateUnavailable, and once in the log. Whoever
writes knows whether to try again: another time, or never.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from hdpd.database import recovery
from hdpd.database.migrations import migrate
from hdpd.database.transactions import atomically, give_room_back
from hdpd.errors import StartError, StateUnavailable
from hdpd.log import MessageId, fields
from hdpd.natural import natural
from hdpd.threads.worker import Worker

log = logging.getLogger(__name__)

T = TypeVar("T")
Value = None | int | float | bytes | str
Row = tuple[Any, ...]
Rows = Iterator[Row]

BUSY_TIMEOUT_MS = 10_000  # another process (the scanner) may be committing a large batch
READERS = 2  # searches and listings side by side; each costs a thread and a page cache
CACHE_KIB = 4096  # for each connection
ROWS_AT_ONCE = 10_000  # some 1 MB of text
AGAIN_S = 2.0  # between tries to open it while there is no room
NO_ROOM = 256 * 1024  # bytes: with less, SQLite's other files do not fit either
CHECK_S = 0.2  # for a look at what can be made anew: some 50 MB, the rest is seen when it is read
CLOSE_S = 3.0  # of the 5 that a stop may take; a commit that is cut off is rolled back
DEADLINE_STEPS = 2000  # virtual machine steps between looks at the clock: well under 1 ms

Connection = apsw.Connection

DatabaseError = apsw.Error
"""What any statement may raise: a damaged file, a lock that nobody gives back, wrong SQL."""

_OF_THE_DISK = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError)


class Transaction:
    """What a function handed to `Database.read` or `write` may do: run SQL."""

    __slots__ = ("connection",)

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection

    def execute(self, sql: str, parameters: Sequence[Value] | dict[str, Value] = ()) -> Rows:
        """Runs statements; gives their rows one by one as they are taken. Raises DatabaseError."""
        return self.connection.execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Runs the statement for each row of values; raises DatabaseError."""
        self.connection.executemany(sql, rows)

    def execute_all(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Runs `sql` once for all rows, which it has to take from `json_each(?)`: as few calls, so
        that another thread can run at full speed meanwhile. Rows cannot hold bytes.
        """
        waiting = iter(rows)
        while some := list(itertools.islice(waiting, ROWS_AT_ONCE)):
            self.connection.execute(sql, (msgspec.json.encode(some).decode(),))

    def one(self, sql: str, parameters: Sequence[Value] | dict[str, Value] = ()) -> Row | None:
        """The first row, or None."""
        return next(iter(self.connection.execute(sql, parameters)), None)

    def changes(self) -> int:
        """How many rows the last statement changed."""
        return self.connection.changes()

    def last_rowid(self) -> int:
        """The id of the row that the last INSERT made."""
        return self.connection.last_insert_rowid()


@contextmanager
def write_transaction(connection: apsw.Connection) -> Iterator[Transaction]:
    """One transaction that holds the write lock from its beginning, so that what it reads cannot
    be changed by another process before it writes; an exception rolls it back.
    """
    with atomically(connection, "BEGIN IMMEDIATE"):
        yield Transaction(connection)
    with suppress(apsw.Error):  # what was written stands
        give_room_back(connection)


@contextmanager
def read_transaction(connection: apsw.Connection) -> Iterator[Transaction]:
    """One transaction whose statements all see the same snapshot."""
    with atomically(connection, "BEGIN"):
        yield Transaction(connection)


def open_connection(
    path: Path, *, readonly: bool = False, durable: bool = False
) -> apsw.Connection:
    """A connection in WAL mode for one thread; `durable` syncs every commit."""
    flags = (
        apsw.SQLITE_OPEN_READONLY
        if readonly
        else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    )
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.create_scalar_function("natural", _natural, 1, deterministic=True)
    if not readonly:
        if connection.pragma("page_count") == 0:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        # Read to its end: else the disk's part is done when the cursor is dropped, where apsw keeps
        # the interpreter's lock, and the event loop waits for the disk.
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
    return connection


def _natural(*values: object) -> str:
    (name,) = values
    return natural(str(name))


def close_writing(connection: apsw.Connection) -> None:
    """Closes the last connection of a file, with nothing left for `close` to do at the disk: there
    apsw keeps the interpreter's lock. The WAL is emptied before, and its file stays for the next.
    """
    keep = ctypes.c_int(1)
    connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, ctypes.addressof(keep))
    connection.set_busy_timeout(0)
    with suppress(apsw.Error):  # the next to open it does it
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()


class Database:
    """A database file for use from the event loop. Open, use, close; `close` waits for the rest."""

    def __init__(self, path: Path, schema: str, *, durable: bool = False) -> None:
        self.path = path
        self._schema = schema
        self._durable = durable
        self._in_trouble = False  # since the last write that worked
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []
        self._writer = Worker(f"{schema}-writer")
        self._readers = Worker(f"{schema}-reader", READERS)

    async def open(self) -> None:
        """Creates or migrates the file; waits for room where the disk has none.

        Raises:
            StartError: the file is unreadable or of a later version, or it is damaged and not
                durable. What can be read of a durable one is recovered, and said.
        """

        def prepare() -> None:
            try:
                # For the owner alone, whatever the umask is; SQLite gives its other files the same.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                self._prepare()
            except (apsw.Error, OSError) as error:
                if self._has_no_room(error):
                    raise self._unavailable(error) from None
                raise StartError(f"cannot open the database {self.path}: {error}") from None

        while True:
            try:
                await self._writer.submit(prepare)
            except StateUnavailable as error:
                self._note(error)
                await asyncio.sleep(AGAIN_S)
            else:
                self._note(None)
                return

    def _prepare(self) -> None:
        try:
            self._bring_up_to_date()
        except recovery.DAMAGE as error:
            # What is not durable, its owner makes anew.
            if not self._durable:
                raise
            self._recover(error)

    def _bring_up_to_date(self) -> None:
        recovery.check_mark(self.path)
        connection = self._connection(readonly=False)
        recovery.check(connection, None if self._durable else CHECK_S)
        migrate(connection, self._schema, backup=self._durable)
        if self._durable and connection.pragma("auto_vacuum") == 0:  # made by an earlier version
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("VACUUM").fetchall()

    def _recover(self, error: apsw.Error) -> None:
        for connection in self._connections:
            connection.close(True)
        self._connections.clear()
        self._local = threading.local()
        aside = recovery.set_aside(self.path)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._bring_up_to_date()
        rows = recovery.salvage(aside, self._connection(readonly=False))
        log.error(
            "the database %s was damaged (%s) and is set aside as %s; recovered: %s",
            self.path,
            error,
            aside.name,
            ", ".join(f"{table} {count}" for table, count in rows.items()) or "nothing",
            extra=fields(message_id=MessageId.STATE_DAMAGED),
        )

    def _connection(self, *, readonly: bool) -> apsw.Connection:
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = open_connection(self.path, readonly=readonly, durable=self._durable)
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    async def write(self, change: Callable[[Transaction], T]) -> T:
        """Runs `change` in the writer thread as one transaction; an exception rolls it back.

        Raises:
            StateUnavailable: the disk does not take it, or what is on it is damaged.
        """

        def run() -> T:
            try:
                connection = self._connection(readonly=False)
                with write_transaction(connection) as transaction:
                    return change(transaction)
            except _OF_THE_DISK as error:
                raise self._unavailable(error) from None
            except recovery.DAMAGE as error:
                raise self._damaged(error) from None

        try:
            result = await self._writer.submit(run)
        except StateUnavailable as error:
            self._note(error)
            raise
        self._note(None)
        return result

    def _note(self, trouble: StateUnavailable | None) -> None:
        if trouble is not None and not self._in_trouble:
            log.warning("%s", trouble)
        elif trouble is None and self._in_trouble:
            log.info("the disk of %s can be written to again", self.path.parent)
        self._in_trouble = trouble is not None

    def _unavailable(self, error: apsw.Error | OSError) -> StateUnavailable:
        where = self.path.parent
        if self._has_no_room(error):
            return StateUnavailable(f"there is no room on the disk of {where}")
        if isinstance(error, apsw.ReadOnlyError):
            return StateUnavailable(f"the disk of {where} is read-only")
        return StateUnavailable(f"the disk of {where} fails: {error}")

    def _damaged(self, error: apsw.Error) -> StateUnavailable:
        recovery.mark(self.path)
        return StateUnavailable(
            f"the database {self.path} is damaged ({error}); the next start of hdpd mends it"
        )

    def _has_no_room(self, error: apsw.Error | OSError) -> bool:
        """Whether that is why; of SQLite's errors only one says so itself."""
        if isinstance(error, apsw.FullError):
            return True
        if isinstance(error, OSError):
            return error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not isinstance(error, _OF_THE_DISK):
            return False
        try:
            status = os.statvfs(self.path.parent)
        except OSError:
            return False
        no_inodes = status.f_files > 0 and status.f_favail == 0
        return no_inodes or status.f_bavail * status.f_frsize < NO_ROOM

    async def read(self, query: Callable[[Transaction], T], *, timeout: float | None = None) -> T:
        """Runs `query` in a reader thread on one snapshot. `timeout` seconds after it began, the
        running statement is interrupted and TimeoutError raised; many small statements in a loop
        are not, so such a `query` has to look at the clock itself.

        Raises:
            StateUnavailable: the disk cannot be read, or what is on it is damaged.
        """

        def run() -> T:
            connection = self._connection(readonly=True)
            if timeout is not None:
                deadline = time.monotonic() + timeout
                connection.set_progress_handler(lambda: time.monotonic() > deadline, DEADLINE_STEPS)
            try:
                with read_transaction(connection) as transaction:
                    return query(transaction)
            except apsw.InterruptError:
                raise TimeoutError(f"a query took longer than {timeout} s") from None
            except (apsw.IOError, apsw.CantOpenError) as error:
                raise self._unavailable(error) from None
            except recovery.DAMAGE as error:
                raise self._damaged(error) from None
            finally:
                connection.set_progress_handler(None)

        return await self._readers.submit(run)

    async def close(self) -> None:
        """Waits for what was asked for; no longer than CLOSE_S for a disk that hangs."""

        def shut_down() -> None:
            self._readers.join()
            own: apsw.Connection | None = getattr(self._local, "connection", None)
            for connection in self._connections:
                if connection is not own:
                    connection.close()
            if own is not None:
                close_writing(own)

        self._readers.close()
        closing = self._writer.submit(shut_down)
        self._writer.close()
        await asyncio.wait({closing}, timeout=CLOSE_S)
        if not closing.done():
            log.warning("the disk of %s does not answer", self.path)
        else:
            closing.result()
