"""Pages of one directory's entries: directories before files, each sorted, from a cursor on.

The order is the same here, for entries in memory, as in the SQL of hdpd/shares/index.py: by name
means by the natural key (hdpd/natural.py) without the case of ASCII letters first, then by bytes;
equal numbers are ordered by name. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hdpd.natural import natural
from hdpd.shares.cursors import PageCursor
from hdpd.wire.messages import Entry, EntryType

KINDS = (EntryType.DIRECTORY, EntryType.FILE)
Page = tuple[list[Entry], PageCursor | None]
"""Entries, and where to go on when there are more."""


NameKey = tuple[bytes, bytes]


def name_key(text: str) -> NameKey:
    """What sorts names as people expect it: what SQLite's NOCASE collation makes of their natural
    key, then by bytes.
    """
    return natural(text).encode().lower(), text.encode()


def former_name_key(text: str) -> NameKey:
    """What sorts names as before there was a natural order, for listings begun then."""
    raw = text.encode()
    return raw.lower(), raw


def key_of(*, is_former: bool) -> Callable[[str], NameKey]:
    """The one of both that a listing is sorted by."""
    return former_name_key if is_former else name_key


def sort_number(entry: Entry, sort: str) -> int:
    """The number that `entry` is sorted by."""
    match sort.removeprefix("-"):
        case "size":
            return entry.size
        case "mtime":
            return entry.mtime_ns
        case _:
            return 0


def cut(entries: list[Entry], sort: str, limit: int, *, is_former: bool) -> Page:
    """The first `limit` of entries in order, each of one component, with a cursor when there are
    more.
    """
    if len(entries) <= limit:
        return entries, None
    last = entries[limit - 1]
    number = sort_number(last, sort)
    return entries[:limit], PageCursor(sort, last.type, number, last.path.name, is_former)


def page_of(entries: Iterable[Entry], sort: str, after: PageCursor | None, limit: int) -> Page:
    """The page of unsorted `entries` that follows the cursor `after`."""
    everything = list(entries)
    is_former = after is not None and after.is_former
    page: list[Entry] = []
    for kind in KINDS:
        if after is not None and KINDS.index(kind) < KINDS.index(after.type):
            continue
        of_kind = [entry for entry in everything if entry.type is kind]
        if after is not None and after.type is kind:
            of_kind = [entry for entry in of_kind if _follows(entry, after)]
        of_kind.sort(key=lambda entry: _key(entry, sort, is_former), reverse=sort == "-name")
        page += of_kind
    return cut(page, sort, limit, is_former=is_former)


def _key(entry: Entry, sort: str, is_former: bool) -> tuple[int, NameKey]:
    key = key_of(is_former=is_former)
    return _signed(sort_number(entry, sort), sort), key(entry.path.name.text)


def _signed(number: int, sort: str) -> int:
    return -number if sort.startswith("-") else number


def _follows(entry: Entry, after: PageCursor) -> bool:
    name = key_of(is_former=after.is_former)(after.name.text)
    position = (_signed(after.number, after.sort), name)
    key = _key(entry, after.sort, after.is_former)
    return key < position if after.sort == "-name" else key > position
