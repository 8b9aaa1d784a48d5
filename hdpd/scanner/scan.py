"""One pass through a share: brings the index in line with its directories.

The walk is depth first, and each directory that it reads is compared with what the index has of it,
so nothing vanishes from the index that is still there, and totals are known when a directory is
left. How much it reads is its reach (hdpd/shares/jobs.py): all directories, those whose mtime
changed, or those that are named. Whatever cannot be read is counted, and the walk goes on; only the
share's own directory has to be there. Whole because it is the way of a directory
through the walk, from its opening to its totals.
"""

from __future__ import annotations

import errno
import itertools
import os
import time
from collections.abc import Callable, Iterable
from operator import itemgetter

from msgspec import Struct, field

from hdpd.ignore import Ignoring
from hdpd.scanner.moves import Moves
from hdpd.scanner.writer import READ, SETTLED, UNREAD, Directory, IndexWriter
from hdpd.shares.ignorefile import BadIgnoreFile, read_ignore_file
from hdpd.shares.jobs import Reach
from hdpd.shares.opening import Root, inode_of, mtime_of, open_subdirectory
from hdpd.shares.reading import Content, Subdirectory, read_directory
from hdpd.wire.paths import MAX_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES, bytes_from_text

MAX_REASONS = 10  # of skipped entries that are told; the others are only counted

# A change so soon after another may leave the same mtime: FAT counts in steps of 2 s.
SETTLE_NS = 2_000_000_000

# After these the content of a directory is known to be nobody's business here, or gone. Other
# errors (a disk that fails, a server that is away) leave what the index had.
_size_of_row = itemgetter(1)

_REFUSED = frozenset({errno.EACCES, errno.EPERM})
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG})

Watch = Callable[[int, os.stat_result, Directory], bool]
"""Begins to watch an open directory for changes, where that can be done; whether it does."""


def no_watch(_fd: int, _status: os.stat_result, _directory: Directory) -> bool:
    """The `Watch` of a scan that watches nothing."""
    return False


class Tally(Struct):
    """What a scan has seen so far; `bytes` and `files` follow when it leaves directories."""

    directories: int = 0
    files: int = 0
    bytes: int = 0
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)


class _Frame(Struct):
    """A directory that the walk is in."""

    directory: Directory
    fd: int
    status: os.stat_result
    path_bytes: int
    linked: bool
    ignoring: Ignoring  # in it by what is further up, and then with its own file
    everything: bool = False  # what is below has to be read, whatever the reach
    was_read: bool = False
    pending: list[tuple[str, Directory]] = field(default_factory=list)
    size: int = 0
    files: int = 0


class Scan:
    """A pass through the share at `root`, whose row in the index is `top`. A reach of `named` goes
    to the stored directories `named`, and into what is new there.
    """

    def __init__(
        self,
        root: Root,
        top: Directory,
        writer: IndexWriter,
        report: Callable[[Tally], None],
        *,
        reach: Reach = "all",
        named: Iterable[int] = (),
        watch: Watch = no_watch,
    ) -> None:
        self._root = root
        self._top = top
        self._writer = writer
        self._report = report
        self._reach = reach
        self._watch = watch
        self._moves = Moves(root, top, writer)
        self._stack: list[_Frame] = []
        self._to_read: set[int] = set()
        self._is_first = top.scanned == UNREAD  # nothing can have been moved
        self._on_the_way: dict[int, set[int]] = {}  # the named directories' ancestors
        for id_ in named:
            self._add_named(id_)
        self.tally = Tally()
        self.tree_changed = False
        """Whether directories came or went."""

    def _add_named(self, id_: int) -> None:
        way = self._writer.way_to(id_) or []
        if not way or way[0][0] != self._top.id:
            return  # it was in the share once
        self._to_read.add(id_)
        for (above, _), (below, _) in itertools.pairwise(way):
            self._on_the_way.setdefault(above, set()).add(below)

    def run(self) -> None:
        """Does it all.

        Raises:
            OSError: the share's own directory cannot be read.
        """
        with self._root.find(b"") as node:
            fd = node.reopen()
        name_bytes = len(bytes_from_text(self._top.name))
        frame = self._frame(self._top, fd, name_bytes, self._root.ignoring, linked=False)
        self._stack.append(frame)
        try:
            self._begin(frame)
            while self._stack:
                frame = self._stack[-1]
                if frame.pending:
                    self._enter(frame, *frame.pending.pop())
                else:
                    self._leave(frame)
                if self._writer.is_due():
                    self._flush()
        finally:
            for frame in self._stack:
                os.close(frame.fd)
        self._writer.flush()

    def _frame(
        self, directory: Directory, fd: int, path_bytes: int, ignoring: Ignoring, *, linked: bool
    ) -> _Frame:
        status = os.fstat(fd)
        if self._watch(fd, status, directory):
            status = os.fstat(fd)  # what changes from now on is told
        return _Frame(directory, fd, status, path_bytes, linked, ignoring)

    # Into directories and out again

    def _enter(self, above: _Frame, entry: str, directory: Directory) -> None:
        self.tally.directories += 1
        try:
            frame = self._open(above, entry, directory)
        except OSError as error:
            self._give_up(above, directory, error)
            return
        self._stack.append(frame)
        try:
            self._begin(frame)
        except OSError as error:
            self._stack.pop()
            os.close(frame.fd)
            self._give_up(above, directory, error)

    def _open(self, above: _Frame, entry: str, directory: Directory) -> _Frame:
        if len(self._stack) >= MAX_DEPTH - 1:
            raise OSError(errno.ENAMETOOLONG, "it is too deep")
        ignoring: Ignoring | None = above.ignoring.below(directory.name)
        is_link = False
        try:
            fd = open_subdirectory(entry, above.fd)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            is_link = True
            with self._root.find(os.fsencode(entry), dir_fd=above.fd) as node:
                if not node.is_directory:
                    raise
                ignoring = self._root.ignoring_above(node.below)
                fd = node.reopen()
        assert ignoring is not None, "the directory would not have been found"
        path_bytes = above.path_bytes + 1 + len(os.fsencode(entry))
        frame = self._frame(directory, fd, path_bytes, ignoring, linked=above.linked or is_link)
        frame.everything = above.everything
        return frame

    def _begin(self, frame: _Frame) -> None:
        """Reads the directory, or takes it as the index has it."""
        if not self._must_be_read(frame):
            self._trust(frame)
            return
        room = min(MAX_NAME_BYTES, MAX_PATH_BYTES - frame.path_bytes - 1)
        content = read_directory(
            self._root, frame.fd, frame.ignoring, linked=frame.linked, room=room
        )
        self._compare(frame, content)

    def _must_be_read(self, frame: _Frame) -> bool:
        directory = frame.directory
        if self._reach == "all" or frame.everything or directory.scanned == UNREAD:
            return True
        if directory.id in self._to_read or directory.mtime != mtime_of(frame.status):
            return True
        if directory.inode and directory.inode != inode_of(frame.status):
            return True
        if self._reach == "changed" and directory.scanned != SETTLED:
            return True
        return bool(directory.mark) and not self._has_same_patterns(frame)

    def _has_same_patterns(self, frame: _Frame) -> bool:
        """Whether the ignore file is as it was: when it is changed in place, nothing else is."""
        try:
            patterns, mark = read_ignore_file(b"", frame.fd)
        except BadIgnoreFile:
            return False
        if mark != frame.directory.mark:
            return False
        frame.ignoring = frame.ignoring.adding(patterns)
        return True

    def _trust(self, frame: _Frame) -> None:
        """Goes on to subdirectories with the directory as the index has it."""
        directory = frame.directory
        if self._reach == "changed":
            children = list(self._writer.children(directory).values())
            frame.size, frame.files = self._writer.totals(directory)
        else:
            ids = self._on_the_way.get(directory.id, ())
            found = (self._writer.directory(id_, directory) for id_ in ids)
            children = [child for child in found if child is not None]
            frame.size = directory.size - sum(child.size for child in children)
            frame.files = directory.files - sum(child.files for child in children)
        self.tally.files += frame.files
        self.tally.bytes += frame.size
        children.sort(key=lambda child: child.name, reverse=True)
        frame.pending = [(os.fsdecode(bytes_from_text(c.name)), c) for c in children]

    def _give_up(self, above: _Frame, directory: Directory, error: OSError) -> None:
        """Goes on without having read a directory."""
        gone = error.errno in _GONE
        if gone and not above.was_read:
            # It was renamed or removed just now, as its parent will show when it is read.
            above.size += directory.size
            above.files += directory.files
            return
        self._skip(directory, error.strerror or str(error))
        if (gone or error.errno in _REFUSED) and directory.id and directory.scanned:
            for child in self._writer.children(directory).values():
                self._writer.lose_directory(child)
                self.tree_changed = True
            for name, (id_, _size, _mtime) in self._writer.files(directory).items():
                self._writer.lose_file(id_, name)
            directory.size = directory.files = 0
        directory.scanned = READ
        self._writer.touch(directory)
        above.size += directory.size
        above.files += directory.files

    # Comparing

    def _compare(self, frame: _Frame, content: Content) -> None:
        """Brings one directory's rows in line with what was read of it."""
        directory = frame.directory
        is_new = directory.scanned == UNREAD
        frame.ignoring = content.ignoring
        frame.everything |= not is_new and content.mark != directory.mark
        frame.was_read = True
        for name, reason in content.skipped:
            self._skip(directory, reason, name)
        self._compare_files(frame, content, is_new=is_new)
        self._compare_directories(frame, content, is_new=is_new)
        self._note(frame, content.mark)

    def _note(self, frame: _Frame, mark: int) -> None:
        """Keeps what will tell whether the directory has to be read again."""
        directory = frame.directory
        mtime = mtime_of(frame.status)
        inode = 0 if frame.linked else inode_of(frame.status)
        scanned = SETTLED if mtime + SETTLE_NS < time.time_ns() else READ
        seen = (mtime, inode, mark, scanned)
        if seen != (directory.mtime, directory.inode, directory.mark, directory.scanned):
            directory.mtime, directory.inode, directory.mark, directory.scanned = seen
            self._writer.touch(directory)

    def _compare_files(self, frame: _Frame, content: Content, *, is_new: bool) -> None:
        # In order of their names, rows that are listed together are stored together.
        content.files.sort()
        frame.files = len(content.files)
        frame.size = sum(map(_size_of_row, content.files))
        self.tally.files += frame.files
        self.tally.bytes += frame.size
        stored = {} if is_new else self._writer.files(frame.directory)
        if not stored:
            self._writer.add_files(frame.directory, content.files)
            return
        new = []
        for row in content.files:
            name, size, mtime = row
            old = stored.pop(name, None)
            if old is None:
                new.append(row)
            elif old[1:] != (size, mtime):
                self._writer.change_file(old[0], size, mtime)
        self._writer.add_files(frame.directory, new)
        for name, (id_, _size, _mtime) in stored.items():
            self._writer.lose_file(id_, name)

    def _compare_directories(self, frame: _Frame, content: Content, *, is_new: bool) -> None:
        stored = {} if is_new else self._writer.children(frame.directory)
        for found in sorted(content.directories, key=lambda found: found.name):
            directory = stored.pop(found.name, None) or self._moved_here(frame, found)
            if directory is None:
                directory = Directory(frame.directory, found.name, found.mtime)
                self._writer.add_directory(directory)
                self.tree_changed = True
            if self._goes_into(frame, directory):
                frame.pending.append((found.entry, directory))
            else:
                frame.size += directory.size
                frame.files += directory.files
        frame.pending.reverse()
        for gone in stored.values():
            self._writer.lose_directory(gone)
            self.tree_changed = True

    def _goes_into(self, frame: _Frame, directory: Directory) -> bool:
        return (
            self._reach != "named"
            or frame.everything
            or directory.scanned == UNREAD
            or directory.id in self._to_read
            or directory.id in self._on_the_way
        )

    def _moved_here(self, frame: _Frame, found: Subdirectory) -> Directory | None:
        """The stored directory that this one was before it was renamed."""
        if self._is_first or frame.linked:
            return None
        directory = self._moves.find(found)
        if directory is None:
            return None
        if directory.scanned == READ:
            self._to_read.add(directory.id)
        directory.parent, directory.name = frame.directory, found.name
        self._writer.move_directory(directory)
        return directory

    def _leave(self, frame: _Frame) -> None:
        self._stack.pop()
        os.close(frame.fd)
        directory = frame.directory
        if (directory.size, directory.files) != (frame.size, frame.files):
            directory.size, directory.files = frame.size, frame.files
            self._writer.touch(directory)
        if self._stack:
            self._stack[-1].size += frame.size
            self._stack[-1].files += frame.files

    def _flush(self) -> None:
        """Writes the batch, with the totals so far of the directories that the walk is in: where
        the walk is for the first time they grow, elsewhere the last ones stand until it leaves.
        """
        size = files = 0
        for frame in reversed(self._stack):
            size += frame.size
            files += frame.files
            directory = frame.directory
            if size > directory.size or files > directory.files:
                directory.size, directory.files = size, files
                self._writer.touch(directory)
        self._writer.flush()
        self._report(self.tally)

    def _skip(self, directory: Directory, reason: str, name: str | None = None) -> None:
        self.tally.skipped += 1
        if len(self.tally.reasons) >= MAX_REASONS:
            return
        names = [name] if name is not None else []
        above: Directory | None = directory
        while above is not None:
            names.append(above.name)
            above = above.parent
        self.tally.reasons.append(f"{'/'.join(reversed(names))}: {reason}")
