"""The partial file of a large download: written in ranges, synced behind, kept over a crash.

It lies next to its target under a short name made of ids, so that a target's name may have full
length. Nothing is preallocated: `posix_fallocate` writes zeros on exFAT, NFS and SMB, extents are
left to the file system's delayed allocation, and a full disk is not an error but a pause.
Runs of zeros stay holes, so a sparse file of many GiB costs neither time nor room.

All methods block and belong in a worker thread; several threads may write different ranges at once.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from hdpd.downloads.directories import Components, Directories
from hdpd.downloads.filesystem import start_writing_out, storage_error, sync_directory
from hdpd.errors import HdpdError

ZEROS = bytes(1024 * 1024)  # as long as the longest chunk that a stream hands out

IOV_MAX = 1024  # buffers that one pwritev takes

_CREATE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def partial_name(download: str, number: int) -> bytes:
    """The name of file `number` of a download while it is incomplete; hidden, so never shared."""
    return b".hdpd-%s-%d.part" % (download.encode(), number)


def remove_partials(root: Path, files: Sequence[tuple[Components, bytes]]) -> None:
    """Removes those partial files (directory, name) that are there and can be removed."""
    with Directories(root) as directories:
        for directory, name in files:
            with contextlib.suppress(OSError, HdpdError):
                os.unlink(name, dir_fd=directories.open(directory, create=False))


class PartialFile:
    """An open partial file. Every error is a DiskFull or StorageError."""

    def __init__(self, descriptor: int, parent: int, name: bytes, intact: bool) -> None:
        self._descriptor = descriptor
        self._parent = parent
        self._name = name
        self.intact = intact
        """Whether what should be there already is; otherwise the file is empty now."""

    @classmethod
    def open(
        cls, root: Path, directory: Components, name: bytes, *, keep: int, truncate: bool
    ) -> PartialFile:
        """Opens or makes the file, of which `keep` bytes must be there.

        With `truncate` what lies beyond those is dropped: after a crash nobody knows what it is.
        """
        try:
            with Directories(root) as directories:
                parent = directories.open(directory)
                descriptor = os.open(name, _CREATE, 0o666, dir_fd=parent)
                intact = os.fstat(descriptor).st_size >= keep
                partial = cls(descriptor, os.dup(parent), name, intact)
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
        """Closes the descriptors; the file stays."""
        os.close(self._descriptor)
        if self._parent >= 0:
            os.close(self._parent)
