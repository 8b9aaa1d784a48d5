"""What is shared: files of which each version is remembered, changed in all ways that people do."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

KIB, MIB = 1 << 10, 1 << 20
PIECE = 256 * KIB  # written at once: a reader meets files that are half one, half another


class Source:
    """The tree below `root`; names are relative to it."""

    def __init__(self, root: Path, rnd: random.Random) -> None:
        self.root = root
        self._rnd = rnd
        self.versions: dict[str, set[bytes]] = {}
        self.changes: dict[str, int] = {}
        sizes = [
            *(rnd.randint(0, 60 * KIB) for _ in range(80)),
            *(rnd.randint(1 * MIB, 5 * MIB) for _ in range(12)),
            *(rnd.randint(25 * MIB, 45 * MIB) for _ in range(3)),
        ]
        for number, size in enumerate(sizes):
            # Names that exFAT cannot hold, or takes for one, are part of it.
            kind = ("Episode {}.mkv", "Dune: part {}?.mkv", "episode {}.MKV")[number % 3]
            name = f"season {number // 3 % 5}/{kind.format(number // 3)}"
            self._replace(name, size)

    def change(self) -> str:
        """Changes one file; the kind of the change."""
        name = self._rnd.choice(sorted(self.versions))
        kinds = (self._in_place, self._in_place_unseen, self._by_rename, self._touch, self._remove)
        kind = self._rnd.choice(kinds)
        kind(name)
        word = kind.__name__.strip("_")
        self.changes[word] = self.changes.get(word, 0) + 1
        return word

    def _content(self, name: str, size: int) -> bytes:
        content = self._rnd.randbytes(size)
        self.versions.setdefault(name, set()).add(hashlib.sha256(content).digest())
        return content

    def _size(self, name: str) -> int:
        try:
            return (self.root / name).stat().st_size
        except FileNotFoundError:
            return self._rnd.randint(0, MIB)

    def _in_place(self, name: str) -> None:
        self._write(name, self._size(name) + self._rnd.randint(-100, 100))

    def _in_place_unseen(self, name: str) -> None:
        """Size and time are as before."""
        path = self.root / name
        self._write(name, self._size(name))
        os.utime(path, ns=(10**18, 10**18))

    def _by_rename(self, name: str) -> None:
        self._replace(name, self._size(name))

    def _touch(self, name: str) -> None:
        if (self.root / name).exists():
            (self.root / name).chmod(self._rnd.choice((0o600, 0o644)))

    def _remove(self, name: str) -> None:
        """Gone for a moment: the next change of it brings it back."""
        (self.root / name).unlink(missing_ok=True)

    def bring_back(self) -> None:
        """Makes all that was removed anew."""
        for name in self.versions:
            if not (self.root / name).exists():
                self._replace(name, self._size(name))

    def _write(self, name: str, size: int) -> None:
        path = self.root / name
        content = self._content(name, max(0, size))
        with path.open("r+b" if path.exists() else "wb", buffering=0) as file:
            for start in range(0, len(content), PIECE):
                file.write(content[start : start + PIECE])
            file.truncate()
        os.utime(path, ns=(10**18, 10**18))

    def _replace(self, name: str, size: int) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(".new")
        aside.write_bytes(self._content(name, size))
        os.utime(aside, ns=(10**18, 10**18))
        aside.rename(path)
