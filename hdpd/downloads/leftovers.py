"""Partial files that belong to no download: of an older queue, of a disk that was away."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOOK_S: Final = 8.0  # a collection of millions of files is looked through as far as that goes

_PARTIAL = re.compile(rb"\.hdpd-([a-z2-7]{8})-\d+(?:-[0-9a-f]{16})?\.part(?:-time)?")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A partial file that was found, and the id of the download that it was for."""

    path: bytes
    size: int
    download: str


def find(roots: Iterable[Path]) -> list[Leftover]:
    """All partial files below `roots`, as far as that takes LOOK_S. Blocks; links are not followed,
    and what cannot be read is passed over.
    """
    until = time.monotonic() + LOOK_S
    found = {}
    for root in roots:
        for leftover in _walk(os.fsencode(root), until):
            found[leftover.path] = leftover
    return list(found.values())


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
                elif match := _PARTIAL.fullmatch(entry.name):
                    size = entry.stat(follow_symlinks=False).st_size
                    yield Leftover(entry.path, size, match[1].decode())
