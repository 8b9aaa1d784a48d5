"""Downloads between two daemons on this machine, disk to disk."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from tests.bench.measuring import MiB, cpu_seconds, laboratory, resident_mb
from tests.bench.report import Row
from tests.bench.trees import make_small_files, random_file
from tests.e2e.harness import Daemon, wait_for


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
