"""The partial file of a large download: written in ranges, synced behind, kept over a crash.

It lies next to its target under a short name made of ids, so that a target's name may have full
length. One of them is random, and in an attribute of the file too: by it the file proves that it is
the one of which the watermark is recorded.

Nothing is preallocated: `posix_fallocate` writes zeros on exFAT, NFS and SMB, extents are
left to the file system's delayed allocation, and a full disk is not an error but a pause.
Runs of zeros stay holes, so a sparse file of many GiB costs neither time nor room.

All methods block and belong in a worker thread; several threads may write different ranges at once.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence

from hdpd.downloads.certainty import Identity, is_the_one
from hdpd.downloads.directories import Directories
from hdpd.downloads.filesystem import (
    Unsupported,
    get_attribute,
    set_attribute,
    start_writing_out,
    storage_error,
    sync_directory,
)
from hdpd.downloads.site import Components, Site
from hdpd.errors import DiskUnavailable, HdpdError, StorageError
from hdpd.wire.fields import MAX_INTEGER

ZEROS = bytes(1024 * 1024)  # as long as the longest chunk that a stream hands out

IOV_MAX = 1024  # buffers that one pwritev takes

ATTRIBUTE = "user.hdpd"
"""Holds the random id of a partial file."""

_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def partial_name(download: str, number: int, id_: str | None = None) -> bytes:
    """The name of file `number` of a download while it is incomplete; hidden, so never shared."""
    identity = f"-{id_}" if id_ else ""
    return f".hdpd-{download}-{number}{identity}.part".encode()


def remove_partials(site: Site, files: Sequence[tuple[Components, bytes]]) -> None:
    """Removes those partial files (directory, name) that are there.

    Raises:
        DiskUnavailable: they cannot be removed now.
    """
    with Directories(site) as directories:
        for directory, name in files:
            try:
                os.unlink(name, dir_fd=directories.open(directory, create=False))
            except FileNotFoundError:
                continue
            except OSError as error:
                if isinstance(unavailable := storage_error(error, "remove", name), DiskUnavailable):
                    raise unavailable from None
            except StorageError:
                continue  # a link or a file is in the way: what is behind it is not ours


class PartialFile:
    """An open partial file. Every error is a DiskUnavailable or StorageError."""

    def __init__(self, descriptor: int, parent: int, name: bytes, intact: bool) -> None:
        self._descriptor = descriptor
        self._parent = parent
        self._name = name
        self.intact = intact
        """Whether it is the one that was asked for, with what should be there; otherwise it is
        empty now."""
        self.inode = os.fstat(descriptor).st_ino & MAX_INTEGER

    @classmethod
    def open(
        cls,
        site: Site,
        directory: Components,
        name: bytes,
        *,
        keep: int,
        truncate: bool,
        id_: str | None = None,
        inode: int | None = None,
    ) -> PartialFile:
        """Opens or makes the file, of which `keep` bytes must be there.

        It has to prove that it is the one that was made with `id_`, which its name holds too, and,
        where the file system has attributes, with this `inode`: another disk may have one of the
        same name, and a copy may be an old one. With `truncate` what lies beyond `keep` is
        dropped: after a crash nobody knows what it is.
        """
        try:
            with Directories(site) as directories:
                parent = directories.open(directory)
                descriptor, intact = _open_proven(parent, name, keep, id_, inode)
                try:
                    partial = cls(descriptor, os.dup(parent), name, intact)
                except OSError:
                    os.close(descriptor)
                    raise
        except OSError as error:
            raise storage_error(error, "open", name) from None
        if truncate or not intact:
            try:
                partial.truncate(keep if intact else 0)
            except HdpdError:
                partial.close()
                raise
        return partial

    def write(self, chunks: Sequence[bytes], offset: int, *, fresh: bool) -> None:
        """Writes the chunks (each at most 1 MiB) one after another at `offset`.

        `fresh` says that nothing was ever written there, so that zeros need not be either.
        """
        if fresh and all(map(ZEROS.startswith, chunks)):
            # The last byte alone makes the file as long as it is known to be.
            end = offset + sum(map(len, chunks))
            chunks, offset = (b"\0",), end - 1
        try:
            end = offset
            for first in range(0, len(chunks), IOV_MAX):
                end += self._write_group(chunks[first : first + IOV_MAX], end)
            start_writing_out(self._descriptor, offset, end - offset)
        except OSError as error:
            raise storage_error(error, "write", self._name) from None

    def _write_group(self, chunks: Sequence[bytes], offset: int) -> int:
        written = os.pwritev(self._descriptor, chunks, offset)
        length = sum(map(len, chunks))
        if written < length:
            self._write_rest(b"".join(chunks)[written:], offset + written)
        return length

    def _write_rest(self, data: bytes, offset: int) -> None:
        # A short write is what precedes ENOSPC.
        while data:
            written = os.pwrite(self._descriptor, data, offset)
            data, offset = data[written:], offset + written

    def sync(self) -> None:
        """Makes everything written so far durable."""
        try:
            os.fdatasync(self._descriptor)
            if self._parent >= 0:
                # Else a crash could lose the name of what was synced and recorded.
                sync_directory(self._parent)
                parent, self._parent = self._parent, -1
                os.close(parent)
        except OSError as error:
            raise storage_error(error, "sync", self._name) from None

    def truncate(self, size: int) -> None:
        """Drops everything from `size` on; no other thread may be writing."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise storage_error(error, "truncate", self._name) from None

    def close(self) -> None:
        """Closes the descriptors; the file stays. An error tells of writes that were lost, which
        file systems of the network and of FUSE may say only now.
        """
        if self._parent >= 0:
            os.close(self._parent)
        try:
            os.close(self._descriptor)
        except OSError as error:
            raise storage_error(error, "close", self._name) from None


def _open_proven(
    parent: int, name: bytes, keep: int, id_: str | None, inode: int | None
) -> tuple[int, bool]:
    """The open file, and whether it is the one that it should be."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(name, _OPEN, dir_fd=parent)
        if _is_proven(descriptor, id_, inode):
            return descriptor, os.fstat(descriptor).st_size >= keep
        # Somebody else's under our name, or a copy: nothing is written into it.
        os.close(descriptor)
        os.unlink(name, dir_fd=parent)
    descriptor = os.open(name, _OPEN | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=parent)
    if id_ is not None:
        set_attribute(descriptor, ATTRIBUTE, id_.encode())
    return descriptor, keep == 0


def _is_proven(descriptor: int, id_: str | None, inode: int | None) -> bool:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return False
    try:
        there = Identity(get_attribute(descriptor, ATTRIBUTE), status.st_ino & MAX_INTEGER)
    except Unsupported:
        there = Identity(None, status.st_ino & MAX_INTEGER, has_attributes=False)
    return is_the_one(there, id_.encode() if id_ else None, inode)
