"""Transfers over slow lines between two machines of a laboratory (see tests/nat/lab.py); as root.

Beside hdpd, over the same line: hdpd held to one connection, and scp with each of two kinds of TCP.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.measuring import MiB, seconds_of
from tests.bench.report import Line, Row
from tests.bench.ssh import make_keys, privilege_separation, scp_command, sshd_command
from tests.bench.trees import make_small_files, random_file
from tests.nat.lab import Internet, NatDaemon, Site, missing, program_path
from tests.waiting import wait_for

SSH_PORT = 22
SSH_PROGRAMS = ("scp", "sshd", "ssh-keygen")


@dataclass(frozen=True, slots=True)
class Condition:
    """Bytes per second, seconds one way, the part of the packets that is lost, and for how many
    seconds at the end of every how many it is cut.
    """

    name: str
    rate: float
    delay: float
    loss: float
    cut: tuple[float, ...] = ()


LOSSY = Condition("20 Mbit/s, 80 ms, 1 % loss", 2.5e6, 0.04, 0.01)
DISTANT = Condition("400 Mbit/s, 50 ms", 50e6, 0.025, 0.0)
CUT = Condition("the lossy line, cut 20 s a minute", 2.5e6, 0.04, 0.01, (20, 60))


@contextmanager
def homes_on(line: Condition) -> Iterator[tuple[Internet, Site, Site]]:
    with Internet(quiet=True) as internet:
        homes = internet.site("public"), internet.site("public")
        internet.slow_down(*homes, line.rate, line.delay, line.loss, *line.cut)
        yield internet, *homes


def connected_pair(internet: Internet, one: Site, other: Site) -> tuple[NatDaemon, NatDaemon]:
    """The one that sends, and the one that receives."""
    a, b = (internet.daemon(home.host()) for home in (one, other))
    a.start()
    b.start()
    b.wait_connected(a, within=60)
    return a, b


def offer(a: NatDaemon) -> None:
    a.ctl("shares", "rescan")
    a.wait_scanned()


def download(a: NatDaemon, b: NatDaemon, name: str) -> tuple[float, dict[str, Any]]:
    """Seconds until `b` has what `a` shares under that name, and what `b` tells of it."""
    began = time.monotonic()
    b.rpc("downloads.add", peer=a.peer_id, path=f"media/{name}")

    def done() -> dict[str, Any] | None:
        found: dict[str, Any] = b.rpc("downloads.list")["downloads"][0]
        assert found["state"] != "failed", found
        return found if found["state"] == "done" else None

    told = wait_for("the download", done, within=900, poll=0.1)
    assert told is not None
    return time.monotonic() - began, told


def round_trip_ms(a: NatDaemon, b: NatDaemon) -> float:
    """As `b` measured it so far."""
    peers = b.rpc("peers.list")["peers"]
    return 1000 * float(next(peer["rtt"] for peer in peers if peer["id"] == a.peer_id))


def line_rows(*, quick: bool) -> Iterator[Line]:
    if (reason := missing()) is not None:
        yield f"lines are left out: {reason}"
        return
    yield from lossy_rows(8 if quick else 96)
    yield from distant_rows(500 if quick else 5000)


def lossy_rows(size_mib: int) -> Iterator[Line]:
    """Where TCP with CUBIC and one connection are slow, their files are smaller: long enough all
    the same to be beyond the slow start.
    """
    part_mib = max(1, size_mib // 12)
    with homes_on(LOSSY) as (internet, one, other):
        a, b = connected_pair(internet, one, other)
        random_file(a.share / "film", size_mib * MiB)
        random_file(a.share / "part", part_mib * MiB)
        offer(a)
        before = _sent_bytes(a)
        rate = size_mib * MiB / 1e6 / download(a, b, "film")[0]
        on_the_line = (_sent_bytes(a) - before) / (size_mib * MiB)
        connections = max(map(int, re.findall(r"(\d+) connections with", b.log())), default=1)
        note = (
            f"qh3, up to {connections} connections; "
            f"measured round trip {round_trip_ms(a, b):.0f} ms; "
            f"{on_the_line:.2f} times the file went over the line, with headers and what was lost"
        )
        yield Row(f"{LOSSY.name}: {size_mib} MiB", rate, "MB/s", 1.5, note)
        b.stop()
        single = internet.daemon(b.host)
        single.module = "tests.bench.one_connection"
        single.start().wait_connected(a, within=60)
        rate = part_mib * MiB / 1e6 / download(a, single, "part")[0]
        yield Row(f"hdpd there, held to one connection: {part_mib} MiB", rate, "MB/s", None, "qh3")
        single.stop()
        a.stop()
        yield from scp_rows(internet, a, b, {"cubic": "part", "bbr": "film"})


def scp_rows(
    internet: Internet, a: NatDaemon, b: NatDaemon, files: dict[str, str]
) -> Iterator[Line]:
    """Copies from a's machine to b's, with each congestion control the file that is named."""
    lacking = [program for program in SSH_PROGRAMS if program_path(program) is None]
    if lacking:
        yield f"scp over lines is left out: {', '.join(lacking)} is not installed"
        return
    sender, address = a.host.machine, a.host.addresses[0]
    offered = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    make_keys(internet.root)
    with privilege_separation():
        sender.spawn(*sshd_command(internet.root, address, SSH_PORT))
        wait_for("sshd", lambda: sender.listens(SSH_PORT, "tcp"))
        for tcp, name in files.items():
            if tcp not in offered:
                yield f"scp with {tcp} is left out: this kernel has it not"
                continue
            route = sender.ip("route show default").partition("congctl")[0]
            sender.ip(f"route replace {route} congctl {tcp}")
            source = a.share / name
            command = scp_command(internet.root, address, SSH_PORT, source, b.downloads / tcp)
            seconds = seconds_of(lambda command=command: b.host.machine.run(*command))  # type: ignore[misc]
            size = source.stat().st_size
            row_name = f"scp there, TCP with {tcp.upper()}: {size // MiB} MiB"
            yield Row(row_name, size / 1e6 / seconds, "MB/s", None, "encrypted")


def distant_rows(count: int) -> Iterator[Line]:
    with homes_on(DISTANT) as (internet, one, other):
        a, b = connected_pair(internet, one, other)
        make_small_files(a.share / "many", count, 10 * 1024)
        offer(a)
        before = round_trip_ms(a, b)
        seconds, told = download(a, b, "many")
        note = (
            f"qh3; measured round trip {before:.0f} ms before it; "
            f"{told['received_bytes'] / seconds / DISTANT.rate:.0%} of the line"
        )
        yield Row(f"{DISTANT.name}: {count} files of 10 KiB", count / seconds, "files/s", 300, note)


def cut_rows(*, quick: bool) -> Iterator[Line]:
    """How often a file's bytes come, and how long it takes."""
    if (reason := missing()) is not None:
        yield f"the line that is cut is left out: {reason}"
        return
    if quick:
        yield f"{CUT.name}, is left out of the smaller one: it takes three minutes"
        return
    size = 128 * MiB
    with homes_on(CUT) as (internet, one, other):
        a, b = connected_pair(internet, one, other)
        random_file(a.share / "film", size)
        offer(a)
        before = _sent_bytes(a)
        seconds, told = download(a, b, "film")
        on_the_line = (_sent_bytes(a) - before) / size
        again = 100 * (told["received_bytes"] / size - 1)
        note = (
            f"{on_the_line:.2f} times the file went over the line, with headers and what was lost"
        )
        yield Row(f"{CUT.name}: received twice", again, "%", -2, note)
        note = f"qh3; {size // MiB} MiB in {seconds:.0f} s, cuts among them"
        yield Row(CUT.name, size / 1e6 / seconds, "MB/s", None, note)


def _sent_bytes(daemon: NatDaemon) -> int:
    """What its machine sent so far."""
    return int(daemon.host.machine.run("cat", "/sys/class/net/wan/statistics/tx_bytes"))
