"""Where a listing goes on: opaque byte strings for whoever lists, parsed like any hostile input.

A cursor names the last entry that was given, never a number or an id, so that a listing goes on at
the right place when entries come and go meanwhile, and after a restart. It tells in which order:
one that was given before there was a natural order goes on in the former one, or it would leave out
what comes elsewhere now. Pure.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from hdpd.errors import InvalidParams, PathInvalid, ProtocolError
from hdpd.wire.codec import decode, encode
from hdpd.wire.fields import MAX_INTEGER
from hdpd.wire.messages import SORT_KEYS, EntryType
from hdpd.wire.paths import EntryName, RemotePath

_NATURAL = 1  # the order, at the end of a cursor; none is the former one
_ORDERS: tuple[list[int], ...] = ([], [_NATURAL])


class PageCursor(Struct, frozen=True):
    """The last entry of a page of one directory: its kind, what it was sorted by, and its name."""

    sort: str
    type: EntryType
    number: int  # size or mtime; 0 when sorted by name
    name: EntryName
    is_former: bool = False

    def encode(self) -> bytes:
        """As it goes on the wire; `parse_page_cursor` reads it."""
        fields = [self.sort, int(self.type), self.number, self.name.to_wire()]
        return encode(fields if self.is_former else [*fields, _NATURAL])


class Step(IntEnum):
    """What the last step of a walk through a tree was."""

    FILE = 0  # gave a file
    DIRECTORY = 1  # gave a directory, and its content comes next
    LEFT = 2  # left a directory after its content


class TreeCursor(Struct, frozen=True):
    """The last step of a page of a recursive listing."""

    step: Step
    path: RemotePath  # relative to what is listed
    is_former: bool = False

    def encode(self) -> bytes:
        """As it goes on the wire; `parse_tree_cursor` reads it."""
        fields = [int(self.step), self.path.to_wire()]
        return encode(fields if self.is_former else [*fields, _NATURAL])


def parse_page_cursor(data: bytes, sort: str) -> PageCursor:
    """The cursor of a page listing sorted by `sort`; raises InvalidParams."""
    match _decoded(data):
        case [str(cursor_sort), int(kind), int(number), name, *order] if (
            cursor_sort == sort and sort in SORT_KEYS and kind in (0, 1) and order in _ORDERS
        ):
            if abs(number) <= MAX_INTEGER:
                return PageCursor(sort, EntryType(kind), number, _name(name), not order)
    raise InvalidParams("the cursor does not belong to this listing")


def parse_tree_cursor(data: bytes) -> TreeCursor:
    """The cursor of a recursive listing; raises InvalidParams."""
    match _decoded(data):
        case [int(step), path, *order] if step in (0, 1, 2) and order in _ORDERS:
            return TreeCursor(Step(step), _path(path), not order)
    raise InvalidParams("the cursor does not belong to this listing")


def _decoded(data: bytes) -> object:
    try:
        return decode(data)
    except ProtocolError:
        raise InvalidParams("the cursor is damaged") from None


def _name(value: object) -> EntryName:
    try:
        return EntryName.from_wire(value)
    except PathInvalid as error:
        raise InvalidParams(f"the cursor is damaged: {error}") from None


def _path(value: object) -> RemotePath:
    try:
        path = RemotePath.from_wire(value)
    except PathInvalid as error:
        raise InvalidParams(f"the cursor is damaged: {error}") from None
    if path.is_root:
        raise InvalidParams("the cursor is damaged: it names nothing")
    return path
