"""Makes a film of several GiB from a short clip: half of its pictures lie far behind the others."""

from __future__ import annotations

import re
import struct
from pathlib import Path

CLIP = Path(__file__).with_name("film.mp4")
SECONDS = 40.0


def write_long_film(path: Path, gap: int) -> None:
    """The clip with `gap` bytes of nothing (less than 4 GiB, a hole in the file) in its middle."""
    clip = CLIP.read_bytes()
    # Where the chunks are, for each track (ISO/IEC 14496-12, 8.7.5): version, count, offsets.
    tables = []
    for found in re.finditer(b"stco", clip):
        start = found.end() + 8
        (count,) = struct.unpack_from(">I", clip, start - 4)
        tables.append((start, struct.unpack_from(f">{count}I", clip, start)))
    chunks = sorted(offset for _start, offsets in tables for offset in offsets)
    middle = chunks[len(chunks) // 2]
    data = clip.index(b"mdat") - 4
    head = bytearray(clip[:middle])
    for start, offsets in tables:
        moved = [o + gap + 8 if o >= middle else o for o in offsets]
        struct.pack_into(f">{len(moved)}I", head, start, *moved)
    struct.pack_into(">I", head, data, middle - data)
    rest = clip[middle:]
    with path.open("wb") as film:
        film.write(head + struct.pack(">I4s", gap, b"free"))
        film.seek(gap - 8, 1)
        film.write(struct.pack(">I4s", len(rest) + 8, b"mdat") + rest)
