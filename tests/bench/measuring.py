"""What the benchmarks share: a laboratory in a directory, processor time, memory."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.harness import Daemon, Lab

MiB = 1024 * 1024
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


def seconds_of(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began
