"""What is left of a damaged database: every row that can be read goes into a new one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import apsw

from hdpd.database.transactions import atomically

# What SQLite raises for a damaged file; a full disk or a lock is something else.
DAMAGE = (apsw.CorruptError, apsw.NotADBError)
CHECK_STEPS = 1000  # of SQLite's machine, between looks at the clock
_COMPANIONS = ("-wal", "-shm")


def check(connection: apsw.Connection, within: float | None = None) -> None:
    """Reads the whole database, or so much of it as can be read in so many seconds; raises one of
    DAMAGE when it is not sound.
    """
    if within is not None:
        deadline = time.monotonic() + within
        connection.set_progress_handler(lambda: time.monotonic() > deadline, CHECK_STEPS)
    cache = connection.pragma("cache_size")
    connection.execute("PRAGMA cache_size=-256")  # nobody needs the pages that are read for it
    try:
        problems = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
    except apsw.InterruptError:
        return
    finally:
        connection.set_progress_handler(None)
        connection.execute(f"PRAGMA cache_size={cache}")
    if problems != ["ok"]:
        raise apsw.CorruptError("; ".join(map(str, problems)))


def mark(path: Path) -> None:
    """Notes that the database was found damaged while it was in use."""
    with contextlib.suppress(OSError):
        _mark_of(path).touch()


def check_mark(path: Path) -> None:
    """Raises one of DAMAGE when it was found damaged before."""
    if _mark_of(path).exists():
        raise apsw.CorruptError("it was found damaged while it was in use")


def _mark_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-damaged")


def set_aside(path: Path) -> Path:
    """Renames a database and what belongs to it, so that a new one can be made; returns the new
    name, which says when.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (path.with_name(f"{path.name}.damaged-{stamp}{end}") for end in _endings())
    aside = next(name for name in names if not name.exists())
    path.rename(aside)
    _mark_of(path).unlink(missing_ok=True)
    for companion in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{companion}").rename(f"{aside}{companion}")
    return aside


def _endings() -> Iterator[str]:
    yield ""
    number = 2
    while True:
        yield f"-{number}"
        number += 1


def salvage(damaged: Path, into: apsw.Connection) -> dict[str, int]:
    """Copies what can be read to the tables of a new database of the latest schema; returns how
    many rows each got. Whole rows only, and none whose parent is lost.
    """
    found: dict[str, int] = {}
    into.execute("PRAGMA foreign_keys=OFF")
    try:
        source = apsw.Connection(str(damaged), flags=apsw.SQLITE_OPEN_READWRITE)
    except apsw.Error:
        return found
    try:
        with atomically(into):
            for (table,) in list(into.execute(_TABLES)):
                found[table] = _copy(source, into, table)
            _drop_orphans(into)
    finally:
        source.close(True)
        into.execute("PRAGMA foreign_keys=ON")
    return {table: _count(into, table) for table in found}


_TABLES = "SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'sqlite_%'"


def _copy(source: apsw.Connection, into: apsw.Connection, table: str) -> int:
    try:
        theirs = _columns(source, table)
        columns = [name for name in _columns(into, table) if name in theirs]
        key = [name for name, order in theirs.items() if order] or ["rowid"]
    except apsw.Error:
        return 0
    if not columns:
        return 0
    listed = ", ".join(f'"{name}"' for name in columns)
    marks = ", ".join("?" * len(columns))
    insert = f'INSERT OR IGNORE INTO "{table}" ({listed}) VALUES ({marks})'  # noqa: S608
    copied = 0
    # From both ends, as reading stops at the damaged page.
    for direction in ("ASC", "DESC"):
        order = ", ".join(f'"{name}" {direction}' for name in key)
        with contextlib.suppress(apsw.Error):
            for row in source.execute(f'SELECT {listed} FROM "{table}" ORDER BY {order}'):  # noqa: S608
                into.execute(insert, row)
                copied += into.changes()
            break
    return copied


def _columns(connection: apsw.Connection, table: str) -> dict[str, int]:
    """The columns, each with its place in the primary key, 0 for none."""
    rows = connection.execute("SELECT name, pk FROM pragma_table_info(?)", (table,))
    return dict(list(rows))


def _drop_orphans(into: apsw.Connection) -> None:
    for (table,) in list(into.execute(_TABLES)):
        for _id, _seq, parent, child_column, parent_column, *_ in list(
            into.execute("SELECT * FROM pragma_foreign_key_list(?)", (table,))
        ):
            into.execute(
                f'DELETE FROM "{table}" WHERE "{child_column}" NOT IN '  # noqa: S608
                f'(SELECT "{parent_column}" FROM "{parent}")'
            )


def _count(connection: apsw.Connection, table: str) -> int:
    (count,) = next(iter(connection.execute(f'SELECT count(*) FROM "{table}"')))  # noqa: S608
    return int(count)
