"""Whether a share's directory is there: a disk that is not mounted must not empty the index."""

from __future__ import annotations

import os

from msgspec import Struct

from hdpd.errors import ShareAway
from hdpd.shares.opening import Place, open_root
from hdpd.wire.fields import MAX_INTEGER
from hdpd.wire.paths import text_from_bytes


class Presence(Struct, frozen=True):
    """What was seen of a share's directory."""

    device: int
    """The file system's number: what two shares on one disk have in common."""
    mount_point: bool
    file_system: int
    """An id that outlives a reboot, where the file system has one."""


def look_at(place: Place, *, was_mount_point: bool, held_files_on: int | None = None) -> Presence:
    """Sees whether the directory is there and can be read. Blocks as the file system likes.

    `held_files_on` is the file system on which the directory was last found with files in it.

    Raises:
        ShareAway: it is not, or it is empty and on another file system than it was: what is below
            the place where a disk is not mounted at the moment.
    """
    path = text_from_bytes(place.path)
    with open_root(place) as root:
        try:
            status, parent = os.fstat(root.fd), os.stat("..", dir_fd=root.fd)
            file_system = os.fstatvfs(root.fd).f_fsid & MAX_INTEGER
            with os.scandir(b"/proc/self/fd/%d" % root.fd) as entries:
                is_empty = next(entries, None) is None
        except OSError as error:
            raise ShareAway(f"{path} cannot be read: {error.strerror}") from None
    is_root_of_all = (status.st_dev, status.st_ino) == (parent.st_dev, parent.st_ino)
    mount_point = status.st_dev != parent.st_dev or is_root_of_all
    is_elsewhere = held_files_on is not None and held_files_on != file_system
    if is_empty and ((was_mount_point and not mount_point) or is_elsewhere):
        raise ShareAway(f"{path} is empty; the file system that was mounted there is not")
    return Presence(status.st_dev, mount_point, file_system)
