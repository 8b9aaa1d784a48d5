"""Transfers over a slow line between two machines of a laboratory (see tests/nat/lab.py); as root.

Beside hdpd, rsync's daemon moves a file over the same line with each of two kinds of TCP.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench.report import Row
from tests.bench.trees import make_small_files, random_file
from tests.e2e.harness import wait_for
from tests.nat.lab import Host, Internet, NatDaemon, Site, missing, program_path

MiB = 1024 * 1024
RSYNC_PORT = 873


@dataclass(frozen=True)
class Line:
    """Bytes per second, seconds one way, and the part of the packets that is lost."""

    name: str
    rate: float
    delay: float
    loss: float


LOSSY = Line("20 Mbit/s, 80 ms, 1 % loss", 2.5e6, 0.04, 0.01)
DISTANT = Line("100 Mbit/s, 50 ms", 12.5e6, 0.025, 0.0)


@contextmanager
def homes_on(line: Line) -> Iterator[tuple[Internet, Site, Site]]:
    with Internet(quiet=True) as internet:
        homes = internet.site("public"), internet.site("public")
        internet.slow_down(*homes, line.rate, line.delay, line.loss)
        yield internet, *homes


def download(a: NatDaemon, b: NatDaemon, name: str) -> float:
    """Seconds until `b` has what `a` shares under that name."""
    began = time.monotonic()
    b.rpc("downloads.add", peer=a.peer_id, path=f"media/{name}")

    def done() -> bool:
        states = {each["state"] for each in b.rpc("downloads.list")["downloads"]}
        assert "failed" not in states, b.rpc("downloads.list")
        return states == {"done"}

    wait_for("the download", done, within=900, poll=0.1)
    return time.monotonic() - began


def connected_pair(internet: Internet, one: Site, other: Site) -> tuple[NatDaemon, NatDaemon]:
    a, b = (internet.daemon(home.host()) for home in (one, other))
    a.start()
    b.start()
    b.wait_connected(a, within=60)
    return a, b


def rsync_seconds(internet: Internet, sender: Host, receiver: Host, size: int, tcp: str) -> float:
    """How long rsync's daemon takes for one file with that congestion control at the sender."""
    offered, target = internet.root / "offered", internet.root / "target"
    for directory in (offered, target):
        directory.mkdir(exist_ok=True)
    random_file(offered / f"film.{tcp}", size)
    route = sender.machine.ip("route show default").partition("congctl")[0]
    sender.machine.ip(f"route replace {route} congctl {tcp}")
    configuration = internet.root / "rsyncd.conf"
    configuration.write_text(f"use chroot = no\nuid = root\n[media]\npath = {offered}\n")
    if not sender.machine.listens(RSYNC_PORT, "tcp"):
        sender.machine.spawn("rsync", "--daemon", "--no-detach", f"--config={configuration}")
        wait_for("rsync's daemon", lambda: sender.machine.listens(RSYNC_PORT, "tcp"))
    began = time.monotonic()
    source = f"rsync://{sender.addresses[0]}/media/film.{tcp}"
    receiver.machine.run("rsync", "--whole-file", source, f"{target}/")
    return time.monotonic() - began


def line_rows(*, quick: bool) -> Iterator[Row]:
    """Nothing where no laboratory can be made."""
    if missing() is not None:
        return
    size = (16 if quick else 96) * MiB
    with homes_on(LOSSY) as (internet, one, other):
        a, b = connected_pair(internet, one, other)
        random_file(a.share / "film", size)
        a.ctl("shares", "rescan")
        a.wait_scanned()
        rate = size / 1e6 / download(a, b, "film")
        yield Row(f"{LOSSY.name}: {size // MiB} MiB", rate, "MB/s", 1.5, "up to 8 connections")
        if program_path("rsync") is not None:
            for tcp, part in (("cubic", 16), ("bbr", 4)):
                seconds = rsync_seconds(internet, a.host, b.host, size // part, tcp)
                rate = size / part / 1e6 / seconds
                yield Row(f"rsync's daemon there, {tcp}", rate, "MB/s", None, "plain text")
    count = 500 if quick else 5000
    with homes_on(DISTANT) as (internet, one, other):
        a, b = connected_pair(internet, one, other)
        make_small_files(a.share / "many", count, 10 * 1024)
        a.ctl("shares", "rescan")
        a.wait_scanned()
        rate = count / download(a, b, "many")
        yield Row(f"{DISTANT.name}: {count} files of 10 KiB", rate, "files/s", 300, "")
