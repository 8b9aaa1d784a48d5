"""One pass through a share: reads every directory and brings the index in line with it.

The walk is depth first, and each directory is compared with what the index has of it, so nothing
vanishes from the index that is still there, and totals are known when a directory is left. Whatever
cannot be read is counted, and the walk goes on; only the share's own directory has to be there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from hdpd.ignore import Ignoring
from hdpd.shares.opening import Root, open_subdirectory
from hdpd.shares.reading import Content, Subdirectory, read_directory
from hdpd.shares.writer import Directory, IndexWriter
from hdpd.wire.paths import MAX_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES, bytes_from_text

MAX_REASONS = 10  # of skipped entries that are told; the others are only counted

# After these the content of a directory is known to be nobody's business here, or gone. Other
# errors (a disk that fails, a server that is away) leave what the index had.
_FORGET = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.EXDEV,
        errno.ENAMETOOLONG,
    }
)


@dataclass(slots=True)
class Tally:
    """What a scan has seen so far; `bytes` and `files` follow when it leaves directories."""

    directories: int = 0
    files: int = 0
    bytes: int = 0
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Frame:
    """A directory that the walk is in."""

    directory: Directory
    fd: int
    path_bytes: int
    linked: bool
    ignoring: Ignoring  # of the directory, by what is further up; then with its own file
    pending: list[tuple[Subdirectory, Directory]] = field(default_factory=list)
    size: int = 0
    files: int = 0


class Scan:
    """A pass through the share at `root`, whose row in the index is `top`."""

    def __init__(
        self, root: Root, top: Directory, writer: IndexWriter, report: Callable[[Tally], None]
    ) -> None:
        self._root = root
        self._top = top
        self._writer = writer
        self._report = report
        self._stack: list[_Frame] = []
        self.tally = Tally()

    def run(self) -> None:
        """Scans it all.

        Raises:
            OSError: the share's own directory cannot be read.
        """
        with self._root.find(b"") as node:
            fd = node.reopen()
        name_bytes = len(bytes_from_text(self._top.name))
        frame = _Frame(self._top, fd, name_bytes, linked=False, ignoring=self._root.ignoring)
        self._stack.append(frame)
        try:
            self._compare(frame, self._read(frame))
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

    def _read(self, frame: _Frame) -> Content:
        room = min(MAX_NAME_BYTES, MAX_PATH_BYTES - frame.path_bytes - 1)
        content = read_directory(
            self._root, frame.fd, frame.ignoring, linked=frame.linked, room=room
        )
        frame.ignoring = content.ignoring
        return content

    def _enter(self, above: _Frame, found: Subdirectory, directory: Directory) -> None:
        self.tally.directories += 1
        try:
            frame = self._open(above, found, directory)
        except OSError as error:
            self._give_up(above, directory, error)
            return
        try:
            content = self._read(frame)
        except OSError as error:
            os.close(frame.fd)
            self._give_up(above, directory, error)
            return
        self._stack.append(frame)
        self._compare(frame, content)

    def _open(self, above: _Frame, found: Subdirectory, directory: Directory) -> _Frame:
        if len(self._stack) >= MAX_DEPTH - 1:
            raise OSError(errno.ENAMETOOLONG, "it is too deep")
        ignoring: Ignoring | None = above.ignoring.below(found.name)
        if found.is_link:
            with self._root.find(os.fsencode(found.entry), dir_fd=above.fd) as node:
                ignoring = self._root.ignoring_above(node.below)
                fd = node.reopen()
        else:
            fd = open_subdirectory(found.entry, above.fd)
        path_bytes = above.path_bytes + 1 + len(os.fsencode(found.entry))
        assert ignoring is not None, "the directory would not have been found"
        return _Frame(directory, fd, path_bytes, above.linked or found.is_link, ignoring)

    def _give_up(self, above: _Frame, directory: Directory, error: OSError) -> None:
        """Goes on without having read a directory."""
        self._skip(directory, error.strerror or str(error))
        if error.errno in _FORGET and directory.id and directory.scanned:
            for child in self._writer.children(directory).values():
                self._writer.lose_directory(child)
            for name, (id_, _size, _mtime) in self._writer.files(directory).items():
                self._writer.lose_file(id_, name)
            directory.size = directory.files = 0
        directory.scanned = True
        self._writer.touch(directory)
        above.size += directory.size
        above.files += directory.files

    def _compare(self, frame: _Frame, content: Content) -> None:
        """Brings one directory's rows in line with what was read of it."""
        directory = frame.directory
        is_new = not directory.scanned
        for name, reason in content.skipped:
            self._skip(directory, reason, name)
        self._compare_files(frame, content, is_new=is_new)
        self._compare_directories(frame, content, is_new=is_new)
        if is_new:
            directory.scanned = True
            self._writer.touch(directory)

    def _compare_files(self, frame: _Frame, content: Content, *, is_new: bool) -> None:
        # In order of their names, rows that are listed together are stored together.
        content.files.sort()
        frame.files = len(content.files)
        frame.size = sum(size for _, size, _ in content.files)
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
            directory = stored.pop(found.name, None)
            if directory is None:
                directory = Directory(frame.directory, found.name, found.mtime)
                self._writer.add_directory(directory)
            elif directory.mtime != found.mtime:
                directory.mtime = found.mtime
                self._writer.touch(directory)
            frame.pending.append((found, directory))
        frame.pending.reverse()
        for gone in stored.values():
            self._writer.lose_directory(gone)

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
