"""Pages of one directory's entries: directories before files, each sorted, from a cursor on.

The order is the same here, for entries in memory, as in the SQL of hdpd/shares/index.py: by name
means without the case of ASCII letters first, then by bytes; equal numbers are ordered by name.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from hdpd.shares.cursors import PageCursor
from hdpd.wire.messages import Entry, EntryType

KINDS = (EntryType.DIRECTORY, EntryType.FILE)
Page = tuple[list[Entry], PageCursor | None]
"""Entries, and where to go on when there are more."""


def name_key(text: str) -> tuple[bytes, bytes]:
    """What sorts names as SQLite's NOCASE collation does, then by bytes."""
    raw = text.encode()
    return raw.lower(), raw


def sort_number(entry: Entry, sort: str) -> int:
    """The number that `entry` is sorted by."""
    match sort.removeprefix("-"):
        case "size":
            return entry.size
        case "mtime":
            return entry.mtime_ns
        case _:
            return 0


def cursor_at(entry: Entry, sort: str) -> PageCursor:
    """The cursor that goes on after `entry`, which has one component."""
    return PageCursor(sort, entry.type, sort_number(entry, sort), entry.path.name)


def cut(entries: list[Entry], sort: str, limit: int) -> Page:
    """The first `limit` of entries in order, with a cursor when there are more."""
    if len(entries) <= limit:
        return entries, None
    return entries[:limit], cursor_at(entries[limit - 1], sort)


def page_of(entries: Iterable[Entry], sort: str, after: PageCursor | None, limit: int) -> Page:
    """The page of unsorted `entries` that follows the cursor `after`."""
    everything = list(entries)
    page: list[Entry] = []
    for kind in KINDS:
        if after is not None and KINDS.index(kind) < KINDS.index(after.type):
            continue
        of_kind = [entry for entry in everything if entry.type is kind]
        if after is not None and after.type is kind:
            of_kind = [entry for entry in of_kind if _follows(entry, after)]
        of_kind.sort(key=lambda entry: _key(entry, sort), reverse=sort == "-name")
        page += of_kind
    return cut(page, sort, limit)


_Key = tuple[int, tuple[bytes, bytes]]


def _key(entry: Entry, sort: str) -> _Key:
    return _signed(sort_number(entry, sort), sort), name_key(entry.path.name.text)


def _signed(number: int, sort: str) -> int:
    return -number if sort.startswith("-") else number


def _follows(entry: Entry, after: PageCursor) -> bool:
    position = (_signed(after.number, after.sort), name_key(after.name.text))
    key = _key(entry, after.sort)
    return key < position if after.sort == "-name" else key > position
