"""What the benchmarks share: a laboratory in a directory, processor time, memory, programs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.harness import Daemon, Lab
from tests.nat.lab import PATH
from tests.waiting import wait_for

MiB = 1024 * 1024
TICKS = os.sysconf("SC_CLK_TCK")


def _times(stat: Path) -> float:
    """Seconds of processor time, user and system, of a process or a thread."""
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_seconds(daemon: Daemon) -> float:
    """User and system time of the daemon so far, without its children."""
    assert daemon.process is not None
    return _times(Path(f"/proc/{daemon.process.pid}/stat"))


def loop_seconds(daemon: Daemon) -> float:
    """The part of it that the daemon's event loop had."""
    assert daemon.process is not None
    pid = daemon.process.pid
    return _times(Path(f"/proc/{pid}/task/{pid}/stat"))


def resident_mb(daemon: Daemon) -> float:
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


def cores_seconds() -> tuple[float, float]:
    """Since the machine's start: seconds that its cores were busy, and that its host took away."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _waiting, irq, softirq, stolen = map(int, fields[:8])
    return (user + nice + system + irq + softirq) / TICKS, stolen / TICKS


def wait_idle(daemon: Daemon) -> None:
    """Until neither the daemon nor a child of it has anything to do."""
    assert daemon.process is not None
    pid = daemon.process.pid

    def is_idle() -> bool:
        before = cpu_seconds(daemon)
        time.sleep(0.5)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return not children and cpu_seconds(daemon) - before < 0.03

    wait_for("the daemon to be idle", is_idle, within=300)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C and `kill` wait until the block has cleaned up."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def laboratory(directory: Path) -> Iterator[Lab]:
    lab = Lab(Path(tempfile.mkdtemp(prefix="hdp-bench-", dir=directory)))
    try:
        yield lab
    finally:
        with undisturbed():
            try:
                lab.close(show_logs=False)
            finally:
                shutil.rmtree(lab.root, ignore_errors=True)


@contextmanager
def running(*command: str, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is ended with the block, whatever happens in it."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PATH": PATH, **environment},
        )
    try:
        yield process
    finally:
        with undisturbed():
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def seconds_of(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began
