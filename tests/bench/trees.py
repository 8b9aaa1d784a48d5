"""Trees of files for the benchmarks, made quickly and the same each time."""

from __future__ import annotations

import os
import random
from pathlib import Path

MiB = 1024 * 1024
FILES_PER_DIRECTORY = 20


def random_file(path: Path, size: int) -> None:
    """A file that does not compress, of distinct blocks."""
    chance = random.Random(size)
    block = chance.randbytes(MiB)
    with path.open("wb") as file:
        for _ in range(size // MiB):
            file.write(chance.randbytes(16) + block[16:])


def make_small_files(root: Path, count: int, size: int) -> None:
    chance = random.Random(count)
    for index in range(count):
        directory = root / f"{index // 500:03d}"
        if index % 500 == 0:
            directory.mkdir(parents=True)
        (directory / f"file {index:05d}.txt").write_bytes(chance.randbytes(size))


def make_wide_tree(root: Path, files: int) -> None:
    """`files` empty files in directories of 20, named like a music archive."""
    made = 0
    artist = 0
    while made < files:
        for album in range(10):
            directory = root / f"Artist {artist:05d}" / f"Album {album} of {artist % 97}"
            directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(directory, os.O_RDONLY)
            for track in range(min(FILES_PER_DIRECTORY, files - made)):
                name = f"{track:02d} Track {made % 7919} of something.flac"
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=descriptor))
                made += 1
            os.close(descriptor)
            if made >= files:
                return
        artist += 1
