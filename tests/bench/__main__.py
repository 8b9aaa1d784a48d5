"""Measures transfers and the index between real daemons, and the field's usual tools beside them.

    make bench                                       everything, about twenty minutes
    make bench-quick                                 a smaller one of everything, in three minutes
    make bench BENCH_ARGS="--only large rsync scp"   some groups: see GROUPS

What is measured in rounds is their median. Both ends, the disk and this script share the machine.
Figures that miss their goal change nothing about the exit status, only what cannot be measured.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.crowd import crowd_rows
from tests.bench.disk import missing, new_disk
from tests.bench.index import index_rows
from tests.bench.limits import limit_rows
from tests.bench.lines import cut_rows, line_rows
from tests.bench.machine import machine
from tests.bench.report import Line, table
from tests.bench.transfers import beside_a_scan, large_file, small_files
from tests.bench.yardsticks import TOOLS, tool_rows


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything."""

    directory: Path
    quick: bool

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 3

    @property
    def large_mib(self) -> int:
        return 256 if self.quick else 1024

    @property
    def small(self) -> int:
        return 2000 if self.quick else 10_000


Group = Callable[[Scale], Iterable[Line]]


def _tool(name: str) -> Group:
    return lambda scale: tool_rows(
        TOOLS[name], scale.directory, scale.large_mib, scale.small, scale.rounds
    )


GROUPS: dict[str, Group] = {
    "large": lambda s: [large_file(s.directory, "qh3", s.large_mib, s.rounds, 250)],
    "small": lambda s: [small_files(s.directory, s.small, s.rounds, 3000)],
    **{name: _tool(name) for name in TOOLS},
    "aioquic": lambda s: [
        large_file(s.directory, "aioquic", 64 if s.quick else 256, s.rounds, 30),
    ],
    "scan": lambda s: beside_a_scan(
        s.directory, s.large_mib, *((100_000, 1) if s.quick else (1_000_000, 4))
    ),
    "lines": lambda s: line_rows(quick=s.quick),
    "cut": lambda s: cut_rows(quick=s.quick),
    "limits": lambda s: limit_rows(s.directory, quick=s.quick),
    "crowd": lambda s: crowd_rows(s.directory, *((20, 8) if s.quick else (100, 120))),
    "index": lambda s: index_rows(s.directory, 50_000 if s.quick else 1_000_000, s.rounds),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a smaller one, in three minutes")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()))
    chosen = parser.parse_args()
    # A `kill` ends it as Ctrl-C does: what was started is ended, what was made is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    lines: list[Line] = []
    failed = []
    if (reason := missing()) is not None:
        lines.append(f"there is no new file system for each group: {reason}")
    if chosen.quick:
        lines.append("this is the smaller one; the goals are those of the whole one")
    for name in chosen.only:
        began = time.monotonic()
        try:
            with new_disk(chosen.directory) as disk:
                for line in GROUPS[name](Scale(disk, chosen.quick)):
                    print(line, file=sys.stderr)
                    lines.append(line)
        except Exception:  # noqa: BLE001 (the other groups are measured all the same)
            traceback.print_exc()
            failed.append(name)
        print(f"({name}: {time.monotonic() - began:.0f} s)", file=sys.stderr)
    print(f"\n{machine()}\n\n{table(lines)}\n")
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
