"""The scanner's part of watching: it adds the watches, the most recently used directories first."""

from __future__ import annotations

import errno
import os

from hdpd.scanner.writer import Directory, IndexWriter
from hdpd.shares.inotify import watch_directory
from hdpd.shares.mounts import tells_changes

_NONE_LEFT = frozenset({errno.ENOSPC, errno.ENOMEM})


class Watcher:
    """Watches directories through `inotify`, up to `limit` of them.

    Where there are more, those that changed last: a collection grows where it grew.
    """

    def __init__(self, inotify: int, limit: int, oldest: int | None) -> None:
        self._inotify = inotify
        self._limit = limit
        self._oldest = oldest  # the mtime below which a known directory is not worth a watch
        self._tells: dict[int, bool] = {}
        self._found: list[tuple[int, Directory]] = []
        self._count = 0
        self.unwatched = 0

    def watch(self, fd: int, status: os.stat_result, directory: Directory) -> bool:
        """Watches an open directory if it can; whether it does."""
        device = status.st_dev
        if device not in self._tells:
            self._tells[device] = tells_changes(device)
        is_known = directory.parent is not None and directory.id
        is_old = self._oldest is not None and is_known and directory.mtime < self._oldest
        if not self._tells[device] or is_old or self._count >= self._limit:
            self.unwatched += 1
            return False
        try:
            watch = watch_directory(self._inotify, fd)
        except OSError as error:
            if error.errno in _NONE_LEFT:
                self._limit = 0
            self.unwatched += 1
            return False
        self._count += 1
        self._found.append((watch, directory))
        return True

    def take(self) -> list[tuple[int, int]]:
        """The new watches and the ids of their directories, of those that the index has by now."""
        found, waiting = [], []
        for one in self._found:
            watch, id_ = one[0], one[1].id  # once: a thread is giving ids
            if id_ > 0:
                found.append((watch, id_))
            else:
                waiting.append(one)
        self._found = waiting
        return found


def oldest_worth(writer: IndexWriter, limit: int) -> int | None:
    """The mtime that so many directories of the index reach, None when all of them may."""
    row = writer.connection.execute(
        "SELECT mtime FROM directory ORDER BY mtime DESC LIMIT 1 OFFSET ?", (limit,)
    )
    return next((mtime + 1 for (mtime,) in row), None)
