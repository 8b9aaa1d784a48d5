"""The version of a directory in the index: another one whenever a listing of it is another one."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hdpd.database import Transaction, open_connection
from hdpd.database.migrations import migrate
from hdpd.scanner import scan, writer
from hdpd.scanner.__main__ import Scanner
from hdpd.shares.index import directory_page
from hdpd.shares.jobs import Job, Reach, ShareJob
from hdpd.wire.messages import Entry

Shown = dict[int, tuple[int, list[Entry]]]
"""Of each directory that was read, by its id: its version, and all that a listing shows."""


class Index:
    """An index of one share, scanned in this process."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "index.db"
        self.share = directory / "share"
        self.share.mkdir()
        connection = open_connection(self.path)
        migrate(connection, "index")
        connection.close()

    def scan(self, reach: Reach = "changed", named: list[int] | None = None) -> Shown:
        job = ShareJob("S", str(self.share), False, reach=reach, named=named or [])
        Scanner(Job(str(self.path), [], job), lambda _: None).run()
        return self.shown()

    def shown(self) -> Shown:
        connection = open_connection(self.path, readonly=True)
        try:
            transaction = Transaction(connection)
            rows = list(transaction.execute("SELECT id, version FROM directory WHERE scanned>0"))
            return {
                id_: (version, directory_page(transaction, id_, "name", None, 10_000)[0])
                for id_, version in rows
            }
        finally:
            connection.close()


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path)


def compare(before: Shown, now: Shown) -> tuple[set[int], set[int]]:
    """The directories of which listings show something else, and those with another version."""
    both = before.keys() & now.keys()
    return (
        {id_ for id_ in both if before[id_][1] != now[id_][1]},
        {id_ for id_ in both if before[id_][0] != now[id_][0]},
    )


@pytest.mark.parametrize("reach", ["all", "changed"])
def test_nothing_new_changes_no_version(index: Index, reach: Reach) -> None:
    (index.share / "a" / "b").mkdir(parents=True)
    (index.share / "a" / "b" / "file").touch()
    before = index.scan("all")
    # The first time they come to rest, which is written down and shows nowhere.
    for path in (index.share / "a" / "b", index.share / "a", index.share):
        os.utime(path, ns=(0, 10**18))
    settled = index.scan("all")
    assert compare(before, settled)[0] == compare(before, settled)[1]
    assert index.scan(reach) == settled


def grow(share: Path, dice: random.Random) -> None:
    """Something that people do."""
    directories = [share, *(path for path in share.rglob("*") if path.is_dir())]
    files = [path for path in share.rglob("*") if path.is_file()]
    directory = dice.choice(directories)
    name = f"{dice.randrange(6)}"
    actions: list[Callable[[], object]] = [
        lambda: (directory / f"f{name}").write_bytes(bytes(dice.randrange(9))),
        lambda: (directory / f"d{name}").mkdir(exist_ok=True),
        lambda: shutil.rmtree(directory) if directory != share else None,
        lambda: dice.choice(files).unlink() if files else None,
        lambda: dice.choice(files).rename(directory / f"f{name}") if files else None,
        lambda: os.utime(dice.choice(files or [share]), ns=(0, dice.randrange(10**18))),
        lambda: os.utime(directory, ns=(0, dice.randrange(10**18))),
        lambda: move(directory, dice.choice(directories) / f"d{name}"),
    ]
    dice.choice(actions)()


def move(directory: Path, to: Path) -> None:
    if not to.exists() and not to.is_relative_to(directory):
        directory.rename(to)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_a_version_is_of_one_listing(
    index: Index, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    monkeypatch.setattr(scan, "SETTLE_NS", 0)
    monkeypatch.setattr(writer, "BATCH_ROWS", dice.choice([1, 3, 10_000]))
    for _ in range(8):
        grow(index.share, dice)
    seen: dict[tuple[int, int], list[Entry]] = {}
    before = index.scan("all")
    for _ in range(10):
        for _ in range(dice.randrange(1, 5)):
            grow(index.share, dice)
        named = [id_ for id_ in before if dice.random() < 0.7]
        now = index.scan(dice.choice(["all", "changed", "named"]), named)
        changed, renewed = compare(before, now)
        assert changed <= renewed
        for id_, (version, entries) in now.items():
            assert seen.setdefault((id_, version), entries) == entries
        before = now


def test_only_what_a_change_shows_in_gets_another_version(index: Index) -> None:
    for path in ("a/b", "a/c", "d"):
        (index.share / path).mkdir(parents=True)
        (index.share / path / "file").touch()
    before = index.scan("all")
    (index.share / "a" / "b" / "file").write_text("longer")
    now = index.scan("all")
    changed, renewed = compare(before, now)
    assert len(changed) == 3  # b, a for b's size, and the share for a's
    assert renewed == changed


def test_a_first_scan_counts_few_changes(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is judged by its speed."""
    for number in range(50):
        (index.share / f"{number}").mkdir()
        for name in "abc":
            (index.share / f"{number}" / name).touch()
    marked: list[int] = []
    flush = writer.IndexWriter.flush

    def count(self: writer.IndexWriter) -> None:
        marked.append(len(self._altered))
        flush(self)

    monkeypatch.setattr(writer.IndexWriter, "flush", count)
    index.scan("all")
    assert sum(marked) <= 2 * len(marked)
