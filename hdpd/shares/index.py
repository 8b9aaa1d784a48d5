"""Reading the index: finding a directory, pages of it, and the tree below it."""

from __future__ import annotations

from typing import NamedTuple

from hdpd.database import Row, Transaction
from hdpd.shares.cursors import PageCursor
from hdpd.shares.pages import KINDS, Page, cut
from hdpd.shares.tree import DirectoryRow, FileRow
from hdpd.wire.messages import Entry, EntryType
from hdpd.wire.paths import RemotePath


class IndexedDirectory(NamedTuple):
    """A row of the table `directory`; `scanned` says whether the index knows what is in it, and
    `version` is another one whenever a listing of it is.
    """

    id: int
    scanned: bool
    version: int = 0


# What lists one directory: the columns of an entry, then where they are.
_SOURCES = {
    EntryType.DIRECTORY: "SELECT name, size, mtime, files FROM directory WHERE parent=:directory",
    EntryType.FILE: "SELECT name, size, mtime, 1 FROM file WHERE directory=:directory",
}

# For each sort key: the condition that follows a cursor, and the order. The first condition on the
# name is implied by the second, and lets SQLite begin at the right place of the index.
_NUMBERED = (
    "({key}, name COLLATE NOCASE, name) > ({sign}:number, :name, :name)",
    "{key}, name COLLATE NOCASE, name",
)
_SORTS = {
    "name": (
        "name COLLATE NOCASE >= :name AND (name COLLATE NOCASE, name) > (:name, :name)",
        "name COLLATE NOCASE, name",
    ),
    "-name": (
        "name COLLATE NOCASE <= :name AND (name COLLATE NOCASE, name) < (:name, :name)",
        "name COLLATE NOCASE DESC, name DESC",
    ),
    **{
        sign + column: tuple(part.format(key=sign + column, sign=sign) for part in _NUMBERED)
        for sign in ("", "-")
        for column in ("size", "mtime")
    },
}


def find_directory(
    transaction: Transaction, root: int, below: RemotePath
) -> IndexedDirectory | None:
    """The directory `below` the directory with the id `root`, when the index has it."""
    row = transaction.one("SELECT id, scanned, version FROM directory WHERE id=?", (root,))
    for component in below:
        if row is None:
            break
        row = _named(transaction, row[0], component.text)
    return IndexedDirectory(row[0], bool(row[1]), row[2]) if row else None


def _named(transaction: Transaction, parent: int, name: str) -> Row | None:
    return transaction.one(
        # The collation of the index, and then the name itself.
        "SELECT id, scanned, version FROM directory "
        "WHERE parent=? AND name=? COLLATE NOCASE AND name=?",
        (parent, name, name),
    )


def directory_page(
    transaction: Transaction, directory: int, sort: str, after: PageCursor | None, limit: int
) -> Page:
    """The page of a directory that follows the cursor `after`."""
    condition, order = _SORTS[sort]
    entries: list[Entry] = []
    for kind in KINDS:
        if after is not None and KINDS.index(kind) < KINDS.index(after.type):
            continue
        follows = after is not None and after.type is kind
        rows = transaction.execute(
            f"{_SOURCES[kind]} {f'AND {condition}' if follows else ''} "
            f"ORDER BY {order} LIMIT :limit",
            {
                "directory": directory,
                "name": after.name.text if after else "",
                "number": after.number if after else 0,
                "limit": limit + 1 - len(entries),
            },
        )
        entries += [
            Entry(RemotePath.from_text(name), kind, size, mtime, files)
            for name, size, mtime, files in rows
        ]
        if len(entries) > limit:
            break
    return cut(entries, sort, limit)


class IndexTree:
    """The index as the source of a walk."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def is_known(self, node: IndexedDirectory) -> bool:
        return node.scanned

    def files(self, node: IndexedDirectory, after: str, limit: int) -> list[FileRow]:
        rows = self._transaction.execute(
            "SELECT name, size, mtime FROM file WHERE directory=:directory AND "  # noqa: S608
            f"{_SORTS['name'][0]} ORDER BY {_SORTS['name'][1]} LIMIT :limit",
            {"directory": node.id, "name": after, "limit": limit},
        )
        return [FileRow(*row) for row in rows]

    def directory_after(
        self, node: IndexedDirectory, after: str
    ) -> DirectoryRow[IndexedDirectory] | None:
        row = self._transaction.one(
            "SELECT id, scanned, name, size, mtime, files FROM directory "  # noqa: S608
            f"WHERE parent=:directory AND {_SORTS['name'][0]} "
            f"ORDER BY {_SORTS['name'][1]} LIMIT 1",
            {"directory": node.id, "name": after},
        )
        if row is None:
            return None
        return DirectoryRow(IndexedDirectory(row[0], bool(row[1])), *row[2:])

    def directory_named(self, node: IndexedDirectory, name: str) -> IndexedDirectory | None:
        row = _named(self._transaction, node.id, name)
        return IndexedDirectory(row[0], bool(row[1])) if row else None
