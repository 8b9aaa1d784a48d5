"""The index of a large share: scan, search, memory, restart."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

from tests.bench.measuring import laboratory, resident_mb, seconds_of
from tests.bench.report import Row
from tests.bench.trees import make_wide_tree
from tests.e2e.harness import Daemon, wait_for

SEARCHES = (
    ("one word", ("arch", "trac", "0042", "cover"), 50),
    ("three words", ("album 0042 track", "art 3 cov", "arch album 12"), 150),
)


def index_rows(directory: Path, files: int, rounds: int) -> list[Row]:
    """A share of many files: scan, search, restart, memory."""
    rows = []
    with laboratory(directory) as lab:
        a = lab.daemon("a")
        make_wide_tree(a.share, files)
        found = min(seconds_of(lambda: _find(a.share)) for _ in range(2))
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
        overhead = min(seconds_of(lambda: a.rpc("daemon.info")) for _ in range(3))
        for name, queries, goal in SEARCHES:
            latencies = sorted(
                seconds_of(partial(a.rpc, "files.search", query=query, peer="self", limit=100))
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
