"""Partial files that belong to no download: of an older queue, of a disk that was away."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

LOOK_S: Final = 8.0  # a collection of millions of files is looked through as far as that goes

# With `.name` it is the note beside a name that was reserved for it (`filesystem`).
_PARTIAL = re.compile(
    rb"\.hdpd-([a-z2-7]{8})-\d+(?:-[0-9a-f]{16})?(?:\.part(?:-time)?|\.name\.part)"
)


class Leftover(Struct, frozen=True):
    """A partial file that was found, and the id of the download that it was for."""

    path: bytes
    size: int
    download: str


def find(root: Path) -> list[Leftover]:
    """All partial files below `root`, as far as that takes LOOK_S. Blocks; links are not followed,
    and what cannot be read is passed over.
    """
    return list(_walk(os.fsencode(root), time.monotonic() + LOOK_S))


def remove(leftovers: Iterable[Leftover]) -> list[Leftover]:
    """Removes them; those that are gone now. Blocks."""
    removed = []
    for leftover in leftovers:
        with contextlib.suppress(OSError):
            Path(os.fsdecode(leftover.path)).unlink()
            removed.append(leftover)
    return removed


def _walk(root: bytes, until: float) -> Iterator[Leftover]:
    pending = [root]
    while pending and time.monotonic() < until:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif (match := _PARTIAL.fullmatch(entry.name)) and not entry.is_symlink():
                    size = entry.stat(follow_symlinks=False).st_size
                    yield Leftover(entry.path, size, match[1].decode())
