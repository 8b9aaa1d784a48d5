"""Scans that read only what changed: the index is then as if everything had been read."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from hdpd.database import open_connection
from hdpd.database.migrations import migrate
from hdpd.scanner import scan
from hdpd.scanner.__main__ import Scanner
from hdpd.shares.jobs import Job, Reach, Report, ShareJob
from tests.scanner.test_scanner import Index

SECOND = 1_000_000_000


class Looked(Index):
    """An index that knows which directories its last scan has read."""

    def __init__(self, path: Path, share: Path) -> None:
        connection = open_connection(path)
        migrate(connection, "index")
        connection.close()
        super().__init__(path, share)
        self.read: list[str] = []

    def look(self, reach: Reach, *named: str) -> Report:
        """A scan of that reach; `named` are paths below the share."""
        self.read.clear()
        ids = [self.id_of(path) for path in named]
        share = ShareJob("S", str(self.share), False, reach=reach, named=ids)
        Scanner(Job(str(self.path), share=share), self.reports.append).run()
        return self.reports[-1]

    def id_of(self, path: str) -> int:
        (id_,) = self.rows("SELECT root FROM share")[0]
        for name in path.split("/") if path else ():
            (id_,) = self.rows("SELECT id FROM directory WHERE parent=? AND name=?", id_, name)[0]
        return int(id_)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looked:
    share = tmp_path / "share"
    for name in ("a/b/deep.txt", "a/one.txt", "c/d/e/f.txt", "top.txt"):
        (share / name).parent.mkdir(parents=True, exist_ok=True)
        (share / name).write_text(name)
    settle(share)
    index = Looked(tmp_path / "index.db", share)
    compare = scan.Scan._compare

    def note(self: scan.Scan, frame: Any, content: Any) -> None:
        index.read.append(frame.directory.name)
        compare(self, frame, content)

    monkeypatch.setattr(scan.Scan, "_compare", note)
    index.look("all")
    return index


def settle(share: Path) -> None:
    """As if everything were older than file systems' clocks are coarse."""
    past = time.time_ns() - 60 * SECOND
    for path in (share, *share.rglob("*")):
        if path.is_dir():
            os.utime(path, ns=(past, past))


def whole(index: Looked) -> Any:
    """What a new index of the share holds, and the search for every name."""
    fresh = Looked(index.path.with_name("fresh.db"), index.share)
    done = fresh.look("all")
    found = fresh.tree(), searchable(fresh), (done.files, done.directories, done.bytes)
    for path in index.path.parent.glob("fresh.db*"):
        path.unlink()
    return found


def searchable(index: Looked) -> set[str]:
    return index.found("file", "txt") | index.found("directory", "dir")


def state(index: Looked) -> Any:
    done = index.reports[-1]
    return index.tree(), searchable(index), (done.files, done.directories, done.bytes)


def test_nothing_is_read_when_nothing_changed(index: Looked) -> None:
    before = index.rows("SELECT * FROM directory")
    done = index.look("changed")
    assert index.read == []
    assert (done.files, done.directories, done.bytes) == (4, 5, 39)
    assert index.rows("SELECT * FROM directory") == before


def test_only_directories_that_changed_are_read(index: Looked) -> None:
    (index.share / "a" / "new.txt").write_text("!")
    (index.share / "c" / "d" / "g" / "h").mkdir(parents=True)
    index.look("changed")
    assert sorted(index.read) == ["a", "d", "g", "h"]
    assert state(index) == whole(index)


def test_a_directory_that_changed_just_now_is_read_again(index: Looked) -> None:
    """Another change within the same tick of the clock would not show."""
    (index.share / "a" / "new.txt").touch()
    index.look("changed")
    index.look("changed")
    assert index.read == ["a"]
    settle(index.share)
    index.look("changed")
    index.look("changed")
    assert index.read == []


def test_a_file_changed_in_place_is_seen_where_it_is_told(index: Looked) -> None:
    (index.share / "a" / "one.txt").write_text("longer than before")
    index.look("changed")
    assert index.read == []
    index.look("named", "a")
    assert index.read == ["a"]
    assert state(index) == whole(index)


def test_named_directories_and_what_is_new_in_them_are_read(index: Looked) -> None:
    (index.share / "a" / "new" / "sub").mkdir(parents=True)
    (index.share / "a" / "new" / "sub" / "x.txt").write_text("xx")
    (index.share / "c" / "unnoticed.txt").touch()
    shutil.rmtree(index.share / "a" / "b")
    index.look("named", "a")
    assert index.read == ["a", "new", "sub"]
    assert index.tree()["S/a/"] == (len("a/one.txt") + 2, 2)
    assert "S/c/unnoticed.txt" not in index.tree()
    assert index.reports[-1].directories == 6


def test_a_renamed_directory_is_one_row(index: Looked) -> None:
    ids = dict(index.rows("SELECT name, id FROM directory"))
    for number in range(30):
        (index.share / "a" / "b" / f"{number}.txt").touch()
    settle(index.share)
    index.look("all")
    (index.share / "a" / "b").rename(index.share / "c" / "dir moved")
    index.look("named", "a", "c")
    assert index.read == ["a", "c"]
    assert index.id_of("c/dir moved") == ids["b"]
    assert state(index) == whole(index)
    assert index.found("directory", "dir moved") == {"dir moved"}
    settle(index.share)
    index.look("all")
    (index.share / "c").rename(index.share / "z")
    index.look("named", "")
    assert index.read == ["S"]
    assert state(index) == whole(index)


def test_a_rename_heard_in_two_parts(index: Looked) -> None:
    (index.share / "a" / "b").rename(index.share / "c" / "b")
    index.look("named", "c")
    assert index.read == ["c"]
    index.look("named", "a")
    assert state(index) == whole(index)


def test_a_new_directory_with_the_number_of_a_removed_one_is_read(
    index: Looked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File systems give inode numbers again."""
    monkeypatch.setattr(scan, "inode_of", lambda status: 7)
    monkeypatch.setattr("hdpd.shares.reading.inode_of", lambda status: 7)
    index.look("all")
    shutil.rmtree(index.share / "a" / "b")
    (index.share / "c" / "dir other").mkdir()
    (index.share / "c" / "dir other" / "x.txt").touch()
    index.look("changed")
    assert "dir other" in index.read
    assert state(index) == whole(index)


def test_an_ignore_file_changed_in_place_is_seen(index: Looked) -> None:
    ignore = index.share / "c" / ".hdpignore"
    ignore.write_text("*.doc\n")
    settle(index.share)
    index.look("changed")
    before = ignore.parent.stat().st_mtime_ns
    ignore.write_text("f.txt\n")
    assert ignore.parent.stat().st_mtime_ns == before
    index.look("changed")
    assert index.read == ["c", "d", "e"]
    assert "S/c/d/e/f.txt" not in index.tree()
    ignore.unlink()
    index.look("changed")
    assert state(index) == whole(index)


def test_a_directory_that_is_gone_before_its_parent_is_read_keeps_its_rows(index: Looked) -> None:
    """It may have been renamed, which its parent will show."""
    (index.share / "c" / "d").rename(index.share / "elsewhere")
    past = time.time_ns() - 60 * SECOND
    ids = [index.id_of("c/d/e")]
    os.utime(index.share / "c", ns=(past, past))
    share = ShareJob("S", str(index.share), False, reach="named", named=ids)
    connection = open_connection(index.path)
    connection.execute("UPDATE directory SET mtime=? WHERE name='c'", (past,))
    now = index.share.stat().st_mtime_ns
    connection.execute("UPDATE directory SET mtime=? WHERE name='S'", (now,))
    connection.close()
    Scanner(Job(str(index.path), share=share), index.reports.append).run()
    assert "S/c/d/e/f.txt" in index.tree()
    index.look("named", "", "c")
    assert state(index) == whole(index)


def directories(share: Path) -> list[Path]:
    return [share, *(path for path in share.rglob("*") if path.is_dir() and not path.is_symlink())]


def change(share: Path, rng: random.Random) -> set[Path]:
    """Does something; returns the directories in which something happened."""
    place = rng.choice(directories(share))
    name = f"{rng.choice(['dir', 'file'])}{rng.randrange(5)}.txt"
    there = place / name
    match rng.randrange(5):
        case 0:
            there.mkdir(exist_ok=True) if not there.is_file() else there.unlink()
        case 1 if not there.is_dir():
            (place / "new").write_text("x" * rng.randrange(9))  # not in place
            (place / "new").rename(there)
        case 2 if place != share:
            shutil.rmtree(place)
            return {place.parent}
        case 3 | 4 if place != share:
            target = rng.choice(directories(share)) / name
            if target.exists() or target.is_relative_to(place):
                return set()
            place.rename(target)
            return {place.parent, target.parent}
        case _:
            return set()
    return {place}


@pytest.mark.parametrize("reach", ["changed", "named"])
def test_whatever_happens_the_index_follows(
    tmp_path: Path, reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random changes in batches, each followed by one scan."""
    monkeypatch.setattr(scan, "SETTLE_NS", 30_000_000)
    rng = random.Random(reach)
    share = tmp_path / "share"
    share.mkdir()
    index = Looked(tmp_path / "index.db", share)
    index.look("all")
    for _ in range(60):
        known = {path: index_id(index, share, path) for path in directories(share)}
        touched: set[Path] = set()
        for _ in range(rng.randrange(1, 6)):
            touched |= change(share, rng)
        time.sleep(0.01)  # the clock of the file system ticks
        ids = [id_ for path in touched if (id_ := known.get(path)) is not None]
        job = ShareJob("S", str(share), False, reach=reach, named=ids if reach == "named" else [])
        Scanner(Job(str(index.path), share=job), index.reports.append).run()
        assert state(index) == whole(index)


def index_id(index: Looked, share: Path, path: Path) -> int:
    below = path.relative_to(share).as_posix()
    return index.id_of("" if below == "." else below)
