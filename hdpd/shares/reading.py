"""Reading one directory: which of its entries are shared, and why the others are not.

The scanner and live listings both read directories with this, so both follow the same rules:
- regular files that may be read, and directories;
- links to either that stay inside the share and lead to nothing hidden; links to directories only
  when they do not lead to a directory that they are in themselves, and not in a directory that was
  itself reached by a link: so there are no loops, and no walk is longer than links times files;
- names with a leading dot only where the share says so;
- never sockets, devices and FIFOs.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from hdpd.shares.opening import Root, mtime_of, real_path
from hdpd.shares.paths import path_below
from hdpd.wire.paths import MAX_NAME_BYTES, text_from_bytes

_READABLE_BY_ALL = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


@dataclass(frozen=True, slots=True)
class Subdirectory:
    """A directory in a directory; `entry` is its name for system calls."""

    name: str
    entry: str
    mtime: int
    is_link: bool


@dataclass(slots=True)
class Content:
    """What is shared of one directory, in no order, and what is not with the reason."""

    files: list[tuple[str, int, int]] = field(default_factory=list)  # name, size, mtime in ns
    directories: list[Subdirectory] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)  # name, reason


def name_text(entry: str) -> str:
    """The reversible text of a name as `os.scandir` gives it."""
    return entry if entry.isascii() else text_from_bytes(os.fsencode(entry))


def read_directory(root: Root, fd: int, *, linked: bool, room: int = MAX_NAME_BYTES) -> Content:
    """The content of the open directory `fd` of the share.

    `linked` says that it was reached by a link; names longer than `room` bytes would make a path
    that cannot be named to peers and are skipped.

    Raises:
        OSError: the directory cannot be read (to its end).
    """
    content = Content()
    hidden = root.hidden
    with os.scandir(fd) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == "." and not hidden:
                continue
            if room < MAX_NAME_BYTES and len(os.fsencode(name)) > room:
                content.skipped.append((name_text(name), "the path is too long"))
                continue
            try:
                if entry.is_symlink():
                    reason = _add_link(content, name, root, fd, linked=linked)
                else:
                    reason = _add(content, name, entry.stat(follow_symlinks=False), fd)
            except FileNotFoundError:
                continue  # it was removed just now
            except OSError as error:
                reason = error.strerror
            if reason:
                content.skipped.append((name_text(name), reason))
    return content


def _add(
    content: Content, entry: str, status: os.stat_result, fd: int, *, is_link: bool = False
) -> str | None:
    """Adds a file or directory; otherwise returns the reason why not."""
    mode = status.st_mode
    if stat.S_ISREG(mode):
        # The system is only asked when the mode leaves a doubt: it costs as much as the stat.
        if mode & _READABLE_BY_ALL != _READABLE_BY_ALL and not _may_read(entry, fd):
            return "hdpd's user may not read it"
        content.files.append((name_text(entry), status.st_size, mtime_of(status)))
        return None
    if stat.S_ISDIR(mode):
        found = Subdirectory(name_text(entry), entry, mtime_of(status), is_link)
        content.directories.append(found)
        return None
    return "it is neither a file nor a directory"


def _add_link(content: Content, entry: str, root: Root, fd: int, *, linked: bool) -> str | None:
    try:
        target = root.find(os.fsencode(entry), dir_fd=fd)
    except FileNotFoundError:
        return "a link that leads nowhere"
    with target:
        if target.is_directory:
            if linked:
                return "a link to a directory inside of a directory that is a link"
            if path_below(real_path(target.fd), real_path(fd)) is not None:
                return "a link to a directory that it is in"
        return _add(content, entry, target.status, fd, is_link=True)


def _may_read(entry: str, fd: int) -> bool:
    return os.access(entry, os.R_OK, dir_fd=fd, effective_ids=True)
