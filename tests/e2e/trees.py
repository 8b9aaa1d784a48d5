"""Trees of real files to share, and their comparison."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

AWKWARD_NAMES = (
    b"with space.txt",
    b"new\nline",
    b"-dash",
    "🎉 party.txt".encode(),
    b"not utf-8 \xff\xfe",
    b"\xc3",
    "\uef80private use".encode(),
    b"tab\there",
    b"quote'\"$(x)",
    b"x" * 255,
    "Björk — Jóga.flac".encode(),
)


def make_tree(root: Path, files: int = 300) -> None:
    """Awkward names, empty files and directories, files of different sizes, all with an mtime."""
    chance = random.Random(files)
    base = os.fsencode(root)
    for index in range(files):
        directory = os.path.join(base, b"sub", b"%02d" % (index % 23), b"%d" % (index % 3))
        os.makedirs(directory, exist_ok=True)
        size = chance.choice((0, 1, 100, 4096, 20_000))
        _write(os.path.join(directory, b"file %d.bin" % index), chance.randbytes(size), index)
    for name in AWKWARD_NAMES:
        _write(os.path.join(base, name), name, 5)
        os.makedirs(os.path.join(base, b"sub", b"empty", name))
    _write(os.path.join(base, b"empty.txt"), b"", 7)


def _write(path: bytes, content: bytes, index: int) -> None:
    with open(path, "wb") as file:
        file.write(content)
    mtime_ns = 1_600_000_000_000_000_000 + index * 1_000_000_007
    os.utime(path, ns=(mtime_ns, mtime_ns))


def snapshot(root: Path) -> dict[bytes, tuple[str, int, str]]:
    """Everything below `root`: type, mtime in seconds and SHA-256 of each file."""
    base = os.fsencode(root)
    found: dict[bytes, tuple[str, int, str]] = {}
    for directory, names, files in os.walk(base):
        relative = os.path.relpath(directory, base)
        for name in names:
            found[os.path.join(relative, name)] = ("directory", 0, "")
        for name in files:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[os.path.join(relative, name)] = ("file", int(os.stat(path).st_mtime), digest)
    return found


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
