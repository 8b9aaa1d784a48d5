"""Which file system a path lies on, told from the kernel's list of mounts. Pure.

Asking the path itself (`stat`) would hang when it lies on a network mount that has died.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: its directory, and its device number as the kernel writes it."""

    point: bytes
    device: bytes


ROOT = Mount(b"/", b"")


def parse_mounts(mountinfo: bytes) -> list[Mount]:
    """The lines of /proc/self/mountinfo, in their order; lines of another form are left out."""
    mounts = []
    for line in mountinfo.splitlines():
        words = line.split(b" ")
        if len(words) > 4:  # id, parent, major:minor, root, mount point, ...
            point = _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), words[4])
            mounts.append(Mount(point, words[2]))
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
