"""Opening what is shared: nothing outside of a share's directory is ever opened, whatever links do.

A name is first opened with O_PATH, which touches neither devices nor FIFOs and follows links; what
the kernel then says that it is (its place and its type) decides, and the very same node is opened
for reading through /proc/self/fd. So a link that is changed meanwhile gains nothing.

Every function blocks, for as long as the file system likes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
import time
from types import TracebackType
from typing import Self

from msgspec import Struct

from hdpd.errors import FileUnreadable, HdpdError, NotADirectory, NotAFile, PathNotFound, ShareAway
from hdpd.ignore import NOTHING, Ignoring, patterns_of
from hdpd.shares.ignorefile import BadIgnoreFile, read_ignore_file
from hdpd.shares.paths import has_hidden_component, is_ours, path_below
from hdpd.wire.fields import MAX_INTEGER
from hdpd.wire.paths import text_from_bytes

_FIND = os.O_PATH | os.O_CLOEXEC
_READ_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_READ_DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY

_TICK_NS = 10_000_000  # of the clock that stamps files, at its slowest (HZ=100)
_COARSE_TICK_NS = 2_000_000_000  # FAT counts in steps of two seconds, others in steps of one
_MOST_WAITS = 3

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


def _in_range(time_ns: int) -> int:
    return max(-MAX_INTEGER, min(MAX_INTEGER, time_ns))


def mtime_of(status: os.stat_result) -> int:
    """The modification time in ns, within what SQLite and the wire can hold (to the year 2262)."""
    return _in_range(status.st_mtime_ns)


def inode_of(status: os.stat_result) -> int:
    """The inode number, within what SQLite can hold."""
    return status.st_ino & MAX_INTEGER


def _validator(size: int, mtime_ns: int, changed_ns: int) -> bytes:
    """What changes whenever a file's content does, opaque to whoever gets it.

    The time of the last change of the inode is part of it, because programs that write into a file
    may set its mtime back, and nobody can set that one. It also changes with permissions, links and
    names, so that a download of the file may start again for nothing, which is better than a wrong
    byte. The kernel's change counter (STATX_CHANGE_COOKIE) is not told to programs. What it cannot
    show: writes through a memory map that was written to shortly before, and file systems that keep
    no such time (exfat-fuse and sshfs tell the mtime in its place).

    The inode number is no part of it: FAT and some network file systems make up a new one each
    time, and a download would start again for nothing.
    """
    seen = struct.pack(">qqq", size, mtime_ns, _in_range(changed_ns))
    # Nobody is told when a file came to this disk.
    return hashlib.blake2b(seen, digest_size=16).digest()


def settled_status(fd: int) -> os.stat_result:
    """What an open file is, once every later change is sure to show: while its last change is of
    this moment, as finely as the file system counts, another one would leave the same time.

    Blocks for a tick of the clock (some ms) after a change, up to some seconds where only whole
    seconds are kept.
    """
    for _ in range(_MOST_WAITS):
        now_ns = time.time_ns()
        status = os.fstat(fd)
        tick_ns = _TICK_NS if status.st_ctime_ns % 1_000_000_000 else _COARSE_TICK_NS
        rest_ns = status.st_ctime_ns + tick_ns - now_ns
        # A time that is ahead is that of another clock, or from before ours was set back.
        if rest_ns < 0 or rest_ns > tick_ns:
            return status
        time.sleep((rest_ns + 1) / 1e9)
    return os.fstat(fd)


class _Descriptor:
    """Something with a file descriptor that is closed at the end of a `with` block."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Closes the descriptor; again is harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class OpenedFile(_Descriptor):
    """A shared file, open for reading, and what it was at that moment."""

    __slots__ = ("_changed_ns", "mtime_ns", "size", "validator")

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        try:
            status = settled_status(fd)
        except BaseException:
            self.close()
            raise
        self.size = status.st_size
        self.mtime_ns = mtime_of(status)
        self._changed_ns = status.st_ctime_ns
        self.validator = _validator(self.size, self.mtime_ns, self._changed_ns)

    def validator_now(self) -> bytes:
        """The validator as it is now: another one when the file has been changed meanwhile. That it
        was removed is no change of what it holds.
        """
        status = os.fstat(self.fd)
        changed_ns = status.st_ctime_ns if status.st_nlink else self._changed_ns
        return _validator(status.st_size, mtime_of(status), changed_ns)


class Node(_Descriptor):
    """A file or directory inside a share, found but not opened for reading."""

    __slots__ = ("below", "status")

    def __init__(self, fd: int, below: bytes, status: os.stat_result) -> None:
        super().__init__(fd)
        self.below = below
        """Where it really is, relative to the share's real directory."""
        self.status = status

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.status.st_mode)

    def reopen(self) -> int:
        """A descriptor that can be read; raises OSError."""
        return os.open(
            f"/proc/self/fd/{self.fd}", _READ_DIRECTORY if self.is_directory else _READ_FILE
        )


class Outside(OSError):
    """A link leads out of the share, or to something hidden in it."""

    def __init__(self) -> None:
        super().__init__(errno.EXDEV, "a link that leads to where nothing is shared")


class Place(Struct, frozen=True):
    """Where a share is, whether names with a leading dot are part of it, and what is left out."""

    path: bytes
    hidden: bool = False
    ignore: tuple[str, ...] | None = ()
    """Patterns besides those of `.hdpignore` files; None: nothing is left out, not even by them."""


class Root(_Descriptor):
    """The directory of a share, held while something in it is opened.

    Raises:
        OSError: it is not there, or not a directory, or /proc is not mounted.
    """

    __slots__ = ("_leaves_out", "hidden", "ignoring", "real")

    def __init__(self, place: Place) -> None:
        super().__init__(os.open(place.path, _FIND | os.O_DIRECTORY))
        self.hidden = place.hidden
        self._leaves_out = place.ignore is not None
        self.ignoring = NOTHING.adding(patterns_of(place.ignore)) if place.ignore else NOTHING
        """What is left out in the share's directory, besides what its own file says."""
        try:
            self.real = real_path(self.fd)
        except OSError:
            self.close()
            raise

    def find(self, path: bytes, dir_fd: int | None = None) -> Node:
        """What the relative `path` leads to, from the share's directory or from `dir_fd` in it.

        Raises:
            Outside: links lead to where nothing is shared.
            OSError: there is nothing, or it cannot be reached.
        """
        fd = os.open(path or b".", _FIND, dir_fd=self.fd if dir_fd is None else dir_fd)
        try:
            below = path_below(self.real, real_path(fd))
            if below is None or (has_hidden_component(below) and not self.hidden):
                raise Outside
            node = Node(fd, below, os.fstat(fd))
            if self.leaves_out(below, is_directory=node.is_directory):
                raise Outside
            return node
        except BaseException:
            os.close(fd)
            raise

    def leaves_out(self, below: bytes, *, is_directory: bool) -> bool:
        """Whether patterns say that this is not shared; it need not be there."""
        if not self._leaves_out or not below:
            return False
        directory, _, name = below.rpartition(b"/")
        try:
            above = self.ignoring_above(directory)
            if above is None or is_ours(name):
                return True
            there = above.adding(read_ignore_file(directory, self.fd).patterns)
        except BadIgnoreFile:
            return True
        return there.hides(text_from_bytes(name), is_directory=is_directory)

    def ignoring_above(self, directory: bytes) -> Ignoring | None:
        """What patterns from further up leave out in that directory, None where it is left out
        itself.

        Raises:
            BadIgnoreFile: one of their files cannot be used.
        """
        current, path = self.ignoring, b""
        for component in directory.split(b"/") if directory else ():
            name = text_from_bytes(component)
            current = current.adding(read_ignore_file(path, self.fd).patterns)
            if current.hides(name, is_directory=True):
                return None
            current = current.below(name)
            path = path + b"/" + component if path else component
        return current


def real_path(fd: int) -> bytes:
    """Where the kernel says that an open file or directory is; raises OSError."""
    return os.readlink(b"/proc/self/fd/%d" % fd)  # noqa: PTH115 - as bytes


def open_subdirectory(name: str, dir_fd: int) -> int:
    """The directory of that name, which is no link, open for reading; raises OSError."""
    return os.open(name, _READ_DIRECTORY | os.O_NOFOLLOW, dir_fd=dir_fd)


def open_file(place: Place, below: bytes) -> OpenedFile:
    """The file at `below` in a share, for reading.

    Raises:
        PathNotFound, NotAFile, FileUnreadable: as named.
        ShareAway: the share's directory is not there.
    """
    with open_root(place) as root, _find(root, below) as node:
        if not node.is_file:
            raise NotAFile(f"{text_from_bytes(below)!r} is not a file")
        try:
            return OpenedFile(node.reopen())
        except OSError as error:
            raise _refusal(error, below) from None


def open_directory(root: Root, below: bytes) -> int:
    """A descriptor of the directory at `below`, for reading its entries.

    Raises:
        PathNotFound, NotADirectory, FileUnreadable: as named.
    """
    with _find(root, below) as node:
        if not node.is_directory:
            raise NotADirectory(f"{text_from_bytes(below)!r} is not a directory")
        try:
            return node.reopen()
        except OSError as error:
            raise _refusal(error, below) from None


def open_root(place: Place) -> Root:
    """The directory of a share; raises ShareAway."""
    try:
        return Root(place)
    except OSError as error:
        path = text_from_bytes(place.path)
        raise ShareAway(f"the shared directory is away: {path}: {error.strerror}") from None


def _find(root: Root, below: bytes) -> Node:
    if has_hidden_component(below) and not root.hidden:
        raise _not_found(below)
    try:
        node = root.find(below)
    except Outside:
        raise _not_found(below) from None
    except OSError as error:
        raise _refusal(error, below) from None
    # Where links lead elsewhere, their names count too.
    if node.below != below and root.leaves_out(below, is_directory=node.is_directory):
        node.close()
        raise _not_found(below)
    return node


def _refusal(error: OSError, below: bytes) -> HdpdError:
    if error.errno in _NOT_THERE:
        return _not_found(below)
    return FileUnreadable(f"{text_from_bytes(below)!r} cannot be read: {error.strerror}")


def _not_found(below: bytes) -> PathNotFound:
    return PathNotFound(f"there is no {text_from_bytes(below)!r} here")
