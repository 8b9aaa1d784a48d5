"""What the soak shares: whatever becomes of a file, each of its versions is known."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from tests.soak import source
from tests.soak.source import Source


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setattr(source, "MIB", 1000)
    return Source(tmp_path, random.Random(1))


def test_every_version_is_known(small: Source) -> None:
    for _ in range(200):
        small.change()
        small.bring_back()
        for name, versions in small.versions.items():
            assert hashlib.sha256((small.root / name).read_bytes()).digest() in versions
    assert len(small.changes) == 5


def test_a_change_can_keep_size_and_time(small: Source) -> None:
    name = next(iter(small.versions))
    before, status = (small.root / name).read_bytes(), (small.root / name).stat()
    small._in_place_unseen(name)
    assert (small.root / name).read_bytes() != before
    now = (small.root / name).stat()
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
    )
