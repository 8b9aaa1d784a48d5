"""A file gets its name without ever taking another one's, whatever the file system can do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from hdpd.downloads import filesystem
from hdpd.downloads.filesystem import rename_noreplace

PARTIAL = b".hdpd-abc-1.part"


class Killed(BaseException):
    """As by kill -9: nothing is done after it."""


@pytest.fixture(params=["renameat2", "links", "neither"])
def directory(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[int]:
    def refused(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EPERM, "Operation not permitted")

    if request.param != "renameat2":
        monkeypatch.setattr(filesystem, "_renameat2", None)
    if request.param == "neither":
        monkeypatch.setattr(os, "link", refused)
    (tmp_path / os.fsdecode(PARTIAL)).write_text("content")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def names(path: Path) -> list[str]:
    return sorted(found.name for found in path.iterdir())


def test_it_has_its_name_and_nothing_is_left(directory: int, tmp_path: Path) -> None:
    rename_noreplace(directory, PARTIAL, b"film")
    assert names(tmp_path) == ["film"]
    assert (tmp_path / "film").read_text() == "content"


@pytest.mark.parametrize("content", ["", "another"])
def test_what_is_there_stays(directory: int, tmp_path: Path, content: str) -> None:
    (tmp_path / "film").write_text(content)
    with pytest.raises(FileExistsError):
        rename_noreplace(directory, PARTIAL, b"film")
    assert names(tmp_path) == [os.fsdecode(PARTIAL), "film"]
    assert (tmp_path / "film").read_text() == content


@pytest.mark.parametrize("killed_in", ["open", "rename", "unlink"])
def test_a_kill_at_any_moment_leaves_no_name_taken(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: str
) -> None:
    call = getattr(os, killed_in)

    def kill(path: bytes, *arguments: object, **options: object) -> object:
        if killed_in == "open" and path != b"film":
            return call(path, *arguments, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, killed_in, kill)
        with contextlib.suppress(Killed):
            rename_noreplace(directory, PARTIAL, b"film")
    if (tmp_path / os.fsdecode(PARTIAL)).exists():
        try:
            rename_noreplace(directory, PARTIAL, b"film")
        except FileExistsError:  # by a link: it is the file itself
            assert (tmp_path / "film").samefile(tmp_path / os.fsdecode(PARTIAL))
    assert (tmp_path / "film").read_text() == "content"
    assert not [name for name in names(tmp_path) if name not in {"film", os.fsdecode(PARTIAL)}] or (
        killed_in == "unlink"  # the note, which `queue tidy` takes away
    )
