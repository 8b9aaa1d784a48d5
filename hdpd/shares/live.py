"""Listing what the index does not know yet, straight from the file system. Everything blocks."""

from __future__ import annotations

import os
from bisect import bisect_right

from hdpd.errors import FileUnreadable, HdpdError, PathNotFound
from hdpd.shares.cursors import PageCursor, TreeCursor
from hdpd.shares.opening import Place, Root, open_directory, open_root, real_path
from hdpd.shares.pages import Page, key_of, page_of
from hdpd.shares.paths import path_below
from hdpd.shares.reading import Content, Subdirectory, read_directory
from hdpd.shares.tree import DirectoryRow, FileRow, TreePage, walk
from hdpd.wire.messages import Entry, EntryType
from hdpd.wire.paths import (
    MAX_DEPTH,
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    RemotePath,
    text_from_bytes,
)


def live_page(place: Place, below: bytes, sort: str, after: PageCursor | None, limit: int) -> Page:
    """A page of the directory `below` the share at `place`; totals of directories are not known.

    Raises:
        PathNotFound, NotADirectory, FileUnreadable, ShareAway: as named.
    """
    with open_root(place) as root:
        content = _read(root, below)
    entries = [
        Entry(RemotePath.from_text(name), EntryType.FILE, size, mtime, 1)
        for name, size, mtime in content.files
    ]
    entries += [
        Entry(RemotePath.from_text(found.name), EntryType.DIRECTORY, 0, found.mtime, 0)
        for found in content.directories
    ]
    return page_of(entries, sort, after, limit)


def live_walk(
    place: Place, below: bytes, after: TreeCursor | None, limit: int, *, is_former: bool = False
) -> TreePage:
    """A page of all that is in the directory `below`; raises as `live_page`."""
    with open_root(place) as root:
        return walk(_LiveTree(root, below, is_former=is_former), below, after, limit)


def _read(root: Root, below: bytes) -> Content:
    fd = open_directory(root, below)
    try:
        # Where the path is not the real one, a link is in it.
        real = path_below(root.real, real_path(fd))
        room = MAX_PATH_BYTES - 2 * (MAX_NAME_BYTES + 1) - len(below)
        above = root.ignoring_above(below if real is None else real)
        if above is None:  # since it was opened
            raise PathNotFound(f"there is no {text_from_bytes(below)!r} here")
        return read_directory(root, fd, above, linked=real != below, room=room)
    except OSError as error:
        path = text_from_bytes(below)
        raise FileUnreadable(f"{path!r} cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)


class _LiveTree:
    """The file system as the source of a walk; a node is a path below the share."""

    def __init__(self, root: Root, top: bytes, *, is_former: bool) -> None:
        self._root = root
        self.is_former = is_former
        self._key = key_of(is_former=is_former)
        # The directories that the walk is in, so that each is read once for a page.
        self._contents = {top: self._sorted(_read(root, top))}

    def is_known(self, node: bytes) -> bool:
        return True

    def files(self, node: bytes, after: str, limit: int) -> list[FileRow]:
        rows = self._content(node).files
        start = bisect_right(rows, self._key(after), key=lambda row: self._key(row[0]))
        return [FileRow(*row) for row in rows[start : start + limit]]

    def directory_after(self, node: bytes, after: str) -> DirectoryRow[bytes] | None:
        rows = self._content(node).directories
        start = bisect_right(rows, self._key(after), key=lambda found: self._key(found.name))
        if start == len(rows) or node.count(b"/") > MAX_DEPTH - 4:  # as deep as can be named
            return None
        found = rows[start]
        return DirectoryRow(_join(node, found), found.name, 0, found.mtime, 0)

    def directory_named(self, node: bytes, name: str) -> bytes | None:
        found = next((row for row in self._content(node).directories if row.name == name), None)
        return _join(node, found) if found else None

    def _content(self, node: bytes) -> Content:
        content = self._contents.get(node)
        if content is None:
            for path in [path for path in self._contents if path_below(path, node) is None]:
                del self._contents[path]
            try:
                content = self._sorted(_read(self._root, node))
            except HdpdError:  # as in a scan, what cannot be read is empty
                content = Content()
            self._contents[node] = content
        return content

    def _sorted(self, content: Content) -> Content:
        content.files.sort(key=lambda row: self._key(row[0]))
        content.directories.sort(key=lambda found: self._key(found.name))
        return content


def _join(node: bytes, found: Subdirectory) -> bytes:
    entry = os.fsencode(found.entry)
    return node + b"/" + entry if node else entry
