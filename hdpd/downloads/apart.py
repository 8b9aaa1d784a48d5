"""Partial files that are kept apart from what they become, perhaps on another disk.

All functions block and belong in a worker thread.
"""

from __future__ import annotations

import contextlib
import errno
import os

from hdpd.downloads.directories import Directories
from hdpd.downloads.site import Site
from hdpd.errors import HdpdError

COPY_BYTES = 8 * 1024 * 1024

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def bring_here(site: Site, name: bytes, parent: int) -> None:
    """Brings a complete partial file into the open directory `parent`, under the same name: moved,
    or copied from another disk, where it stays until `remove_apart`. Nothing is synced.

    Raises:
        OSError, HdpdError: it cannot be brought.
    """
    with Directories(site) as directories:
        there = directories.open(())
        try:
            os.rename(name, name, src_dir_fd=there, dst_dir_fd=parent)
        except FileNotFoundError:
            os.stat(name, dir_fd=parent, follow_symlinks=False)  # brought before
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(there, parent, name)


def remove_apart(site: Site, name: bytes) -> None:
    """Removes what was brought and has its name now."""
    with contextlib.suppress(OSError, HdpdError), Directories(site) as directories:
        os.unlink(name, dir_fd=directories.open((), create=False))


def _copy(there: int, here: int, name: bytes) -> None:
    source = os.open(name, _READ, dir_fd=there)
    try:
        # What could not be written out there, is not to be read from the cache either.
        os.fsync(source)
        target = os.open(name, _WRITE, 0o666, dir_fd=here)
        try:
            while data := os.read(source, COPY_BYTES):
                while data:
                    data = data[os.write(target, data) :]
        finally:
            os.close(target)
    finally:
        os.close(source)
