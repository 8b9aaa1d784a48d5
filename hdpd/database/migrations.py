"""Brings the schema of a database up to date, by the numbered SQL files below schema/."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import apsw

from hdpd.database.transactions import atomically
from hdpd.errors import StartError

log = logging.getLogger(__name__)


def steps_of(schema: str) -> list[tuple[int, Traversable]]:
    """The numbered files of schema/<schema>/ in order."""
    folder = resources.files("hdpd.database") / "schema" / schema
    return sorted(
        (int(entry.name.split("_")[0].removesuffix(".sql")), entry)
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    )


def version_of(connection: apsw.Connection) -> int:
    """Which step the database has seen last."""
    (version,) = next(iter(connection.execute("PRAGMA user_version")))
    return int(version)


def backup_path(path: Path, version: int) -> Path:
    """Where the backup of a database with that version of the schema is."""
    return path.with_name(f"{path.name}.version-{version}")


def migrate(connection: apsw.Connection, schema: str, *, backup: bool = False) -> None:
    """Runs the steps that this database has not seen, each in one transaction; with `backup`,
    after copying the database as it was next to it.

    Raises:
        StartError: the database was made by a later version.
    """
    steps = steps_of(schema)
    version = version_of(connection)
    path = Path(connection.filename)
    if steps and version > steps[-1][0]:
        raise StartError(_too_new(path, [number for number, _ in steps]))
    pending = [(number, step) for number, step in steps if number > version]
    if pending and version:
        log.info("bringing %s up to date: %d to %d", path, version, pending[-1][0])
    for number, step in pending:
        if backup and version:  # a new database has nothing to lose
            _back_up(connection, backup_path(path, version_of(connection)))
        with atomically(connection):
            connection.execute(step.read_text())
            connection.execute(f"PRAGMA user_version={number}")


def _back_up(connection: apsw.Connection, copy: Path) -> None:
    # An earlier one is from before a version was gone back to: what is there now is newer.
    copy.unlink(missing_ok=True)
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection.execute("VACUUM INTO ?", (str(copy),))
    log.info("the database as it was is kept as %s", copy)


def _too_new(path: Path, known: list[int]) -> str:
    backups = _existing(backup_path(path, number) for number in reversed(known))
    way_back = next((f" (a backup of this version is {copy})" for copy in backups), "")
    return (
        f"{path} was written by a later version of hdpd; use that version, "
        f"or move the file away{way_back}"
    )


def _existing(paths: Iterator[Path]) -> Iterator[Path]:
    return (path for path in paths if path.exists())
