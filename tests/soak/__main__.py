"""Soaks hdpd: real daemons on ext4 and exFAT for as long as it is told, with random kills, power
cuts, disks that vanish, fill up or turn read-only, clocks that jump, and a source that changes.

    make soak                   for an hour
    make soak MINUTES=10

As root: it mounts. Beside it the machine of tests/downloads runs at low priority. What was
delivered and what was wrong is printed at the end; the exit status is 1 when a byte was, or nothing
moved.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.soak import disks
from tests.soak.world import Soak

RUNS_A_MINUTE = 1_000_000 // 60
MACHINE_PART = 1.5  # of the time of the soak: then it ends with fewer
INSIDE = "SOAK_INSIDE"
"""Names the directory of its own to the process that does it all."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(Exception):
    """By a signal."""


def _begin_machine(minutes: float) -> subprocess.Popen[bytes]:
    runs, seconds = int(minutes * RUNS_A_MINUTE), 60 * minutes * MACHINE_PART
    command = [sys.executable, "-m", "tests.soak.lives", str(runs), str(seconds)]
    return subprocess.Popen(["nice", "-n", "19", *command], stdout=subprocess.PIPE)


def _end_machine(machine: subprocess.Popen[bytes] | None) -> int:
    """1 when it found a fault."""
    if machine is None:
        return 0
    output, _ = machine.communicate()
    print(f"\n{output.decode().rstrip()}", flush=True)
    return int(machine.returncode != 0)


def _missing() -> str | None:
    if os.geteuid() != 0:
        return "needs root to mount"
    search = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    programs = (*disks.PROGRAMS, *disks.EXFAT_PROGRAMS, "unshare", "mosquitto")
    absent = [program for program in programs if shutil.which(program, path=search) is None]
    return f"needs {', '.join(absent)}" if absent else None


def _end(*_: object) -> None:
    raise Ended


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--without-machine", action="store_true")
    arguments = parser.parse_args()
    if (missing := _missing()) is not None:
        print(f"soak: {missing}")
        return 77
    inside = os.environ.get(INSIDE)
    if inside is None:
        return _supervise()
    return _soak(arguments, Path(inside))


def _supervise() -> int:
    """Runs it all with mounts and processes of its own, which end with it, and takes away what it
    leaves, however it ends.
    """
    directory = Path(tempfile.mkdtemp(prefix="hdpd-soak-"))
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    apart = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork"]
    apart += ["--kill-child", "--mount-proc"]
    child = subprocess.Popen(
        [*apart, sys.executable, "-m", "tests.soak", *sys.argv[1:]],
        env={**os.environ, "PATH": path, INSIDE: str(directory)},
        start_new_session=True,  # the terminal's Ctrl-C comes here only
    )

    def hand_on(number: int, _frame: object) -> None:
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        for process in children:
            os.kill(int(process), number)

    for number in ENDING:
        signal.signal(number, hand_on)
    try:
        return child.wait()
    finally:
        child.kill()
        disks.detach_all(directory)
        shutil.rmtree(directory, ignore_errors=True)


def _soak(arguments: argparse.Namespace, directory: Path) -> int:
    for number in ENDING:
        signal.signal(number, _end)
    seed = arguments.seed if arguments.seed is not None else int(time.time())
    print(f"soak: {arguments.minutes:g} minutes, --seed {seed}", flush=True)
    soak, machine, status, is_told = None, None, 0, False
    try:
        if not arguments.without_machine:
            machine = _begin_machine(arguments.minutes)
        soak = Soak(directory, seed)
        soak.run(60 * arguments.minutes)
        print(soak.table(), flush=True)
        is_told = True
        status = _end_machine(machine)
    except Ended:
        print("soak: ended early")
        status = 130
    finally:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        if soak is not None:
            if not is_told:
                print(soak.table(), flush=True)
            soak.close()
            if soak.wrong:
                status = 1
                _keep_logs(directory)
        disks.end_all()
    return status


def _keep_logs(directory: Path) -> None:
    kept = Path(tempfile.mkdtemp(prefix="hdpd-soak-logs-"))
    for log in directory.glob("*/log"):
        shutil.copy(log, kept / f"{log.parent.name}.log")
    print(f"soak: WRONG; the logs are in {kept}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
