"""Measures transfers and the index between real daemons and prints one table.

Each line is the median of the rounds asked for; both daemons, the disk and this script share the
machine, as they do in the figures of docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench.crowd import TOPIC, crowd_rows
from tests.bench.lines import line_rows
from tests.bench.report import Row, print_table
from tests.bench.trees import make_small_files, make_wide_tree, random_file
from tests.bench.yardsticks import rsync_rows
from tests.e2e.harness import Daemon, Lab, wait_for

MiB = 1024 * 1024
SEARCHES = (
    ("one word", ("arch", "trac", "0042", "cover"), 50),
    ("three words", ("album 0042 track", "art 3 cov", "arch album 12"), 150),
)
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(daemon: Daemon) -> float:
    """User and system time of the daemon so far, without its children."""
    assert daemon.process is not None
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(daemon: Daemon) -> float:
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


@contextmanager
def laboratory(directory: Path) -> Iterator[Lab]:
    lab = Lab(Path(tempfile.mkdtemp(prefix="hdp-bench-", dir=directory)))
    try:
        yield lab
    finally:
        lab.close(show_logs=False)
        shutil.rmtree(lab.root, ignore_errors=True)


def timed_download(sender: Daemon, receiver: Daemon, path: str) -> tuple[float, float]:
    """Seconds from the request to the state `done`, and the receiver's highest memory in MB."""
    began = time.monotonic()
    identifier = receiver.rpc("downloads.add", peer=sender.name, path=path)["id"]
    highest = 0.0

    def state() -> str:
        nonlocal highest
        highest = max(highest, resident_mb(receiver))
        listed = receiver.rpc("downloads.list")["downloads"]
        return str(next(each["state"] for each in listed if each["id"] == identifier))

    reached = wait_for(
        "the download to end",
        lambda: found if (found := state()) in ("done", "failed") else None,
        within=900,
        poll=0.02,
    )
    assert reached == "done", receiver.rpc("downloads.list")
    return time.monotonic() - began, highest


def large_file(directory: Path, engine: str, size_mib: int, rounds: int, goal: float) -> Row:
    """One file, disk to disk."""
    rates, sender_cpu, receiver_cpu, memory = [], [], [], 0.0
    with laboratory(directory) as lab:
        a, b = lab.pair_by_invite("--quic-engine", engine)
        for index in range(rounds):
            random_file(a.share / f"film{index}", size_mib * MiB)
            os.sync()
            before = cpu_seconds(a), cpu_seconds(b)
            seconds, highest = timed_download(a, b, f"media/film{index}")
            gigabytes = size_mib * MiB / 1e9
            rates.append(gigabytes * 1000 / seconds)
            sender_cpu.append((cpu_seconds(a) - before[0]) / gigabytes)
            receiver_cpu.append((cpu_seconds(b) - before[1]) / gigabytes)
            memory = max(memory, highest)
            (b.downloads / f"film{index}").unlink()
            (a.share / f"film{index}").unlink()
    note = (
        f"CPU s/GB: sender {statistics.median(sender_cpu):.1f}, "
        f"receiver {statistics.median(receiver_cpu):.1f}; receiver {memory:.0f} MB"
    )
    name = f"one file of {size_mib} MiB, {engine}"
    return Row(name, statistics.median(rates), "MB/s", goal, note)


def small_files(directory: Path, count: int, rounds: int, goal: float) -> Row:
    """Many files of 10 KiB in one directory tree."""
    rates = []
    with laboratory(directory) as lab:
        a, b = lab.pair_by_invite()
        # Nothing is removed before the end: ext4 looks for inodes that were not deleted just now,
        # and that would cost as much as all the rest.
        for index in range(rounds):
            make_small_files(a.share / f"many{index}", count, 10 * 1024)
        a.ctl("shares", "rescan")
        a.wait_scanned()
        for index in range(rounds):
            os.sync()
            seconds, _highest = timed_download(a, b, f"media/many{index}")
            rates.append(count / seconds)
    return Row(f"{count} files of 10 KiB", statistics.median(rates), "files/s", goal, "")


def crowd(directory: Path, peers: int, seconds: float) -> Iterator[Row]:
    """Many peers at once, who share what there is."""
    with laboratory(directory) as lab:
        daemon = lab.daemon("a", "--topic", TOPIC).start()
        yield from crowd_rows(daemon, peers, seconds)
        yield Row(f"memory with {peers} peers", resident_mb(daemon), "MB", -250, "")


def index(directory: Path, files: int, rounds: int) -> list[Row]:
    """A share of many files: scan, search, restart, memory."""
    rows = []
    with laboratory(directory) as lab:
        a = lab.daemon("a")
        make_wide_tree(a.share, files)
        found = min(_seconds(lambda: _find(a.share)) for _ in range(2))
        a.start()
        began = time.monotonic()
        wait_for("the scan", lambda: _share(a)["files"] == files, within=900, poll=0.05)
        browsable = time.monotonic() - began
        a.wait_scanned(within=900)
        searchable = time.monotonic() - began
        size = sum(path.stat().st_size for path in a.state.glob("index.db*"))
        rows.append(
            Row(
                f"{files} files browsable",
                browsable / found,
                "x find",
                -2.5,
                f"{browsable:.1f} s; find -printf took {found:.1f} s",
            )
        )
        rows.append(Row(f"{files} files searchable", searchable, "s", -60, f"{size / 1e6:.0f} MB"))
        overhead = min(_seconds(lambda: a.rpc("daemon.info")) for _ in range(3))
        for name, queries, goal in SEARCHES:
            latencies = sorted(
                _seconds(partial(a.rpc, "files.search", query=query, peer="self", limit=100))
                for query in queries * max(1, rounds)
            )
            worst = (latencies[int(len(latencies) * 0.95)] - overhead) * 1000
            rows.append(Row(f"first 100 hits of {name}", worst, "ms", -goal, "95th percentile"))
        time.sleep(3)
        rows.append(Row("memory with that index, idle", resident_mb(a), "MB", -80, ""))
        a.stop()
        began = time.monotonic()
        a.start()
        rows.append(Row("restart to ready", time.monotonic() - began, "s", -1, ""))
    return rows


def _share(daemon: Daemon) -> dict[str, int]:
    share: dict[str, int] = daemon.rpc("shares.list")["shares"][0]
    return share


def _find(root: Path) -> None:
    os.system(f"find '{root}' -printf '%p %s %T@\\n' >/dev/null")  # noqa: S605 (our own path)


def _seconds(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller, in about a minute")
    parser.add_argument(
        "--only", choices=("large", "aioquic", "small", "rsync", "lines", "crowd", "index")
    )
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()))
    chosen = parser.parse_args()
    quick, only = chosen.quick, chosen.only
    rounds = 1 if quick else 3
    rows: list[Row] = []
    if only in (None, "large"):
        rows.append(large_file(chosen.directory, "qh3", 256 if quick else 1024, rounds, 200))
    if only in (None, "aioquic"):
        rows.append(large_file(chosen.directory, "aioquic", 64 if quick else 256, rounds, 30))
    if only in (None, "small"):
        rows.append(small_files(chosen.directory, 2000 if quick else 10_000, rounds, 2000))
    if only in (None, "rsync"):
        sizes = (256, 2000) if quick else (1024, 10_000)
        rows.extend(rsync_rows(chosen.directory, *sizes))
    if only in (None, "lines"):
        rows.extend(line_rows(quick=quick))
    if only in (None, "crowd"):
        rows.extend(crowd(chosen.directory, *((20, 20) if quick else (100, 120))))
    if only in (None, "index"):
        rows.extend(index(chosen.directory, 50_000 if quick else 1_000_000, rounds))
    processor = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    print_table(
        f"{processor}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}",
        rows,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
