"""The scanner: what a pass finds, skips and keeps, and that the index follows every change."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hdpd.database import Database, open_connection
from hdpd.errors import ShareAway
from hdpd.scanner import scan, upkeep, writer
from hdpd.scanner.__main__ import Scanner
from hdpd.shares import presence, reading, scanning
from hdpd.shares.fold import fold
from hdpd.shares.jobs import Job, Report, ShareJob, report_from_line, to_line
from hdpd.shares.opening import open_subdirectory
from hdpd.shares.query import match_expression
from hdpd.wire.paths import text_from_bytes

Tree = dict[str, tuple[int, int]]  # path: size and number of files


class Index:
    """An index of one share, scanned in this process, and everything that it holds."""

    def __init__(self, path: Path, share: Path) -> None:
        self.path = path
        self.share = share
        self.reports: list[Report] = []

    def scan(
        self, *, name: str = "S", hidden: bool = False, forget: tuple[int, ...] = ()
    ) -> Report:
        path = text_from_bytes(os.fsencode(self.share))
        job = Job(str(self.path), list(forget), ShareJob(name, path, hidden))
        Scanner(job, self.reports.append).run()
        return self.reports[-1]

    def rows(self, sql: str, *parameters: str | int) -> list[tuple[Any, ...]]:
        connection = open_connection(self.path, readonly=True)
        try:
            return list(connection.execute(sql, parameters))
        finally:
            connection.close()

    def tree(self) -> Tree:
        """Directories (with a slash behind) and files by path, with size and number of files."""
        directories = self.rows("SELECT id, parent, name, size, files FROM directory")
        rows = {id_: (parent, name) for id_, parent, name, *_ in directories}

        def path(id_: int) -> str:
            parent, name = rows[id_]
            return f"{path(parent)}{name}/" if parent else f"{name}/"

        tree = {path(id_): (size, files) for id_, _, _, size, files in directories}
        for directory, name, size in self.rows("SELECT directory, name, size FROM file"):
            tree[path(directory) + name] = (size, 1)
        return tree

    def found(self, table: str, word: str) -> set[str]:
        """The names that the search table of `table` has under a word's trigrams."""
        sql = (
            f"SELECT {table}.name FROM {table}_search JOIN {table} "  # noqa: S608
            f"ON {table}.id={table}_search.rowid WHERE {table}_search MATCH ?"
        )
        return {name for (name,) in self.rows(sql, match_expression([fold(word)]) or "")}


def start_process(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=scanning._environment(),
    )


def test_the_process_ends_quietly_when_there_is_no_job() -> None:
    with start_process("-m", "hdpd.scanner") as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, b"", b"")


def test_the_process_is_nice_and_ends_with_hdpd() -> None:
    """Whatever its main thread does, the end of standard input ends it."""
    program = """if True:
        import os, time
        from hdpd.scanner import __main__ as scanner

        def stall(self):
            print(os.nice(0), flush=True)
            time.sleep(600)

        scanner.Scanner.run = stall
        scanner.main()
    """
    with start_process("-c", program) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(to_line(Job("/nowhere/index.db")))
        process.stdin.flush()
        assert process.stdout.readline() == b"19\n"
        process.stdin.close()
        assert process.wait(timeout=20) == 0


def test_the_process_tells_what_stops_it(tmp_path: Path) -> None:
    with start_process("-m", "hdpd.scanner") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(to_line(Job(str(tmp_path / "nowhere" / "index.db"))))
        process.stdin.flush()
        report = report_from_line(process.stdout.readline())
    assert report.phase == "failed"
    assert "index" in report.message


@pytest.fixture
def share(tmp_path: Path) -> Path:
    share = tmp_path / "share"
    (share / "a" / "b").mkdir(parents=True)
    (share / "a" / "b" / "deep.txt").write_bytes(b"12345")
    (share / "a" / "one.txt").write_bytes(b"1")
    (share / "empty").mkdir()
    (share / "top.txt").write_bytes(b"123")
    return share


@pytest.fixture
def index(tmp_path: Path, share: Path, run: Callable[[Any], Any]) -> Index:
    async def create() -> None:
        database = Database(tmp_path / "index.db", "index")
        await database.open()
        await database.close()

    run(create())
    return Index(tmp_path / "index.db", share)


@pytest.fixture
def run() -> Iterator[Callable[[Any], Any]]:
    import asyncio

    with asyncio.Runner() as runner:
        yield runner.run


WHOLE = {
    "S/": (9, 3),
    "S/a/": (6, 2),
    "S/a/b/": (5, 1),
    "S/a/b/deep.txt": (5, 1),
    "S/a/one.txt": (1, 1),
    "S/empty/": (0, 0),
    "S/top.txt": (3, 1),
}


def test_a_scan_finds_everything_with_totals(index: Index) -> None:
    done = index.scan()
    assert index.tree() == WHOLE
    assert (done.phase, done.files, done.directories, done.bytes) == ("done", 3, 3, 9)
    assert [report.phase for report in index.reports] == ["scanning", "scanned", "done"]


def test_a_second_scan_changes_nothing(index: Index) -> None:
    index.scan()
    before = index.rows("SELECT * FROM file"), index.rows("SELECT * FROM directory")
    index.scan()
    assert (index.rows("SELECT * FROM file"), index.rows("SELECT * FROM directory")) == before


def test_names_can_be_searched_after_a_scan(index: Index, share: Path) -> None:
    (share / "a" / "Björk.flac").touch()
    index.scan()
    assert index.found("file", "BJÖRK") == {"Björk.flac"}
    assert index.found("directory", "empty") == {"empty"}


def test_the_index_follows_changes(index: Index, share: Path) -> None:
    index.scan()
    (share / "top.txt").write_bytes(b"12")
    (share / "a" / "one.txt").unlink()
    (share / "a" / "new.txt").write_bytes(b"1234")
    (share / "a" / "b").rename(share / "moved")
    index.scan()
    assert index.tree() == {
        "S/": (11, 3),
        "S/a/": (4, 1),
        "S/a/new.txt": (4, 1),
        "S/empty/": (0, 0),
        "S/moved/": (5, 1),
        "S/moved/deep.txt": (5, 1),
        "S/top.txt": (2, 1),
    }
    assert index.found("file", "new") == {"new.txt"}
    assert index.found("file", "one") == set()
    assert index.found("file", "deep") == {"deep.txt"}
    assert index.found("directory", "moved") == {"moved"}


def test_a_file_that_becomes_a_directory_and_the_other_way_round(index: Index, share: Path) -> None:
    index.scan()
    (share / "top.txt").unlink()
    (share / "top.txt").mkdir()
    (share / "empty").rmdir()
    (share / "empty").write_bytes(b"no")
    index.scan()
    tree = index.tree()
    assert "S/top.txt/" in tree
    assert "S/top.txt" not in tree
    assert tree["S/empty"] == (2, 1)
    assert "S/empty/" not in tree


def test_what_is_gone_is_swept_out_of_every_table(
    index: Index, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "CHUNK_ROWS", 3)  # a big tree takes many transactions
    many = share / "many"
    for number in range(8):
        (many / str(number % 2) / "sub").mkdir(parents=True, exist_ok=True)
        (many / str(number % 2) / "sub" / f"file{number}").touch()
    index.scan()
    assert len(index.found("file", "file")) == 8
    for path in sorted(many.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    many.rmdir()
    index.scan()
    assert index.tree() == WHOLE
    assert index.found("file", "file") == set()
    assert index.rows("SELECT rowid FROM file_search WHERE file_search MATCH '\"ile\"'") == []
    assert index.found("directory", "sub") == set()


@pytest.mark.parametrize(
    "name",
    [
        b"-rf",
        "Ünï 🎵".encode(),
        b"new\nline",
        b"\xff\xfe",
        "\uef80".encode(),
        b"x" * 255,
        b'"quoted"',
        b"'",
    ],
)
def test_any_name_is_kept_exactly(index: Index, share: Path, name: bytes) -> None:
    directory = os.path.join(os.fsencode(share), name)  # noqa: PTH118
    os.mkdir(directory)  # noqa: PTH102
    with open(os.path.join(directory, name), "wb") as file:  # noqa: PTH118, PTH123
        file.write(b"!")
    index.scan()
    text = text_from_bytes(name)
    assert index.tree()[f"S/{text}/{text}"] == (1, 1)
    index.scan()
    assert index.tree()[f"S/{text}/"] == (1, 1)


def test_hidden_files_are_found_only_where_configured(index: Index, share: Path) -> None:
    (share / ".git").mkdir()
    (share / ".git" / "config").touch()
    (share / "a" / ".thumbs").touch()
    done = index.scan()
    assert index.tree() == WHOLE
    assert done.skipped == 0
    index.scan(hidden=True)
    assert {"S/.git/config", "S/a/.thumbs"} < index.tree().keys()
    index.scan()
    assert index.tree() == WHOLE


def test_links_are_followed_inside_and_nowhere_else(index: Index, share: Path) -> None:
    outside = share.parent / "share2"
    outside.mkdir()
    (outside / "private").touch()
    links = {
        "file": "top.txt",
        "directory": "a/b",
        "absolute": str(share / "a"),
        "out": "../share2/private",
        "out-directory": "../share2",
        "nowhere": "nothing",
        "loop": "loop",
        "self": ".",
        "a/up": "..",
        "device": "/dev/null",
    }
    for name, target in links.items():
        (share / name).symlink_to(target)
    done = index.scan()
    added = {path: what for path, what in index.tree().items() if path not in WHOLE}
    assert added == {
        "S/file": (3, 1),
        "S/directory/": (5, 1),
        "S/directory/deep.txt": (5, 1),
        "S/absolute/": (6, 2),
        "S/absolute/b/": (5, 1),
        "S/absolute/b/deep.txt": (5, 1),
        "S/absolute/one.txt": (1, 1),
    }
    # Seven that lead nowhere or out, and a/up once more through `absolute`.
    assert done.skipped == 8


def test_links_to_each_other_end(index: Index, share: Path) -> None:
    for name in ("p", "q", "r"):
        (share / name).mkdir()
        (share / name / f"in-{name}").touch()
    for name in ("p", "q", "r"):
        for other in {"p", "q", "r"} - {name}:
            (share / name / f"to-{other}").symlink_to(f"../{other}")
    index.scan()
    assert "S/p/to-q/in-q" in index.tree()
    assert "S/p/to-q/to-r/in-r" not in index.tree()


def test_devices_fifos_and_sockets_are_never_shared(index: Index, share: Path) -> None:
    os.mkfifo(share / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(share / "socket"))
    done = index.scan()
    assert index.tree() == WHOLE
    assert done.skipped == 2
    assert any("S/fifo" in reason for reason in done.reasons)


def fail_to_open(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    """Opening the subdirectory `name` fails."""

    def fail(entry: str, dir_fd: int) -> int:
        if entry == name:
            raise OSError(code, os.strerror(code))
        return open_subdirectory(entry, dir_fd)

    monkeypatch.setattr(scan, "open_subdirectory", fail)


def test_a_directory_that_may_not_be_read_is_empty_and_counted(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.scan()
    fail_to_open(monkeypatch, "b", errno.EACCES)
    done = index.scan()
    assert done.skipped == 1
    assert done.reasons == ["S/a/b: Permission denied"]
    assert "S/a/b/deep.txt" not in index.tree()
    assert index.tree()["S/"] == (4, 2)


def test_a_disk_error_leaves_what_the_index_had(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.scan()
    fail_to_open(monkeypatch, "a", errno.EIO)
    done = index.scan()
    assert done.skipped == 1
    assert index.tree() == WHOLE


def test_a_file_that_may_not_be_read_is_counted(
    index: Index, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (share / "a" / "one.txt").chmod(0o000)
    monkeypatch.setattr(reading, "_may_read", lambda entry, fd: False)  # root may read anything
    done = index.scan()
    assert done.skipped == 1
    assert "S/a/one.txt" not in index.tree()


def test_a_share_that_is_away_keeps_its_index(index: Index, share: Path) -> None:
    index.scan()
    share.rename(share.parent / "unplugged")
    with pytest.raises(ShareAway):
        index.scan()
    assert index.tree() == WHOLE


def test_an_empty_mount_point_is_away(
    index: Index, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at = presence.look_at

    def see_a_mount_point(place: Any, **options: Any) -> presence.Presence:
        return replace(look_at(place, **options), mount_point=True)

    monkeypatch.setattr("hdpd.scanner.__main__.look_at", see_a_mount_point)
    index.scan()
    share.rename(share.parent / "mounted")
    share.mkdir()
    with pytest.raises(ShareAway, match="mounted"):
        index.scan()
    assert index.tree() == WHOLE


def test_an_emptied_directory_is_empty(index: Index, share: Path) -> None:
    index.scan()
    share.rename(share.parent / "elsewhere")
    share.mkdir()
    index.scan()
    assert index.tree() == {"S/": (0, 0)}


def test_another_directory_under_the_same_name_starts_afresh(index: Index, share: Path) -> None:
    index.scan()
    index.share = share.parent / "other"
    index.share.mkdir()
    (index.share / "x").touch()
    index.scan()
    assert index.tree() == {"S/": (0, 1), "S/x": (0, 1)}
    assert index.found("file", "deep") == set()


def test_two_shares_live_in_one_index_and_one_is_forgotten(index: Index, share: Path) -> None:
    index.scan(name="S")
    index.scan(name="T")
    assert "T/a/b/deep.txt" in index.tree()
    (root,) = index.rows("SELECT root FROM share WHERE name='S'")[0]
    index.scan(name="T", forget=(root,))
    assert {path.partition("/")[0] for path in index.tree()} == {"T"}


def test_a_scan_that_was_killed_is_completed(
    index: Index, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "BATCH_ROWS", 1)  # every directory is a batch
    compare = scan.Scan._compare
    seen = 0

    def die_at_the_third(self: Any, frame: Any, content: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise KeyboardInterrupt
        compare(self, frame, content)

    monkeypatch.setattr(scan.Scan, "_compare", die_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        index.scan()
    assert index.tree() != WHOLE
    assert index.rows("SELECT name FROM directory WHERE scanned=0")
    monkeypatch.setattr(scan.Scan, "_compare", compare)
    index.scan()
    assert index.tree() == WHOLE


def test_totals_grow_while_the_first_scan_runs(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "BATCH_ROWS", 1)
    totals = []
    flush = writer.IndexWriter.flush

    def flush_and_look(self: writer.IndexWriter) -> None:
        flush(self)
        _ = self.connection  # waits for it
        totals.append(index.tree()["S/"][1])

    monkeypatch.setattr(writer.IndexWriter, "flush", flush_and_look)
    index.scan()
    assert totals == sorted(totals)
    assert totals[0] < totals[-1] == 3
    assert any(0 < total < 3 for total in totals)


def test_a_folding_of_another_version_makes_the_search_tables_anew(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "FOLDING", "0")
    monkeypatch.setattr(upkeep, "fold", lambda name: name.upper())
    index.scan()
    assert index.found("file", "deep") == set()
    monkeypatch.undo()
    index.scan()
    assert index.found("file", "deep") == {"deep.txt"}


def test_a_time_far_in_the_future_is_kept_within_bounds(index: Index, share: Path) -> None:
    os.utime(share / "top.txt", ns=(0, 2**63 + 10**9))
    index.scan()
    (row,) = index.rows("SELECT mtime FROM file WHERE name='top.txt'")
    assert row[0] <= 2**63 - 1


def test_too_deep_a_tree_is_cut_and_counted(index: Index, share: Path) -> None:
    fd = os.open(share, os.O_RDONLY)
    for _ in range(140):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    done = index.scan()
    assert done.skipped == 1
    assert max(path.count("/") for path in index.tree()) == 128
