"""The kernel's inotify interface, as far as watching directories needs it.

The descriptor is made by hdpd, which reads it, and handed down to the scanner, which adds watches:
so each directory is watched from before it is read, and no change falls in between.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MODIFIED = 0x2
ATTRIBUTES = 0x4
CLOSED_AFTER_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATED = 0x100
DELETED = 0x200
DELETED_ITSELF = 0x400
MOVED_ITSELF = 0x800
UNMOUNTED = 0x2000
OVERFLOWED = 0x4000
REMOVED = 0x8000  # of a watch, not of a file

_ONLY_DIRECTORIES = 0x01000000
_NOT_WHEN_DELETED = 0x04000000

# A file that grows is looked at when its writer closes it.
_CHANGES = (
    ATTRIBUTES | CLOSED_AFTER_WRITE | MOVED_FROM | MOVED_TO | CREATED | DELETED
    | DELETED_ITSELF | MOVED_ITSELF | _ONLY_DIRECTORIES | _NOT_WHEN_DELETED
)  # fmt: skip
_HEADER = struct.Struct("iIII")
_READ_BYTES = 256 * 1024

MAX_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")

_libc = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """What happened in the directory of a watch; without a name to the directory itself."""

    watch: int
    mask: int
    name: bytes


def open_inotify() -> int:
    """A descriptor that does not block; raises OSError where the system has no more."""
    return _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def watch_directory(inotify: int, directory: int) -> int:
    """Watches an open directory; returns the watch, the same one when it is watched already.

    Raises:
        OSError: ENOSPC when the user may have no more watches.
    """
    path = b"/proc/self/fd/%d" % directory
    return _checked(_libc.inotify_add_watch(inotify, path, ctypes.c_uint32(_CHANGES)))


def forget_watch(inotify: int, watch: int) -> None:
    """Ends a watch; one that has ended already is left alone."""
    _libc.inotify_rm_watch(inotify, watch)


def read_events(inotify: int) -> list[Event]:
    """What has happened since, in order; empty when nothing has."""
    try:
        return list(parse_events(os.read(inotify, _READ_BYTES)))
    except BlockingIOError:
        return []


def parse_events(data: bytes) -> Iterator[Event]:
    """The events as the kernel packs them."""
    position = 0
    while position < len(data):
        watch, mask, _cookie, length = _HEADER.unpack_from(data, position)
        position += _HEADER.size
        yield Event(watch, mask, data[position : position + length].rstrip(b"\0"))
        position += length


def max_watches() -> int | None:
    """How many directories all programs of a user may watch together, where the system tells."""
    try:
        return int(MAX_WATCHES.read_text())
    except (OSError, ValueError):
        return None


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
