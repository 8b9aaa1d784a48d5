"""Reading a directory's `.hdpignore`. Blocks as the file system likes."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from typing import Final, NamedTuple

from hdpd.ignore import Patterns, patterns_of
from hdpd.wire.paths import text_from_bytes

IGNORE_FILE: Final = ".hdpignore"
MAX_BYTES: Final = 64 * 1024

_NAME = IGNORE_FILE.encode()
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class IgnoreFile(NamedTuple):
    """The patterns of a directory; `mark` changes with the file's content and is 0 without one."""

    patterns: Patterns
    mark: int


class BadIgnoreFile(OSError):
    """The file is there and cannot be used, so that nobody knows what should be left out."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EPERM, f"nothing in it is shared: its {IGNORE_FILE} {reason}")


NO_FILE: Final = IgnoreFile(Patterns([]), 0)


def read_ignore_file(directory: bytes, dir_fd: int) -> IgnoreFile:
    """What the `.hdpignore` in a directory (relative to `dir_fd`) says.

    Raises:
        BadIgnoreFile: it cannot be read or understood.
    """
    path = b"%s/%s" % (directory, _NAME) if directory else _NAME
    try:
        fd = os.open(path, _READ, dir_fd=dir_fd)
    except FileNotFoundError:
        return NO_FILE
    except OSError as error:
        raise BadIgnoreFile(f"cannot be read: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise BadIgnoreFile("is not a file")
        content = os.read(fd, MAX_BYTES + 1)
    except BadIgnoreFile:
        raise
    except OSError as error:
        raise BadIgnoreFile(f"cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)
    if len(content) > MAX_BYTES:
        raise BadIgnoreFile(f"is larger than {MAX_BYTES} bytes")
    lines = text_from_bytes(content.removeprefix(b"\xef\xbb\xbf")).splitlines()
    try:
        patterns = patterns_of(tuple(lines))
    except ValueError as error:
        raise BadIgnoreFile(f"cannot be understood: {error}") from None
    return IgnoreFile(patterns, zlib.crc32(content) + 1)
