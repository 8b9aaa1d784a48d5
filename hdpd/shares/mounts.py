"""Which file systems are mounted, and the moment when that changes."""

from __future__ import annotations

import asyncio
import os
import re
import select
from collections.abc import Callable
from pathlib import Path

from hdpd.shares.paths import path_below

MOUNTS = Path("/proc/self/mountinfo")

# Where another machine, or a layer below, changes files and this kernel does not notice.
_REMOTE = frozenset(
    {
        *("9p", "afs", "ceph", "cifs", "coda", "davfs", "glusterfs", "lustre", "ncpfs", "nfs"),
        *("nfs4", "ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs"),
    }
)

_ESCAPED = re.compile(rb"\\([0-7]{3})")


def tells_changes(device: int) -> bool:
    """Whether the kernel hears of every change on the file system with that number."""
    wanted = b"%d:%d" % (os.major(device), os.minor(device))
    try:
        lines = MOUNTS.read_bytes().splitlines()
    except OSError:
        return False
    for line in lines:
        mount, _, rest = line.partition(b" - ")
        if mount.split()[2] == wanted:
            kind = rest.split()[0].decode(errors="replace")
            return kind not in _REMOTE and not kind.startswith("fuse")
    # Subvolumes of btrfs have numbers that no mount shows; it is a local file system.
    return True


def mounts_around(path: bytes) -> frozenset[bytes]:
    """The mounts at, above and below a directory, as lines that differ when one is made anew."""
    try:
        lines = MOUNTS.read_bytes().splitlines()
    except OSError:
        return frozenset()
    found = set()
    for line in lines:
        point = _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), line.split()[4])
        if path_below(point, path) is not None or path_below(path, point) is not None:
            found.add(line)
    return frozenset(found)


class MountWatch:
    """Calls `on_change` in the event loop whenever something was mounted or unmounted anywhere."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._mounts = MOUNTS.open("rb")
        # The file can always be read, so the loop itself would find it ready for ever; what the
        # kernel tells of a change is an exceptional condition.
        self._poll = select.epoll()
        self._poll.register(self._mounts, select.EPOLLPRI | select.EPOLLERR)
        self._poll.poll(0)
        asyncio.get_running_loop().add_reader(self._poll.fileno(), self._changed)

    def _changed(self) -> None:
        self._poll.poll(0)
        self._on_change()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._poll.fileno())
        self._poll.close()
        self._mounts.close()
