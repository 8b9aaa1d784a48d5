"""Which downloads fit on a volume. Pure: sizes in, verdicts out.

What running downloads will still write is promised to them, so that two of them never count on the
same free bytes; the reserve of the configuration is nobody's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from msgspec import Struct

from hdpd.config.sizes import Reserve, shown_size
from hdpd.errors import DiskFull

KEPT_FILES: Final = 1000  # so many files others can still make


class Room(Struct, frozen=True):
    """Bytes of a volume: those that an ordinary user may still write, and all; files that may still
    be made, where that is limited.
    """

    free: int
    total: int
    files: int | None = None
    read_only: bool = False
    disk: str = "the disk"
    """How people are told of it."""


class NoRoom(DiskFull):
    """What is to be written does not fit beside the reserve."""


class Claim(NamedTuple):
    """What a download still takes: bytes, and files or directories to be made."""

    id: str
    size: int
    files: int = 0


def first_without_room(
    room: Room, reserve: Reserve, claims: Iterable[tuple[str, int] | Claim]
) -> tuple[str, NoRoom] | None:
    """The first of the downloads that does not fit beside those before it, and why; None when all
    of them fit. One that writes nothing more always fits.
    """
    kept = reserve.of(room.total)
    left = room.free - kept
    left_files = None if room.files is None else room.files - KEPT_FILES
    for claim in claims:
        id_, need, files = Claim(*claim)
        if need > max(0, left):
            return id_, NoRoom(_reason(need, left, kept, room.disk))
        if left_files is not None:
            if files > max(0, left_files):
                return id_, NoRoom(
                    f"no room: {files:,} files and directories are still to come, and "
                    f"{room.disk} can hold {max(0, left_files):,} more; it goes on by itself when "
                    "there is room"
                )
            left_files -= files
        left -= need
    return None


def _reason(need: int, left: int, kept: int, disk: str) -> str:
    beside = f" beside the {shown_size(kept)} that are kept free (min_free)" if kept else ""
    return (
        f"no room: {shown_size(need)} are still to come, and {disk} has "
        f"{shown_size(max(0, left))} for them{beside}; it goes on by itself when there is room"
    )
