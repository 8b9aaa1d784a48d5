"""What the databases hold of the shares between two runs."""

from __future__ import annotations

import json
import time

from hdpd.database import Transaction
from hdpd.shares.fold import FOLDING
from hdpd.shares.opening import Place
from hdpd.shares.share import Indexed
from hdpd.wire.paths import bytes_from_text, text_from_bytes


def read_indexed(index: Transaction) -> dict[tuple[str, Place], Indexed]:
    """What the index holds of each share, by name and place."""
    # A scanner that was killed may have left names that are not in the search tables yet.
    is_complete = index.one(
        "SELECT folding=? AND coalesce((SELECT max(id) FROM file), 0)<=searchable_file "
        "AND coalesce((SELECT max(id) FROM directory), 0)<=searchable_directory FROM state",
        (FOLDING,),
    ) == (1,)
    found = {}
    for name, path, hidden, ignore, *columns, scanned_at in index.execute(
        "SELECT share.name, path, hidden, ignore, root, mount_point, files, directories, size, "
        "skipped, file_system, read_at, scanned_at FROM share JOIN directory ON directory.id=root"
    ):
        root, mount_point, files, directories, size, skipped, file_system, read_at = columns
        patterns = tuple(json.loads(ignore))
        found[name, Place(bytes_from_text(path), bool(hidden), patterns)] = Indexed(
            root=root,
            mount_point=bool(mount_point),
            files=files,
            directories=directories,
            bytes=size,
            skipped=skipped,
            scanned_at=scanned_at,
            file_system=file_system,
            read_at=read_at,
            searchable=scanned_at is not None and is_complete,
        )
    return found


def read_added(state: Transaction) -> list[tuple[str, bytes]]:
    """Names and paths of the shares that were added at run time, the oldest first."""
    rows = state.execute("SELECT name, path FROM share ORDER BY added")
    return [(name, bytes_from_text(path)) for name, path in rows]


def store_added(state: Transaction, name: str, path: bytes) -> None:
    """Remembers a share that was added now."""
    state.execute(
        "INSERT OR REPLACE INTO share (name, path, added) VALUES (?, ?, ?)",
        (name, text_from_bytes(path), time.time()),
    )


def delete_added(state: Transaction, name: str) -> None:
    """Forgets a share that was added."""
    state.execute("DELETE FROM share WHERE name=?", (name,))
