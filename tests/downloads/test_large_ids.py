"""Ids of file systems and of inodes have 64 bits and no sign, which is more than SQLite holds."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from hdpd.downloads import site
from hdpd.downloads.site import Site
from hdpd.wire.fields import MAX_INTEGER


def test_the_id_of_a_file_system_can_be_stored_and_is_known_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = SimpleNamespace(f_fsid=2**64 - 5)
    monkeypatch.setattr(os, "statvfs", lambda _where: large)
    found = site.prepare(Site(tmp_path))
    assert 0 < found.system <= MAX_INTEGER
    assert site._is_same_system(found, tmp_path)
