"""Finding a renamed directory again in the index, so that one row changes and nothing below it."""

from __future__ import annotations

import os

from hdpd.scanner.writer import UNREAD, Directory, IndexWriter
from hdpd.shares.opening import Root, inode_of
from hdpd.shares.reading import Subdirectory
from hdpd.wire.paths import bytes_from_text


class Moves:
    """Looks for what was renamed within the share at `root`, whose row in the index is `top`."""

    def __init__(self, root: Root, top: Directory, writer: IndexWriter) -> None:
        self._root = root
        self._top = top
        self._writer = writer

    def find(self, found: Subdirectory) -> Directory | None:
        """The stored directory that a new one was, if it is no longer where the index has it.

        Renaming changes neither inode nor mtime of what is renamed. An inode that was given again
        comes with another mtime.
        """
        if not found.inode:
            return None
        for directory in self._writer.with_inode(found.inode, found.mtime):
            if directory.scanned != UNREAD and self._is_gone(directory, found.inode):
                return directory
        return None

    def _is_gone(self, directory: Directory, inode: int) -> bool:
        way = self._writer.way_to(directory.id)
        if way is None:
            return True
        if way[0][0] != self._top.id:  # it is another share's
            return False
        path = b"/".join(bytes_from_text(name) for _, name in way[1:])
        try:
            status = os.stat(path or b".", dir_fd=self._root.fd, follow_symlinks=False)
        except OSError:
            return True
        return inode_of(status) != inode
