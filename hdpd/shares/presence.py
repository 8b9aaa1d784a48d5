"""Whether a share's directory is there: a disk that is not mounted must not empty the index."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hdpd.errors import ShareAway
from hdpd.shares.opening import Place, open_root
from hdpd.wire.paths import text_from_bytes


@dataclass(frozen=True, slots=True)
class Presence:
    """What was seen of a share's directory."""

    device: int
    """The file system's number: what two shares on one disk have in common."""
    mount_point: bool


def look_at(place: Place, *, was_mount_point: bool) -> Presence:
    """Sees whether the directory is there and can be read. Blocks as the file system likes.

    Raises:
        ShareAway: it is not, or it is the empty directory below a mount point whose file system is
            not mounted at the moment.
    """
    path = text_from_bytes(place.path)
    with open_root(place) as root:
        try:
            status, parent = os.fstat(root.fd), os.stat("..", dir_fd=root.fd)
            with os.scandir(b"/proc/self/fd/%d" % root.fd) as entries:
                is_empty = next(entries, None) is None
        except OSError as error:
            raise ShareAway(f"{path} cannot be read: {error.strerror}") from None
    is_root_of_all = (status.st_dev, status.st_ino) == (parent.st_dev, parent.st_ino)
    mount_point = status.st_dev != parent.st_dev or is_root_of_all
    if was_mount_point and not mount_point and is_empty:
        raise ShareAway(f"{path} is empty; the file system that was mounted there is not")
    return Presence(status.st_dev, mount_point)
