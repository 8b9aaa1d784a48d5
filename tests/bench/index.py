"""The index of a large share: scan, search, pages, memory, freshness, and what goes on at rest.

The tree is one of a music archive; a second share is one directory with a tenth as many files.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.bench.measuring import cpu_seconds, laboratory, resident_mb, seconds_of
from tests.bench.report import Row
from tests.bench.trees import make_wide_tree
from tests.e2e.harness import Daemon, Lab
from tests.waiting import wait_for

# Words that nothing has, that a few have, and that everything has, in names of all kinds.
SEARCHES = (
    ("one word", ("arch", "trac", "0042", "cover", "of", "flac"), 50),
    (
        "three words",
        (
            *("album 0042 track", "art 3 cov", "arch album 12", "artist album track"),
            *("00012 3 05", "artist 77 something", "track of zzz", "album 3 777"),
        ),
        150,
    ),
)
SORTS = ("name", "-name", "size", "-mtime")
MOVED_FILES = 10_000
SETTLE_SECONDS = 3  # a directory that was read so soon after a change is read once more


def index_rows(directory: Path, files: int, rounds: int) -> list[Row]:
    """All figures of a share of so many files."""
    quick = rounds == 1
    with laboratory(directory) as lab:
        return list(_rows(lab, files, max(1, rounds), 10 if quick else 60))


def _rows(lab: Lab, files: int, rounds: int, idle_seconds: int) -> Iterator[Row]:
    a = lab.daemon("a")
    moved = min(MOVED_FILES, files // 10)
    make_wide_tree(a.share, files - moved)
    _make_flat(a.share / "Artist 00000" / "Many", moved)
    _make_flat(a.root / "flat", files // 10)
    yield from _first_scan(a, files)
    time.sleep(SETTLE_SECONDS)
    yield Row("memory with that index", resident_mb(a), "MB", -80, "all of it watched")
    for name, queries, goal in SEARCHES:
        yield _search_row(a, f"first 100 hits of {name}", queries * rounds, goal)
    yield _page_row(a, files // 10)
    for name, queries, goal in SEARCHES:
        yield _search_row(
            a, f"{name} while a scan runs", itertools.cycle(queries), goal, scanning=True
        )
    yield from _fresh(a, moved)
    yield from _rest(a, idle_seconds)
    a.stop()
    began = time.monotonic()
    a.start()
    yield Row("restart to ready", time.monotonic() - began, "s", -1, "")
    _scanned(a)
    time.sleep(SETTLE_SECONDS)
    yield Row("memory after a restart", resident_mb(a), "MB", -80, "")


def _first_scan(a: Daemon, files: int) -> Iterator[Row]:
    found = min(seconds_of(lambda: _find(a.share)) for _ in range(2))
    a.start()
    began = time.monotonic()
    most = 0.0

    def is_browsable() -> bool:
        nonlocal most
        most = max(most, _resident_with_children(a))
        return bool(_share(a)["files"] == files)

    wait_for("the scan", is_browsable, within=900, poll=0.05)
    browsable = time.monotonic() - began

    def is_searchable() -> bool:
        nonlocal most
        most = max(most, _resident_with_children(a))
        return bool(_share(a)["state"] == "ready" and _share(a)["searchable"])

    wait_for("the search tables", is_searchable, within=900, poll=0.1)
    searchable = time.monotonic() - began
    note = f"{browsable:.1f} s; find -printf took {found:.1f} s"
    # Of a small tree this is the time that a scanner takes to start.
    goal = -2.5 if files >= 500_000 else None
    yield Row(f"{files} files browsable", browsable / found, "x find", goal, note)
    yield Row(f"{files} files searchable", searchable, "s", -60, "")
    size = sum(path.stat().st_size for path in a.state.glob("*.db*"))
    yield Row("size of the databases", size / files, "bytes a file", -250, f"{size / 1e6:.0f} MB")
    yield Row("memory while scanning", most, "MB", -150, "hdpd and its scanner")


def _search_row(
    a: Daemon,
    name: str,
    queries: tuple[str, ...] | Iterator[str],
    goal: int,
    *,
    scanning: bool = False,
) -> Row:
    """The time of the 95th of a hundred; while `scanning`, of as many as fit into one scan."""
    overhead = min(seconds_of(lambda: a.rpc("daemon.info")) for _ in range(3))
    if scanning:
        a.rpc("shares.rescan", name="media")
    latencies = []
    for query in queries:
        if scanning and _share(a)["state"] != "scanning":
            break
        search = partial(a.rpc, "files.search", query=query, peer="self", limit=100)
        latencies.append(max(0.0, seconds_of(search) - overhead) * 1000)
    latencies.sort()
    note = f"95th percentile of {len(latencies)}; the worst took {latencies[-1]:.0f} ms"
    return Row(name, latencies[int(len(latencies) * 0.95)], "ms", -goal, note)


def _page_row(a: Daemon, entries: int) -> Row:
    """Pages of a directory of many entries, at its beginning and further in."""
    a.rpc("shares.add", path=str(a.root / "flat"), name="flat")
    _scanned(a)
    overhead = min(seconds_of(lambda: a.rpc("daemon.info")) for _ in range(3))
    times = []
    for sort in SORTS:
        cursor = None
        for _ in range(5):
            asked = {"path": "flat", "peer": "self", "sort": sort, "limit": 100, "cursor": cursor}
            began = time.monotonic()
            page = a.rpc("files.list", **asked)
            times.append(max(0.0, time.monotonic() - began - overhead) * 1000)
            cursor = page["next_cursor"]
    note = f"of {entries} entries, the worst of {len(times)} pages of 100"
    return Row("page of a directory", max(times), "ms", -20, note)


def _fresh(a: Daemon, moved: int) -> Iterator[Row]:
    """How soon changes are seen."""
    began = time.monotonic()
    a.rpc("shares.rescan", name="media")
    _scanned(a)
    took = time.monotonic() - began
    yield Row("rescan of everything, unchanged", took, "s", None, "every directory is read")
    album = a.share / "Artist 00001" / "Album 1 of 1"
    times = []
    for number in range(5):
        (album / f"new {number}").touch()
        seen = partial(_lists, a, "media/Artist 00001/Album 1 of 1", f"new {number}")
        times.append(seconds_of(partial(wait_for, "the new file", seen, poll=0.02)))
        time.sleep(1)
    yield Row("new file visible", max(times), "s", -2, f"the slowest of {len(times)}")
    (a.share / "Artist 00000" / "Many").rename(a.share / "Artist 00002" / "Renamed")

    def is_indexed() -> bool:
        return bool(a.rpc("files.search", query="renamed 0", peer="self", limit=1)["hits"])

    took = seconds_of(partial(wait_for, "the renamed directory", is_indexed, poll=0.02))
    yield Row(f"renamed directory of {moved} files", took, "s", -2, "until a search finds them")


def _rest(a: Daemon, seconds: int) -> Iterator[Row]:
    """What is done while nothing happens, for a minute."""
    time.sleep(SETTLE_SECONDS)
    cpu, read = cpu_seconds(a), _bytes_read(a)
    time.sleep(seconds)
    spent = (cpu_seconds(a) - cpu) * 60 / seconds
    yield Row("one idle minute: processor", spent, "s", -10 / 60, f"in {seconds} s")
    yield Row("one idle minute: read", _bytes_read(a) - read, "bytes", 0, "of any disk")


def _lists(a: Daemon, path: str, name: str) -> bool:
    try:
        page = a.rpc("files.list", path=path, peer="self", limit=1000)
    except Exception:  # noqa: BLE001 - it is not there yet
        return False
    return any(entry["path"].endswith(f"/{name}") for entry in page["entries"])


def _scanned(a: Daemon) -> None:
    a.wait_scanned(within=900)


def _share(daemon: Daemon) -> dict[str, object]:
    shares = daemon.rpc("shares.list")["shares"]
    return next(share for share in shares if share["name"] == "media")


def _resident_with_children(daemon: Daemon) -> float:
    """The memory of the daemon and of what it has started."""
    assert daemon.process is not None
    pid = daemon.process.pid
    total = resident_mb(daemon)
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            pages = int(Path(f"/proc/{child}/statm").read_text().split()[1])
        except FileNotFoundError:
            continue
        total += pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return total


def _bytes_read(daemon: Daemon) -> int:
    """What the daemon has read from disks so far."""
    assert daemon.process is not None
    lines = Path(f"/proc/{daemon.process.pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def _make_flat(directory: Path, files: int) -> None:
    directory.mkdir(parents=True)
    descriptor = os.open(directory, os.O_RDONLY)
    for number in range(files):
        os.close(os.open(f"{number}", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=descriptor))
    os.close(descriptor)


def _find(root: Path) -> None:
    os.system(f"find '{root}' -printf '%p %s %T@\\n' >/dev/null")  # noqa: S605 (our own path)
