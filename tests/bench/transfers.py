"""Downloads between two daemons on this machine, disk to disk."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measuring import MiB, laboratory, resident_mb, wait_idle
from tests.bench.report import Row
from tests.bench.trees import make_small_files, make_wide_tree, random_file
from tests.bench.usage import Meter, Usage
from tests.e2e.harness import Daemon
from tests.waiting import wait_for


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
        poll=0.05,  # each costs both sides of the question some milliseconds
    )
    assert reached == "done", receiver.rpc("downloads.list")
    return time.monotonic() - began, highest


def _middle(seconds: list[float], usages: list[Usage]) -> tuple[float, Usage]:
    """The round of the median, and who was busy in it."""
    middle = seconds.index(statistics.median_low(seconds))
    return seconds[middle], usages[middle]


def large_file(directory: Path, engine: str, size_mib: int, rounds: int, goal: float) -> Row:
    """One file, disk to disk."""
    seconds, usages, memory = [], [], 0.0
    gigabytes = size_mib * MiB / 1e9
    with laboratory(directory) as lab:
        a, b = lab.pair_by_invite("--quic-engine", engine)
        for index in range(rounds):
            random_file(a.share / f"film{index}", size_mib * MiB)
            os.sync()
            meter = Meter(a, b)
            elapsed, highest = timed_download(a, b, f"media/film{index}")
            usages.append(meter.usage())
            seconds.append(elapsed)
            memory = max(memory, highest)
            (b.downloads / f"film{index}").unlink()
            (a.share / f"film{index}").unlink()
    middle, usage = _middle(seconds, usages)
    note = (
        f"CPU s/GB: sender {usage.sender_cpu / gigabytes:.1f}, "
        f"receiver {usage.receiver_cpu / gigabytes:.1f}; {usage}; receiver {memory:.0f} MB"
    )
    name = f"one file of {size_mib} MiB, {engine}"
    return Row(name, gigabytes * 1000 / middle, "MB/s", goal, note)


def small_files(directory: Path, count: int, rounds: int, goal: float) -> Row:
    """Many files of 10 KiB in one directory tree."""
    seconds, usages = [], []
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
            meter = Meter(a, b)
            seconds.append(timed_download(a, b, f"media/many{index}")[0])
            usages.append(meter.usage())
    middle, usage = _middle(seconds, usages)
    note = (
        f"CPU ms a file: sender {usage.sender_cpu * 1000 / count:.2f}, "
        f"receiver {usage.receiver_cpu * 1000 / count:.2f}; {usage}"
    )
    name = f"{count} files of 10 KiB, qh3"
    return Row(name, count / middle, "files/s", goal, note)


def beside_a_scan(directory: Path, size_mib: int, files: int, rounds: int) -> Iterator[Row]:
    """What the first scan of a large share costs a transfer from the same daemon: each download
    beside one is compared with those just before and after it, because machines drift.
    """
    alone, beside, scanned = [], [], []
    with laboratory(directory) as lab:
        a, b = lab.pair_by_invite()
        tree = lab.root / "tree"
        make_wide_tree(tree, files)
        random_file(a.share / "film", size_mib * MiB)

        def download() -> float:
            os.sync()
            seconds = timed_download(a, b, "media/film")[0]
            (b.downloads / "film").unlink()
            return seconds

        for _ in range(rounds):
            alone.append(download())
            a.rpc("shares.add", path=str(tree), name="tree")
            beside.append(download())
            shares = a.rpc("shares.list")["shares"]
            tree_share = next(share for share in shares if share["name"] == "tree")
            scanned.append(tree_share["files"] / files)
            a.wait_scanned(within=900)
            a.rpc("shares.remove", name="tree")
            wait_idle(a)  # what the index holds of it is removed later
        alone.append(download())
    around = [(alone[index] + alone[index + 1]) / 2 for index in range(rounds)]
    costs = [1 - before / during for before, during in zip(around, beside, strict=True)]
    rate = size_mib * MiB / 1e6 / statistics.median(alone)
    note = (
        f"{rate:.0f} MB/s alone; each time: {', '.join(f'{cost:.0%}' for cost in costs)}; "
        f"{statistics.median(scanned):.0%} of it was scanned by the end"
    )
    name = f"cost of scanning {files} files beside one of {size_mib} MiB"
    yield Row(name, 100 * statistics.median(costs), "%", -10, note)
