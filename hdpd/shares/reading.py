"""Reading one directory: which of its entries are shared, and why the others are not.

The scanner and live listings both read directories with this, so both follow the same rules:
- regular files that may be read, and directories;
- links to either that stay inside the share and lead to nothing hidden; links to directories only
  when they do not lead to a directory that they are in themselves, and not in a directory that was
  itself reached by a link: so there are no loops, and no walk is longer than links times files;
- names with a leading dot only where the share says so;
- nothing that ignore patterns name;
- never sockets, devices and FIFOs.
"""

from __future__ import annotations

import errno
import os
import stat

from msgspec import Struct, field

from hdpd.ignore import NOTHING, Ignoring
from hdpd.shares.ignorefile import IGNORE_FILE, BadIgnoreFile, read_ignore_file
from hdpd.shares.opening import Root, inode_of, mtime_of, real_path
from hdpd.shares.paths import is_ours, path_below
from hdpd.wire.paths import MAX_NAME_BYTES, text_from_bytes

_READABLE_BY_ALL = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
_PLAIN_MASK = 0o170000 | _READABLE_BY_ALL
_PLAIN = stat.S_IFREG | _READABLE_BY_ALL


class Subdirectory(Struct, frozen=True):
    """A directory in a directory; `entry` is its name for system calls. The inode is that of a
    directory that is there itself, and 0 for one that a link leads to.
    """

    name: str
    entry: str
    mtime: int
    inode: int


class Content(Struct):
    """What is shared of one directory, in no order, and what is not with the reason."""

    files: list[tuple[str, int, int]] = field(default_factory=list)  # name, size, mtime in ns
    directories: list[Subdirectory] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)  # name, reason
    ignoring: Ignoring = NOTHING
    mark: int = 0  # of its ignore file


def name_text(entry: str) -> str:
    """The reversible text of a name as `os.scandir` gives it."""
    return entry if entry.isascii() else text_from_bytes(os.fsencode(entry))


def read_directory(
    root: Root, fd: int, above: Ignoring, *, linked: bool, room: int = MAX_NAME_BYTES
) -> Content:
    """The content of the open directory `fd` of the share.

    `above` is what is left out there by patterns from further up. `linked` says that it was reached
    by a link; names longer than `room` bytes would make a path that cannot be named to peers and
    are skipped.

    Raises:
        OSError: the directory cannot be read (to its end).
    """
    content = Content(ignoring=above)
    if _read_entries(content, root, fd, linked=linked, room=room):
        return content
    # Few directories have an ignore file, so it is looked for among the entries, not by a call.
    try:
        patterns, mark = read_ignore_file(b"", fd)
    except BadIgnoreFile as error:
        return Content(skipped=[(IGNORE_FILE, str(error.strerror))], mark=-1)
    content = Content(ignoring=above.adding(patterns), mark=mark)
    _read_entries(content, root, fd, linked=linked, room=room, ignore_file_is_read=True)
    return content


def _read_entries(  # noqa: C901 - a call for each entry would cost as much as what it does
    content: Content,
    root: Root,
    fd: int,
    *,
    linked: bool,
    room: int,
    ignore_file_is_read: bool = False,
) -> bool:
    """Adds all entries; False when it came upon an ignore file, which has to be read first."""
    hidden = root.hidden
    ignoring = content.ignoring
    names, suffixes, anything = ignoring.clues
    add_file = content.files.append
    with os.scandir(fd) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                if name == IGNORE_FILE and not ignore_file_is_read:
                    return False
                if not hidden or is_ours(os.fsencode(name)):
                    continue
            text = name if name.isascii() else name_text(name)
            may_be_left_out = anything or text in names or text.endswith(suffixes)
            if may_be_left_out and ignoring.hides(text, is_directory=_is_directory(entry)):
                continue
            if room < MAX_NAME_BYTES and len(os.fsencode(name)) > room:
                content.skipped.append((text, "the path is too long"))
                continue
            try:
                status = entry.stat(follow_symlinks=False)
                mode = status.st_mode
                # Nearly all are such files: what is done for each is done here.
                if mode & _PLAIN_MASK == _PLAIN:
                    add_file((text, status.st_size, mtime_of(status)))
                    continue
                if stat.S_ISLNK(mode):
                    reason = _add_link(content, name, root, fd, linked=linked)
                else:
                    reason = _add(content, name, text, status, fd)
            except OSError as error:
                reason = None if error.errno == errno.ENOENT else error.strerror  # removed now
            if reason:
                content.skipped.append((text, reason))
    return True


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether it is one or leads to one: a pattern for directories is meant for both."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _add(
    content: Content,
    entry: str,
    text: str,
    status: os.stat_result,
    fd: int,
    *,
    is_link: bool = False,
) -> str | None:
    """Adds a file or directory; otherwise returns the reason why not."""
    mode = status.st_mode
    if stat.S_ISREG(mode):
        # The system is only asked when the mode leaves a doubt: it costs as much as the stat.
        if mode & _READABLE_BY_ALL != _READABLE_BY_ALL and not _may_read(entry, fd):
            return "hdpd's user may not read it"
        content.files.append((text, status.st_size, mtime_of(status)))
        return None
    if stat.S_ISDIR(mode):
        inode = 0 if is_link else inode_of(status)
        content.directories.append(Subdirectory(text, entry, mtime_of(status), inode))
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
        return _add(content, entry, name_text(entry), target.status, fd, is_link=True)


def _may_read(entry: str, fd: int) -> bool:
    return os.access(entry, os.R_OK, dir_fd=fd, effective_ids=True)
