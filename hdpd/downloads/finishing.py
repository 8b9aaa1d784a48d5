"""The last step of every file: it gets its bytes, its time and its name, durably, in batches.

One batch: all files written, one `syncfs`, a rename each that never overwrites, one fsync for each
directory. A file that is there already is kept, and the new one becomes `name (2).ext`, unless both
hold the same bytes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from hdpd.downloads.apart import bring_here, remove_apart
from hdpd.downloads.directories import Directories
from hdpd.downloads.filesystem import (
    remove_attribute,
    rename_noreplace,
    storage_error,
    sync_file_system,
)
from hdpd.downloads.partial import ATTRIBUTE
from hdpd.downloads.site import Components, Site
from hdpd.errors import DiskUnavailable, HdpdError, StorageError
from hdpd.wire.paths import MAX_NAME_BYTES, text_from_bytes

MAX_SAME_NAME = 1000  # `name (1000)`: beyond that somebody is looping, and each try costs a call
MAX_EXTENSION_BYTES = 16
COARSEST_MTIME_NS = 2_000_000_000  # FAT
COMPARE_BYTES = 1024 * 1024
SYNC_SINGLY = 16  # so few files are synced one by one, which leaves other programs' data alone

_OPEN = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = _OPEN | os.O_CREAT | os.O_TRUNC


class Complete(Struct, frozen=True):
    """A file all of whose bytes have come. `data` is None when they are in the partial file, which
    is in the directory, or `apart`.
    """

    directory: Components
    name: bytes
    partial: bytes
    size: int
    mtime_ns: int
    data: bytes | None
    apart: Site | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """Under which name a file is there now, the mtime that the file system kept, and its ctime."""

    name: bytes
    mtime_ns: int
    ctime_ns: int = field(default=0, compare=False)


def numbered(name: bytes, number: int) -> bytes:
    """`name (number).ext`, shortened at a character's edge so that it is a possible name."""
    stem, dot, extension = name.rpartition(b".")
    if not stem or len(extension) > MAX_EXTENSION_BYTES:
        stem, dot, extension = name, b"", b""
    suffix = b" (%d)" % number + dot + extension
    room = MAX_NAME_BYTES - len(suffix)
    if len(stem) > room:
        while room and stem[room] & 0xC0 == 0x80:
            room -= 1
        stem = stem[:room]
    return stem + suffix


def names_for(name: bytes) -> itertools.chain[bytes]:
    """The names to try, best first."""
    others = (numbered(name, number) for number in range(2, MAX_SAME_NAME + 1))
    return itertools.chain((name,), others)


def find_alike(
    directory: int, name: bytes, size: int, mtime_ns: int, partial: bytes
) -> Finished | None:
    """A file in the open directory that may be the same, by name, size and mtime; None without any.

    Where sizes agree and times nearly do, a file named after `partial` is made for a moment, to
    see what this file system would have kept of the time.
    """
    for candidate in names_for(name):
        try:
            status = os.stat(candidate, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            continue
        found = Finished(candidate, status.st_mtime_ns, status.st_ctime_ns)
        if status.st_mtime_ns == mtime_ns:
            return found
        if abs(status.st_mtime_ns - mtime_ns) <= COARSEST_MTIME_NS and (
            status.st_mtime_ns == _kept_mtime_ns(directory, partial + b"-time", mtime_ns)
        ):
            return found
    return None


def _is_same(directory: int, name: bytes, partial: bytes, size: int) -> bool:
    """Whether the file `name` holds the same bytes as the partial file."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return False
        with _reading(directory, name) as one, _reading(directory, partial) as other:
            while block := os.read(one, COMPARE_BYTES):
                if not _reads(other, block):
                    return False
            return not os.read(other, 1)
    except FileNotFoundError:
        return False


def _reads(descriptor: int, block: bytes) -> bool:
    while block:
        piece = os.read(descriptor, len(block))
        if not piece or not block.startswith(piece):
            return False
        block = block[len(piece) :]
    return True


@contextlib.contextmanager
def _reading(directory: int, name: bytes) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _kept_mtime_ns(directory: int, probe: bytes, mtime_ns: int) -> int:
    descriptor = os.open(probe, _WRITE, 0o600, dir_fd=directory)
    try:
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)
        os.unlink(probe, dir_fd=directory)


def make_directories(site: Site, paths: Sequence[Components]) -> list[HdpdError | None]:
    """Makes each directory that is not there, durably; an error where that one cannot be made."""
    results: list[HdpdError | None] = []
    with Directories(site) as directories:
        for path in paths:
            try:
                directories.open(path)
            except (HdpdError, OSError) as error:
                results.append(_as_ours(error, "make the directory", b"/".join(path)))
            else:
                results.append(None)
        try:
            directories.sync()
        except (HdpdError, OSError) as error:
            return [_as_ours(error, "sync", b"")] * len(paths)
    return results


def missing_directories(site: Site, paths: Sequence[Components]) -> list[bool]:
    """Of each directory, whether it is not there."""
    missing = []
    with Directories(site) as directories:
        for path in paths:
            try:
                directories.open(path, create=False)
            except FileNotFoundError:
                missing.append(True)
            except (HdpdError, OSError):
                missing.append(False)  # whatever it is, it is not ours
            else:
                missing.append(False)
    return missing


def remove_empty_directories(site: Site, paths: Sequence[Components]) -> None:
    """Removes, in this order, those directories in which nothing is.

    Raises:
        DiskUnavailable: they cannot be removed now.
    """
    for path in paths:
        try:
            with Directories(site) as directories:
                os.rmdir(path[-1], dir_fd=directories.open(path[:-1], create=False))
        except OSError as error:
            if isinstance(known := storage_error(error, "remove", path[-1]), DiskUnavailable):
                raise known from None
        except StorageError:
            continue


def alike(site: Site, files: Sequence[Complete]) -> list[Finished | None]:
    """For each file (its bytes and `data` do not matter) one that is there and may be the same."""
    results: list[Finished | None] = []
    with Directories(site) as directories:
        for file in files:
            try:
                parent = directories.open(file.directory, create=False)
                found = find_alike(parent, file.name, file.size, file.mtime_ns, file.partial)
            except (HdpdError, OSError):
                found = None  # whatever it is, finishing this file will meet it again and tell
            results.append(found)
    return results


def finish_batch(site: Site, files: Sequence[Complete]) -> list[Finished | HdpdError]:
    """Finishes each file, or says why it could not be; one never spoils the others."""
    with Directories(site) as directories:
        batch = _Batch(directories, sync_singly=len(files) <= SYNC_SINGLY)
        written = [batch.write(file) for file in files]
        try:
            batch.sync_written()
            results = [
                kept if isinstance(kept, HdpdError) else batch.name(file, kept)
                for file, kept in zip(files, written, strict=True)
            ]
            directories.sync()
        except (HdpdError, OSError) as error:
            return [_as_ours(error, "sync", b"")] * len(files)
    return results


class _Batch:
    """The steps of one batch; every method returns its error instead of raising it."""

    def __init__(self, directories: Directories, *, sync_singly: bool) -> None:
        self._directories = directories
        self._sync_singly = sync_singly
        self._unsynced: dict[int, list[Complete]] = {}  # by file system

    def write(self, file: Complete) -> int | HdpdError:
        """Brings the bytes and the time into the partial file; the mtime that was kept."""
        try:
            parent = self._directories.open(file.directory)
            if file.apart is not None and file.data is None:
                bring_here(file.apart, file.partial, parent)
            flags = _OPEN if file.data is None else _WRITE
            descriptor = os.open(file.partial, flags, 0o666, dir_fd=parent)
            try:
                return self._fill(descriptor, file)
            finally:
                os.close(descriptor)
        except (HdpdError, OSError) as error:
            return _as_ours(error, "write", file.name)

    def _fill(self, descriptor: int, file: Complete) -> int:
        rest = file.data
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.utime(descriptor, ns=(file.mtime_ns, file.mtime_ns))
        status = os.fstat(descriptor)
        if status.st_size != file.size:
            raise StorageError(f"{text_from_bytes(file.name)!r} was tampered with; retry")
        if self._sync_singly:
            os.fsync(descriptor)
        else:
            self._unsynced.setdefault(status.st_dev, []).append(file)
        return status.st_mtime_ns

    def sync_written(self) -> None:
        """Makes durable what `write` left to be synced together; raises OSError."""
        for files in self._unsynced.values():
            if not sync_file_system(self._directories.open(files[0].directory)):
                for file in files:
                    self._sync_one(file)

    def _sync_one(self, file: Complete) -> None:
        parent = self._directories.open(file.directory)
        descriptor = os.open(file.partial, _OPEN, dir_fd=parent)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def name(self, file: Complete, kept_mtime_ns: int) -> Finished | HdpdError:
        """Gives the partial file its name, or drops it when one with the same bytes has it."""
        try:
            parent = self._directories.open(file.directory)
            for candidate in names_for(file.name):
                try:
                    rename_noreplace(parent, file.partial, candidate)
                except FileExistsError:
                    if not _is_same(parent, candidate, file.partial, file.size):
                        continue
                    os.unlink(file.partial, dir_fd=parent)
                else:
                    if file.data is None:
                        remove_attribute(parent, candidate, ATTRIBUTE)
                if file.apart is not None:
                    remove_apart(file.apart, file.partial)
                self._directories.changed(file.directory)
                status = os.stat(candidate, dir_fd=parent, follow_symlinks=False)
                return Finished(candidate, status.st_mtime_ns, status.st_ctime_ns)
        except (HdpdError, OSError) as error:
            return _as_ours(error, "rename", file.name)
        return StorageError(f"{MAX_SAME_NAME} files named like {text_from_bytes(file.name)!r}")


def _as_ours(error: HdpdError | OSError, doing: str, name: bytes) -> HdpdError:
    return error if isinstance(error, HdpdError) else storage_error(error, doing, name)
