"""Measures transfers and the index between real daemons and prints one table.

Each line is the median of the rounds asked for; both daemons, the disk and this script share the
machine, as they do in the figures of docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.crowd import TOPIC, crowd_rows
from tests.bench.index import index_rows
from tests.bench.lines import line_rows
from tests.bench.measuring import laboratory, resident_mb
from tests.bench.report import Row, print_table
from tests.bench.transfers import large_file, small_files
from tests.bench.yardsticks import rsync_rows


def crowd(directory: Path, peers: int, seconds: float) -> Iterator[Row]:
    """Many peers at once, who share what there is."""
    with laboratory(directory) as lab:
        daemon = lab.daemon("a", "--topic", TOPIC).start()
        yield from crowd_rows(daemon, peers, seconds)
        yield Row(f"memory with {peers} peers", resident_mb(daemon), "MB", -250, "")


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
        rows.extend(index_rows(chosen.directory, 50_000 if quick else 1_000_000, rounds))
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
