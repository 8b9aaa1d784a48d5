"""The kernel's list of mounts: which file systems there are, and which one a path lies on. Pure.

Asking the path itself (`stat`) would hang when it lies on a network mount that has died.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

MOUNTINFO = Path("/proc/self/mountinfo")
"""The list, made up by the kernel in memory (proc_pid_mountinfo(5)); no disk is asked for it."""

_ESCAPE = re.compile(rb"\\([0-7]{3})")


class Mount(Struct, frozen=True):
    """A mounted file system: its directory, its device number as the kernel writes it, its kind,
    and the line as a whole, which is another one when it was mounted anew.
    """

    point: bytes
    device: bytes
    kind: str = ""
    line: bytes = b""


ROOT = Mount(b"/", b"")


def parse_mounts(mountinfo: bytes) -> list[Mount]:
    """The lines of MOUNTINFO, in their order; lines of another form are left out."""
    mounts = []
    for line in mountinfo.splitlines():
        mount, _, file_system = line.partition(b" - ")
        words = mount.split(b" ")
        if len(words) > 4:  # id, parent, major:minor, root, mount point, ...
            point = _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), words[4])
            kind = file_system.partition(b" ")[0].decode(errors="replace")
            mounts.append(Mount(point, words[2], kind, line))
    return mounts


def mount_of(path: bytes, mounts: Sequence[Mount]) -> Mount:
    """The mount that an absolute path without links lies on; of two at one place the later one,
    which hides the other.
    """
    best = ROOT
    for mount in mounts:
        below = mount.point if mount.point.endswith(b"/") else mount.point + b"/"
        if len(mount.point) >= len(best.point) and (path + b"/").startswith(below):
            best = mount
    return best
