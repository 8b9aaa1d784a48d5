"""Which downloads fit on a volume. Pure: sizes in, verdicts out.

What running downloads will still write is promised to them, so that two of them never count on the
same free bytes; the reserve of the configuration is nobody's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hdpd.config.sizes import Reserve, shown_size
from hdpd.errors import DiskFull


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of a volume: those that an ordinary user may still write, and all."""

    free: int
    total: int


class NoRoom(DiskFull):
    """What is to be written does not fit beside the reserve."""


def first_without_room(
    room: Room, reserve: Reserve, needs: Iterable[tuple[str, int]]
) -> tuple[str, NoRoom] | None:
    """The first of the downloads (id and bytes to write) that does not fit beside those before it,
    and why; None when all of them fit. One that writes nothing more always fits.
    """
    kept = reserve.of(room.total)
    left = room.free - kept
    for id_, need in needs:
        if need > max(0, left):
            return id_, NoRoom(_reason(need, left, kept))
        left -= need
    return None


def _reason(need: int, left: int, kept: int) -> str:
    beside = f" beside the {shown_size(kept)} that are kept free (min_free)" if kept else ""
    return (
        f"no room: {shown_size(need)} are still to come, and the disk has "
        f"{shown_size(max(0, left))} for them{beside}; it goes on by itself when there is room"
    )
