"""Where downloads are written to, and how it is known again: by a mark of ours on it.

A disk that is not mounted leaves an empty directory, or none, where it should be. Nothing may be
written there: what was begun on the disk would begin anew on the one below. So each directory that
is written to has a mark, which is looked for before anything is done there: an extended attribute,
or a file where the file system has none.

All functions block and belong in a worker thread.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from hdpd.downloads.filesystem import (
    Unsupported,
    get_attribute,
    set_attribute,
    storage_error,
    sync_directory,
)
from hdpd.errors import DiskAway, DiskUnavailable, HdpdError, StorageError
from hdpd.wire.fields import MAX_INTEGER

Components = tuple[bytes, ...]

MARKER = ".downloads-of-hdpd"
"""The file that is the mark where there are no attributes."""

ATTRIBUTE = "user.hdpd.downloads"
MARKER_BYTES = 16

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_IN_MEMORY = ("tmpfs", "ramfs")


class Site(Struct, frozen=True):
    """A directory that is written to: `root` is what paths are below, `anchor` the part of them
    that leads to the directory, where another disk is mounted. `marker` is what its file says, once
    it is known.
    """

    root: Path
    anchor: Components = ()
    marker: bytes | None = None
    system: int = 0
    """The id of its file system (statvfs), 0 where that has none."""
    kind: str = ""
    """What kind of file system it is."""

    @property
    def path(self) -> Path:
        return self.root.joinpath(*map(os.fsdecode, self.anchor))


def check(site: Site) -> bool:
    """Looks whether a known site is there; whether it is, with its mark, or has to be prepared.

    Raises:
        DiskAway: it is not, or another one is in its place.
        StorageError: it cannot be looked at.
    """
    if site.marker is None:
        return False
    try:
        with _opened(site.path) as directory:
            return check_marker(directory, site)
    except FileNotFoundError:
        if not _is_same_system(site, _nearest(site.path)):
            raise _away(site) from None
        return False


def check_marker(directory: int, site: Site) -> bool:
    """Like `check`, of the site's directory that is open already. Raises OSError, too."""
    if site.marker is None:
        return False
    there = _read_marker(directory)
    if there == site.marker or (there is None and _is_same_system(site, directory)):
        return there is not None
    if there is None:
        raise _away(site)
    raise DiskAway(
        f"another disk is at {str(site.path)!r}; the download goes on by itself when its own is "
        "back"
    )


def prepare(site: Site) -> Site:
    """Makes the directory where it is not there, and its marker; what it is known by from now on.

    Raises:
        DiskAway: it is known, and not there.
        DiskReadOnly, DiskFull, StorageError: it cannot be written to.
    """
    check(site)
    try:
        site.path.mkdir(parents=True, exist_ok=True)
        with _opened(site.path) as directory:
            check_marker(directory, site)
            marker = _read_marker(directory) or _make_marker(directory, site.marker)
            return replace(site, marker=marker, system=_system_of(directory))
    except OSError as error:
        raise _unusable(error, site) from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _nearest(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _is_same_system(site: Site, where: int | Path) -> bool:
    """Whether the file system is that of the site: then its owner removed what is missing."""
    return site.kind in _IN_MEMORY or (site.system != 0 and _system_of(where) == site.system)


def _system_of(where: int | Path) -> int:
    """The id of the file system, within what SQLite can hold: it has 64 bits and no sign."""
    return os.statvfs(where).f_fsid & MAX_INTEGER


def _read_marker(directory: int) -> bytes | None:
    with contextlib.suppress(Unsupported):
        if (marker := get_attribute(directory, ATTRIBUTE)) is not None:
            return marker
    try:
        descriptor = os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    try:
        return os.read(descriptor, 4 * MARKER_BYTES).strip()
    finally:
        os.close(descriptor)


def _make_marker(directory: int, marker: bytes | None) -> bytes:
    marker = marker or secrets.token_hex(MARKER_BYTES).encode()
    if set_attribute(directory, ATTRIBUTE, marker):
        sync_directory(directory)
        return marker
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(MARKER, flags, 0o644, dir_fd=directory)
    try:
        os.write(descriptor, marker + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(directory)
    return marker


def _away(site: Site) -> DiskAway:
    return DiskAway(
        f"the disk of {str(site.path)!r} is not there; the download goes on by itself when it is"
    )


def _unusable(error: OSError, site: Site) -> HdpdError:
    known = storage_error(error, "use", os.fsencode(site.path))
    if isinstance(known, DiskUnavailable):
        return known
    return StorageError(f"cannot use the download directory {str(site.path)!r}: {error.strerror}")
