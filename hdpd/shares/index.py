"""Reading the index: finding a directory, pages of it, and the tree below it."""

from __future__ import annotations

from typing import NamedTuple

from hdpd.database import Row, Transaction
from hdpd.natural import natural
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

# What names are sorted by, in the words of the index that has it.
_NATURAL = "natural(name) COLLATE NOCASE"
_FORMER = "name COLLATE NOCASE"


def _sorts(by: str) -> dict[str, tuple[str, str]]:
    """For each sort key: the condition that follows a cursor, and the order. The first condition on
    the name is implied by the second, and lets SQLite begin at the right place of the index.
    """
    sorts = {
        "name": (f"{by} >= :key AND ({by}, name) > (:key, :name)", f"{by}, name"),
        "-name": (f"{by} <= :key AND ({by}, name) < (:key, :name)", f"{by} DESC, name DESC"),
    }
    for sign in ("", "-"):
        for column in ("size", "mtime"):
            number = sign + column
            condition = f"({number}, {by}, name) > ({sign}:number, :key, :name)"
            sorts[number] = (condition, f"{number}, {by}, name")
    return sorts


_SORTS = {False: _sorts(_NATURAL), True: _sorts(_FORMER)}  # by whether it is the former order


def _position(name: str, *, is_former: bool) -> dict[str, str]:
    """What the conditions call the place of a name."""
    return {"key": name if is_former else natural(name), "name": name}


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
        # What the index has, and then the name itself.
        "SELECT id, scanned, version FROM directory "  # noqa: S608
        f"WHERE parent=:parent AND {_NATURAL} = :key AND name = :name",
        {"parent": parent, **_position(name, is_former=False)},
    )


def directory_page(
    transaction: Transaction, directory: int, sort: str, after: PageCursor | None, limit: int
) -> Page:
    """The page of a directory that follows the cursor `after`."""
    is_former = after is not None and after.is_former
    condition, order = _SORTS[is_former][sort]
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
                **_position(after.name.text if after else "", is_former=is_former),
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
    return cut(entries, sort, limit, is_former=is_former)


class IndexTree:
    """The index as the source of a walk."""

    def __init__(self, transaction: Transaction, *, is_former: bool = False) -> None:
        self._transaction = transaction
        self.is_former = is_former
        self._condition, self._order = _SORTS[is_former]["name"]

    def is_known(self, node: IndexedDirectory) -> bool:
        """Whether the directory has been read by a scan."""
        return node.scanned

    def files(self, node: IndexedDirectory, after: str, limit: int) -> list[FileRow]:
        """At most `limit` files of the directory behind the name `after`, in order."""
        rows = self._transaction.execute(
            "SELECT name, size, mtime FROM file WHERE directory=:directory AND "  # noqa: S608
            f"{self._condition} ORDER BY {self._order} LIMIT :limit",
            {"directory": node.id, **self._at(after), "limit": limit},
        )
        return [FileRow(*row) for row in rows]

    def directory_after(
        self, node: IndexedDirectory, after: str
    ) -> DirectoryRow[IndexedDirectory] | None:
        """The first directory behind the name `after`, or None."""
        row = self._transaction.one(
            "SELECT id, scanned, name, size, mtime, files FROM directory "  # noqa: S608
            f"WHERE parent=:directory AND {self._condition} ORDER BY {self._order} LIMIT 1",
            {"directory": node.id, **self._at(after)},
        )
        if row is None:
            return None
        return DirectoryRow(IndexedDirectory(row[0], bool(row[1])), *row[2:])

    def _at(self, name: str) -> dict[str, str]:
        return _position(name, is_former=self.is_former)

    def directory_named(self, node: IndexedDirectory, name: str) -> IndexedDirectory | None:
        """The directory of that name, or None."""
        row = _named(self._transaction, node.id, name)
        return IndexedDirectory(row[0], bool(row[1])) if row else None
