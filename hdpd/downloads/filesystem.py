"""Linux file system calls that the standard library lacks, each with the safe slow way beside it.

Everything here blocks and belongs in a worker thread. Errors are OSError, which `storage_error`
turns into what a download may show.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from hdpd.downloads.space import Room
from hdpd.errors import GONE, DiskAway, DiskFailing, DiskFull, DiskReadOnly, HdpdError, StorageError
from hdpd.wire.paths import text_from_bytes

_RENAME_NOREPLACE = 1
_SYNC_FILE_RANGE_WRITE = 2
_NOT_SUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_libc = ctypes.CDLL(None, use_errno=True)


def _system_call(name: str, *argument_types: type) -> Callable[..., int] | None:
    """The C library's function, or None where it has none (an old or small C library)."""
    function = getattr(_libc, name, None)
    if function is None:
        return None
    function.argtypes = argument_types
    function.restype = ctypes.c_int

    def call(*arguments: object) -> int:
        if function(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return 0

    return call


_renameat2 = _system_call(
    "renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
)
_syncfs = _system_call("syncfs", ctypes.c_int)
_sync_file_range = _system_call(
    "sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint
)


def rename_noreplace(directory: int, source: bytes, target: bytes) -> None:
    """Renames within the open `directory`, never over something that exists.

    Raises:
        FileExistsError: `target` exists; nothing happened.
        OSError: anything else.
    """
    if _renameat2 is not None:
        try:
            _renameat2(directory, source, directory, target, _RENAME_NOREPLACE)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
        else:
            return
    _rename_by_link(directory, source, target)


def _rename_by_link(directory: int, source: bytes, target: bytes) -> None:
    try:
        os.link(source, target, src_dir_fd=directory, dst_dir_fd=directory)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
        _rename_to_reserved(directory, source, target)
    else:
        os.unlink(source, dir_fd=directory)


def _rename_to_reserved(directory: int, source: bytes, target: bytes) -> None:
    """Without links, as on exFAT, an empty file of our making reserves the name, and only that is
    replaced. A note beside it names it, so that one that was left by a kill is known as ours.
    """
    note = source.removesuffix(b".part") + b".name.part"
    if not _is_reserved(directory, note, target):
        _write_note(directory, note, target)
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            os.close(os.open(target, flags, 0o666, dir_fd=directory))
        except OSError:
            os.unlink(note, dir_fd=directory)
            raise
    os.rename(source, target, src_dir_fd=directory, dst_dir_fd=directory)
    os.unlink(note, dir_fd=directory)


def _write_note(directory: int, note: bytes, target: bytes) -> None:
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW
    with os.fdopen(os.open(note, flags, 0o600, dir_fd=directory), "wb") as file:
        file.write(target)


def _is_reserved(directory: int, note: bytes, target: bytes) -> bool:
    try:
        status = os.stat(target, dir_fd=directory, follow_symlinks=False)
        if status.st_size or not stat.S_ISREG(status.st_mode):
            return False
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(note, flags, dir_fd=directory), "rb") as file:
            return file.read() == target
    except FileNotFoundError:
        return False


def sync_file_system(descriptor: int) -> bool:
    """Writes out the whole file system that `descriptor` lies on.

    False where there is no such call: then the caller has to sync file by file.
    """
    if _syncfs is None:
        return False
    try:
        _syncfs(descriptor)
    except OSError as error:
        if error.errno in _NOT_SUPPORTED:
            return False
        raise
    return True


def start_writing_out(descriptor: int, offset: int, size: int) -> None:
    """Lets the disk begin with these bytes now, so that a sync later has less to wait for."""
    if _sync_file_range is not None:
        # It promises nothing, so an error tells nothing either; the sync will report it.
        with contextlib.suppress(OSError):
            _sync_file_range(descriptor, offset, size, _SYNC_FILE_RANGE_WRITE)


def sync_directory(descriptor: int) -> None:
    """Makes names durable; some network file systems refuse to sync a directory and need not."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise


def free_room(path: Path) -> Room:
    """The room on the volume of `path`, or of what is above it while that is not there yet."""
    disk = f"the disk of {os.fspath(path)!r}"
    while True:
        try:
            status = os.statvfs(path)
        except FileNotFoundError:
            if path == path.parent:
                raise
            path = path.parent
        else:
            return Room(
                status.f_bavail * status.f_frsize,
                status.f_blocks * status.f_frsize,
                status.f_favail if status.f_files else None,
                bool(status.f_flag & os.ST_RDONLY),
                disk,
            )


def storage_error(error: OSError, doing: str, name: bytes) -> HdpdError:
    """The error for a person: `doing` is a verb, `name` what it was done to."""
    kind: type[HdpdError] = StorageError
    if error.errno in _DISK_FULL:
        kind = DiskFull
    elif error.errno == errno.EROFS:
        kind = DiskReadOnly
    elif error.errno == errno.EIO:
        kind = DiskFailing
    elif error.errno in GONE:
        kind = DiskAway
    reason = error.strerror or str(error)
    return kind(f"cannot {doing} {text_from_bytes(name)!r} in the download directory: {reason}")


def set_attribute(descriptor: int, name: str, value: bytes) -> bool:
    """Stores an extended attribute with an open file; False where the file system has none."""
    try:
        os.setxattr(descriptor, name, value)
    except OSError as error:
        if error.errno in _NOT_SUPPORTED:
            return False
        raise
    return True


def get_attribute(descriptor: int, name: str) -> bytes | None:
    """An extended attribute of an open file, None where there is none.

    Raises:
        Unsupported: the file system has none at all.
    """
    try:
        return os.getxattr(descriptor, name)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return None
        if error.errno in _NOT_SUPPORTED:
            raise Unsupported from None
        raise


def remove_attribute(directory: int, name: bytes, attribute: str) -> None:
    """Takes an extended attribute from a file of an open directory, if it has it."""
    path = b"/proc/self/fd/%d/%s" % (directory, name)
    with contextlib.suppress(OSError):  # it would only be litter
        os.removexattr(path, attribute, follow_symlinks=False)


class Unsupported(Exception):
    """The file system cannot do that."""
