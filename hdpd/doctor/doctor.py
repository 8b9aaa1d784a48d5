"""Looks at everything once, each look with a time limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from hdpd.config import Config
from hdpd.discovery.status import DiscoveryStatus
from hdpd.doctor import findings
from hdpd.doctor.findings import Finding
from hdpd.doctor.network import Standing, network
from hdpd.downloads.status import DiskStatus, Leftovers
from hdpd.errors import HdpdError
from hdpd.nat.report import NatReport
from hdpd.reload import ConfigurationStatus
from hdpd.shares.inotify import max_watches
from hdpd.shares.status import ShareStatus
from hdpd.threads.blocking import BlockingCalls

LOOK_S: Final = 10.0
BUFFER_BYTES: Final = 8 << 20  # what the endpoint asks for
T = TypeVar("T")


class Subject(Struct, frozen=True):
    """What is looked at: what the other parts tell of themselves."""

    config: Callable[[], Config]
    configuration: Callable[[], ConfigurationStatus]
    shares: Callable[[], list[ShareStatus]]
    list_share: Callable[[str], Awaitable[object]]
    topics: Callable[[], int]
    discovery: Callable[[], DiscoveryStatus]
    nat: Callable[[], NatReport]
    disks: Callable[[], Awaitable[Sequence[DiskStatus]]]
    leftovers: Callable[[], Awaitable[Leftovers]]
    standing: Callable[[], Standing]


class Doctor:
    """The checks, in the order in which they are shown."""

    def __init__(self, subject: Subject, calls: BlockingCalls) -> None:
        """`calls` makes the looks that may block, as a dead mount does."""
        self._subject = subject
        self._calls = calls

    async def examine(self) -> list[Finding]:
        """What was found, in an order for people; within about LOOK_S, whatever does not answer."""
        subject = self._subject
        config = subject.config()
        rows = subject.shares()
        none_readable: list[str] = []
        machine = asyncio.gather(
            self._in_thread(lambda: _open_to_others(config), none_readable),
            self._in_thread(lambda: list(_places(config)), [_stuck("directories")]),
            self._in_thread(_clock, _stuck("clock")),
            self._in_thread(_udp_buffers, _stuck("UDP buffers")),
        )
        downloads = asyncio.gather(subject.disks(), subject.leftovers())
        listed = asyncio.gather(*(self._share(row) for row in rows))
        looks = await asyncio.gather(machine, downloads, listed)
        (readable, places, clock, buffers), (disks, leftovers), shares = looks
        return [
            findings.configuration(subject.configuration(), readable),
            *places,
            *findings.download_disks(disks, leftovers),
            clock,
            buffers,
            findings.inotify(max_watches(), rows),
            *shares,
            findings.topics(subject.topics()),
            *network(subject.standing()),
            *findings.discovery(subject.discovery()),
            *findings.nat(subject.nat()),
        ]

    async def _share(self, row: ShareStatus) -> Finding:
        began = time.monotonic()
        try:
            async with asyncio.timeout(LOOK_S):
                await self._subject.list_share(row.name)
        except (HdpdError, TimeoutError):
            return findings.share(row, None)
        return findings.share(row, time.monotonic() - began)

    async def _in_thread(self, look: Callable[[], T], otherwise: T) -> T:
        try:
            return await self._calls.run(look, LOOK_S)
        except TimeoutError:
            return otherwise


def _stuck(what: str) -> Finding:
    text = f"no answer in {LOOK_S:g} s"
    return Finding(what, "failed", text, "does its disk or mount answer?")


def _open_to_others(config: Config) -> list[str]:
    """The files with topics that everybody may read."""
    if not config.topics:
        return []
    found = []
    for path in config.config_files:
        with contextlib.suppress(OSError):
            directory_is_open = path.parent.stat().st_mode & stat.S_IXOTH
            if path.stat().st_mode & stat.S_IROTH and directory_is_open:
                found.append(str(path))
    return found


def _places(config: Config) -> list[Finding]:
    state, downloads = config.state_dir, config.download_dir
    found = [_writable("state directory", state, "only hdpd's own user may use it")]
    advice = (
        "the directory must be writable for hdpd's user, and as a service it must be named: "
        f"systemctl edit hdpd, [Service] ReadWritePaths={downloads}"
    )
    # Where its disk is away it is not made, and where it never was, it is with the first download.
    if downloads.exists():
        found.append(_writable("download directory", downloads, advice))
    elif not (_nearest(downloads).is_dir() and os.access(_nearest(downloads), os.W_OK)):
        found.append(
            Finding("download directory", "failed", f"{downloads}: cannot be made", advice)
        )
    else:
        found.append(Finding("download directory", "ok", f"{downloads}: made when it is needed"))
    for what, path in (("space for downloads", downloads), ("space for the state", state)):
        with contextlib.suppress(OSError):
            there = _nearest(path)
            numbers = os.statvfs(there)
            found.append(findings.free_space(what, str(there), numbers.f_bavail * numbers.f_frsize))
    return found


def _nearest(path: Path) -> Path:
    """What is there of the way to it."""
    return next(each for each in (path, *path.parents) if each.exists())


def _writable(what: str, path: Path, advice: str) -> Finding:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        return Finding(what, "failed", f"{path}: {error.strerror}", advice)
    return Finding(what, "ok", str(path))


def _clock() -> Finding:
    now = time.time()
    return findings.clock(now, time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now)))


def _udp_buffers() -> Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        sizes = []
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            probe.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
            # The kernel tells twice of what it granted: half is for its own bookkeeping.
            sizes.append(probe.getsockopt(socket.SOL_SOCKET, option) // 2)
    return findings.udp_buffers(*sizes)
