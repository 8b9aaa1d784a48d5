"""Walking a whole tree in pages, parents before what is in them, from whatever knows the tree.

Each directory gives its files by name, then its subdirectories by name, each followed by what is in
it. The walk holds nothing between two pages but the cursor, so it goes on after a restart, and when
directories have come or gone meanwhile.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, Protocol, TypeVar

from msgspec import Struct

from hdpd.shares.cursors import Step, TreeCursor
from hdpd.wire.messages import Entry, EntryType
from hdpd.wire.paths import MAX_DEPTH, EntryName, RemotePath

N = TypeVar("N")


class FileRow(NamedTuple):
    """A file of a directory: size in bytes, mtime in ns."""

    name: str
    size: int
    mtime: int


class DirectoryRow(Struct, Generic[N], frozen=True):
    """A directory in a directory, with the totals of what is below it as far as known."""

    node: N
    name: str
    size: int
    mtime: int
    files: int


class Source(Protocol[N]):
    """What knows a tree; names are reversible text, ordered as in hdpd/shares/pages.py."""

    @property
    def is_former(self) -> bool:
        """Whether it is ordered as before there was a natural order."""
        ...

    def is_known(self, node: N) -> bool:
        """Whether this source knows what is in the directory."""
        ...

    def files(self, node: N, after: str, limit: int) -> list[FileRow]:
        """The next files after a name (empty: from the first)."""
        ...

    def directory_after(self, node: N, after: str) -> DirectoryRow[N] | None:
        """The next subdirectory after a name."""
        ...

    def directory_named(self, node: N, name: str) -> N | None:
        """The subdirectory of that name."""
        ...


class _Frame(Struct, Generic[N]):
    """A directory that the walk is in; `files_after` is None when its files are done."""

    node: N
    path: RemotePath
    files_after: str | None = ""
    directories_after: str = ""


class TreePage(Struct, frozen=True):
    """Part of a walk. `cursor` says where to go on, None at the end. `unknown` is a directory whose
    content the source does not know and that has to come from elsewhere before it goes on.
    """

    entries: list[Entry]
    cursor: TreeCursor | None
    unknown: RemotePath | None = None


def walk(source: Source[N], top: N, after: TreeCursor | None, limit: int) -> TreePage:
    """The next (at most) `limit` entries below the known directory `top`."""
    entries: list[Entry] = []
    frames = _frames_at(source, top, after)
    while frames:
        frame = frames[-1]
        if not source.is_known(frame.node):
            # A walk that comes to it is before its first file; one that goes on may be inside.
            is_fresh = frame.files_after == "" or after is None
            cursor = _after(source, Step.DIRECTORY, frame.path) if is_fresh else after
            return TreePage(entries, cursor, unknown=frame.path)
        if frame.files_after is not None:
            rows = source.files(frame.node, frame.files_after, limit - len(entries))
            for name, size, mtime in rows:
                path = frame.path / EntryName.from_text(name)
                entries.append(Entry(path, EntryType.FILE, size, mtime, 1))
            if len(entries) >= limit:
                return TreePage(entries, _after(source, Step.FILE, entries[-1].path))
            frame.files_after = None
        row = source.directory_after(frame.node, frame.directories_after)
        if row is None:
            frames.pop()
            continue
        frame.directories_after = row.name
        path = frame.path / EntryName.from_text(row.name)
        entries.append(Entry(path, EntryType.DIRECTORY, row.size, row.mtime, row.files))
        frames.append(_Frame(row.node, path))
        if len(entries) >= limit:
            return TreePage(entries, _after(source, Step.DIRECTORY, path))
    return TreePage(entries, None)


def _after(source: Source[N], step: Step, path: RemotePath) -> TreeCursor:
    return TreeCursor(step, path, source.is_former)


def _frames_at(source: Source[N], top: N, after: TreeCursor | None) -> list[_Frame[N]]:
    """The directories that a walk is in right after the step `after`, as far as they still are."""
    frames = [_Frame(top, RemotePath(b""))]
    if after is None:
        return frames
    *above, last = after.path
    for name in above:
        if not _descend(source, frames, name):
            return frames
    if after.step is Step.FILE:
        frames[-1].files_after = last.text
    elif after.step is Step.DIRECTORY:
        _descend(source, frames, last)
    else:
        _pass(frames[-1], last)
    return frames


def _pass(frame: _Frame[N], name: EntryName) -> None:
    frame.files_after = None
    frame.directories_after = name.text


def _descend(source: Source[N], frames: list[_Frame[N]], name: EntryName) -> bool:
    frame = frames[-1]
    _pass(frame, name)
    node = source.directory_named(frame.node, name.text)
    if node is None or len(frames) > MAX_DEPTH:
        return False
    frames.append(_Frame(node, frame.path / name))
    return True
