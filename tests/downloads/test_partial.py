"""Partial files, finishing in batches, names that are taken, and directories without links."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.downloads import directories as directories_module
from hdpd.downloads import filesystem, finishing
from hdpd.downloads.directories import Directories
from hdpd.downloads.finishing import (
    SYNC_SINGLY,
    Complete,
    Finished,
    alike,
    finish_batch,
    make_directories,
    numbered,
)
from hdpd.downloads.partial import IOV_MAX, PartialFile, partial_name, remove_partials
from hdpd.downloads.site import Site
from hdpd.errors import DiskFull, HdpdError, StorageError

MTIME_NS = 1_600_000_000_123_456_789
PART = partial_name("abc", 1)


def complete(
    name: bytes, data: bytes | None, *directory: bytes, number: int = 1, size: int | None = None
) -> Complete:
    size = len(data or b"") if size is None else size
    return Complete(directory, name, partial_name("abc", number), size, MTIME_NS, data)


def opened(root: Path, keep: int = 0, *, truncate: bool = True) -> PartialFile:
    return PartialFile.open(Site(root), (), PART, keep=keep, truncate=truncate)


def test_ranges_are_written_where_they_belong(tmp_path: Path) -> None:
    partial = opened(tmp_path)
    partial.write([b"world"], 6, fresh=True)
    partial.write([b"hel", b"lo "], 0, fresh=True)
    partial.sync()
    partial.close()
    assert (tmp_path / os.fsdecode(PART)).read_bytes() == b"hello world"


def test_more_pieces_than_one_system_call_takes(tmp_path: Path) -> None:
    pieces = [b"%06d" % number for number in range(2 * IOV_MAX + 10)]
    partial = opened(tmp_path)
    partial.write(pieces, 0, fresh=True)
    partial.close()
    assert (tmp_path / os.fsdecode(PART)).read_bytes() == b"".join(pieces)


def test_zeros_are_holes_unless_something_was_there(tmp_path: Path) -> None:
    zeros = [bytes(1024 * 1024)] * 4
    path = tmp_path / os.fsdecode(PART)
    partial = opened(tmp_path)
    partial.write(zeros, 0, fresh=True)
    assert path.stat().st_size == 4 * 1024 * 1024
    assert path.stat().st_blocks * 512 < 64 * 1024
    partial.write([b"x" * 100], 0, fresh=True)
    partial.write([bytes(100)], 0, fresh=False)
    partial.close()
    assert not any(path.read_bytes())


@pytest.mark.parametrize(
    ("there", "keep", "truncate", "intact", "left"),
    [
        (b"", 0, True, True, b""),
        (b"12345garbage", 5, True, True, b"12345"),
        (b"12345garbage", 5, False, True, b"12345garbage"),
        (b"123", 5, True, False, b""),
        (b"123", 5, False, False, b""),
    ],
)
def test_only_what_is_certain_is_kept(
    tmp_path: Path, there: bytes, keep: int, truncate: bool, intact: bool, left: bytes
) -> None:
    path = tmp_path / os.fsdecode(PART)
    path.write_bytes(there)
    partial = opened(tmp_path, keep, truncate=truncate)
    partial.close()
    assert partial.intact is intact
    assert path.read_bytes() == left


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwritev = os.pwritev
    monkeypatch.setattr(
        os, "pwritev", lambda fd, chunks, offset: pwritev(fd, [chunks[0][:2]], offset)
    )
    partial = opened(tmp_path)
    partial.write([b"hello ", b"world"], 0, fresh=True)
    partial.close()
    assert (tmp_path / os.fsdecode(PART)).read_bytes() == b"hello world"


def test_errors_of_the_disk_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = opened(tmp_path)
    for number, kind in ((errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (5, StorageError)):

        def fail(*_: Any, number: int = number) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "pwritev", fail)
        with pytest.raises(kind, match="cannot write"):
            partial.write([b"x"], 0, fresh=True)
    partial.close()


def test_removing_partial_files(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / os.fsdecode(PART)).write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "d")
    remove_partials(Site(tmp_path), [((b"link",), PART), ((b"gone",), PART), ((), PART)])
    assert (tmp_path / "d" / os.fsdecode(PART)).exists()
    remove_partials(Site(tmp_path), [((b"d",), PART)])
    assert not list((tmp_path / "d").iterdir())


@pytest.mark.parametrize("count", [1, SYNC_SINGLY, SYNC_SINGLY + 1, 100])
def test_a_batch_of_files(tmp_path: Path, count: int) -> None:
    batch = [
        complete(b"%d" % n, b"data %d" % n, b"a", b"%d" % (n % 3), number=n) for n in range(count)
    ]
    batch.append(complete(b"n" * 255, b"", number=1000))
    results = finish_batch(Site(tmp_path), batch)
    assert results == [Finished(file.name, MTIME_NS) for file in batch]
    for number in range(count):
        path = tmp_path / "a" / str(number % 3) / str(number)
        assert path.read_bytes() == b"data %d" % number
        assert path.stat().st_mtime_ns == MTIME_NS
    assert not list(tmp_path.rglob("*.part"))


def test_a_batch_with_data_on_the_disk(tmp_path: Path) -> None:
    partial = opened(tmp_path)
    partial.write([b"large"], 0, fresh=True)
    partial.close()
    assert finish_batch(Site(tmp_path), [complete(b"f", None, size=5)]) == [
        Finished(b"f", MTIME_NS)
    ]
    (missing,) = finish_batch(Site(tmp_path), [complete(b"g", None, size=5)])
    assert isinstance(missing, StorageError)
    (tmp_path / os.fsdecode(PART)).write_bytes(b"shorter")
    (wrong,) = finish_batch(Site(tmp_path), [complete(b"g", None, size=50)])
    assert isinstance(wrong, StorageError)
    assert not (tmp_path / "g").exists()


def test_one_bad_file_of_a_batch(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    good, bad = finish_batch(
        Site(tmp_path), [complete(b"good", b"1"), complete(b"bad", b"2", b"file", number=2)]
    )
    assert good == Finished(b"good", MTIME_NS)
    assert isinstance(bad, StorageError)
    assert "where a directory is needed" in bad.message


def without_call(monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    def missing(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filesystem, call, missing if number else None)


@pytest.mark.parametrize("number", [0, errno.ENOSYS, errno.EINVAL])
def test_without_the_newer_system_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    without_call(monkeypatch, "_renameat2", number)
    without_call(monkeypatch, "_syncfs", number)
    (tmp_path / "1").write_bytes(b"mine")
    batch = [complete(b"%d" % n, b"theirs", number=n) for n in range(SYNC_SINGLY + 2)]
    results = finish_batch(Site(tmp_path), batch)
    assert results[0] == Finished(b"0", MTIME_NS)
    assert results[1] == Finished(b"1 (2)", MTIME_NS)
    assert (tmp_path / "1").read_bytes() == b"mine"
    assert (tmp_path / "1 (2)").read_bytes() == b"theirs"
    assert not list(tmp_path.glob("*.part"))


def test_without_links_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    without_call(monkeypatch, "_renameat2", errno.EINVAL)
    monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "f").write_bytes(b"mine")
    assert finish_batch(Site(tmp_path), [complete(b"f", b"x")]) == [Finished(b"f (2)", MTIME_NS)]
    assert (tmp_path / "f").read_bytes() == b"mine"
    assert (tmp_path / "f (2)").read_bytes() == b"x"


def test_the_same_file_is_not_kept_twice(tmp_path: Path) -> None:
    for number in range(3):
        results = finish_batch(Site(tmp_path), [complete(b"f.txt", b"same", number=number)])
        assert results == [Finished(b"f.txt", MTIME_NS)]
    (tmp_path / "f.txt").write_bytes(b"edited")
    for number in range(3):
        results = finish_batch(Site(tmp_path), [complete(b"f.txt", b"same", number=number)])
        assert results == [Finished(b"f (2).txt", MTIME_NS)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f (2).txt", "f.txt"]


def test_what_counts_as_there(tmp_path: Path) -> None:
    file = complete(b"f", b"1234")
    assert alike(Site(tmp_path / "gone"), [file]) == [None]
    path = tmp_path / "f"
    path.write_bytes(b"1234")
    os.utime(path, ns=(MTIME_NS + 1, MTIME_NS + 1))
    assert alike(Site(tmp_path), [file]) == [None]
    os.utime(path, ns=(MTIME_NS, MTIME_NS))
    assert alike(Site(tmp_path), [file]) == [Finished(b"f", MTIME_NS)]

    other = tmp_path / "d"
    other.symlink_to(path)
    assert alike(Site(tmp_path), [complete(b"d", b"1234")]) == [None]


def test_a_coarse_file_system_is_asked_what_it_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on FAT, which keeps times to 2 s."""
    coarse = MTIME_NS - MTIME_NS % 2_000_000_000
    path = tmp_path / "f"
    path.write_bytes(b"1234")
    os.utime(path, ns=(coarse, coarse))
    assert alike(Site(tmp_path), [complete(b"f", b"1234")]) == [None]

    def coarse_utime(target: int, *, ns: tuple[int, int]) -> None:
        utime(target, ns=(coarse, coarse))

    utime = os.utime
    monkeypatch.setattr(os, "utime", coarse_utime)
    assert alike(Site(tmp_path), [complete(b"f", b"1234")]) == [Finished(b"f", coarse)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]
    assert finish_batch(Site(tmp_path), [complete(b"g", b"1")]) == [Finished(b"g", coarse)]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (b"film.mkv", b"film (2).mkv"),
        (b"README", b"README (2)"),
        (b".bashrc", b".bashrc (2)"),
        (b"a.b.c", b"a.b (2).c"),
        (b"Mr. Smith goes to Washington", b"Mr. Smith goes to Washington (2)"),
        ("é".encode() * 127, "é".encode() * 125 + b" (2)"),
    ],
)
def test_numbered_names(name: bytes, wanted: bytes) -> None:
    assert numbered(name, 2) == wanted


@given(
    st.text(min_size=1, max_size=100).map(str.encode).filter(lambda raw: len(raw) <= 255),
    st.integers(2, 1000),
)
def test_numbered_names_are_names(name: bytes, number: int) -> None:
    result = numbered(name, number)
    assert result != name
    assert 1 <= len(result) <= 255
    result.decode()


def test_there_is_an_end_to_numbering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finishing, "MAX_SAME_NAME", 3)
    for name in ("f", "f (2)", "f (3)"):
        (tmp_path / name).write_bytes(b"mine")
    (result,) = finish_batch(Site(tmp_path), [complete(b"f", b"x")])
    assert isinstance(result, StorageError)


def test_directories_are_made_or_merged(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("/")
    results = make_directories(
        Site(tmp_path), [(b"a", b"b", b"c"), (b"a",), (b"file",), (b"link", b"tmp", b"x")]
    )
    assert [type(result) for result in results] == [type(None), type(None)] + [StorageError] * 2
    assert (tmp_path / "a/b/c").is_dir()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_few_descriptors_are_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories_module, "MAX_OPEN", 4)
    before = open_descriptors()
    deep = tuple(b"%d" % n for n in range(30))
    with Directories(Site(tmp_path)) as directories:
        for number in range(20):
            os.close(os.dup(directories.open((*deep, b"x%d" % number))))
            directories.changed((*deep, b"x%d" % number))
        assert open_descriptors() <= before + 6
        directories.sync()
    assert open_descriptors() == before
    assert tmp_path.joinpath(*map(os.fsdecode, deep), "x19").is_dir()


def test_the_download_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert finish_batch(Site(tmp_path / "link"), [complete(b"f", b"x")]) == [
        Finished(b"f", MTIME_NS)
    ]
    (tmp_path / "dangling").symlink_to("nowhere/at/all")
    (result,) = finish_batch(Site(tmp_path / "dangling"), [complete(b"f", b"x")])
    assert isinstance(result, HdpdError)
