"""Which file systems are mounted, and the moment when that changes."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable

from hdpd.mountinfo import MOUNTINFO, parse_mounts
from hdpd.shares.paths import path_below

# Where another machine, or a layer below, changes files and this kernel does not notice.
_REMOTE = frozenset(
    {
        *("9p", "afs", "ceph", "cifs", "coda", "davfs", "glusterfs", "lustre", "ncpfs", "nfs"),
        *("nfs4", "ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs"),
    }
)


def tells_changes(device: int) -> bool:
    """Whether the kernel hears of every change on the file system with that number."""
    wanted = b"%d:%d" % (os.major(device), os.minor(device))
    try:
        mounts = parse_mounts(MOUNTINFO.read_bytes())
    except OSError:
        return False
    for mount in mounts:
        if mount.device == wanted:
            return mount.kind not in _REMOTE and not mount.kind.startswith("fuse")
    # Subvolumes of btrfs have numbers that no mount shows; it is a local file system.
    return True


def mounts_around(path: bytes) -> frozenset[bytes]:
    """The mounts at, above and below a directory, as lines that differ when one is made anew."""
    try:
        mounts = parse_mounts(MOUNTINFO.read_bytes())
    except OSError:
        return frozenset()
    return frozenset(
        mount.line
        for mount in mounts
        if path_below(mount.point, path) is not None or path_below(path, mount.point) is not None
    )


class MountWatch:
    """Calls `on_change` in the event loop whenever something was mounted or unmounted anywhere."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._mounts = MOUNTINFO.open("rb")
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
        """Ends it; `on_change` is not called any more."""
        asyncio.get_running_loop().remove_reader(self._poll.fileno())
        self._poll.close()
        self._mounts.close()
