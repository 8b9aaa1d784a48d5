"""hdpd's part of watching a share: it hears what happens in the directories that are watched.

The directories are known by their ids in the index, which outlive renaming.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Final, Protocol

from hdpd.shares import inotify
from hdpd.shares.ignorefile import IGNORE_FILE
from hdpd.shares.inotify import Event
from hdpd.shares.paths import is_ours
from hdpd.shares.watchtable import WatchTable

MAX_CHANGED: Final = 2000  # directories that changed; with more of them all are looked at
PAUSE_S: Final = 0.1  # between readings: events of a busy directory are heard together

_IGNORE_FILE = IGNORE_FILE.encode()
_OF_ITSELF = inotify.DELETED_ITSELF | inotify.MOVED_ITSELF | inotify.UNMOUNTED


class Listener(Protocol):
    """Who is told what was heard."""

    def directory_changed(self) -> None:
        """There is something in `Watching.changed`."""
        ...

    def changes_missed(self) -> None:
        """More happened than was heard."""
        ...

    def root_moved(self) -> None:
        """The share's own directory was removed, renamed or unmounted, or may have been."""
        ...


class Watching:
    """The watches of one share, from one thorough scan to the next."""

    def __init__(self, listener: Listener, *, hidden: bool) -> None:
        """Raises OSError when the system has no more of what it takes."""
        self.fd = inotify.open_inotify()
        self.changed: set[int] = set()
        """Ids of directories in which something happened."""
        self.root = 0
        """The id of the share's own directory."""
        self._root_watch: int | None = None
        self._listener = listener
        self._hidden = hidden
        self._table = WatchTable()
        self._others: dict[int, set[int]] = {}  # of a directory that links lead to as well
        self._early: set[int] = set()  # heard of before the scanner could tell what they are
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.fd, self._hear)
        self._pause: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """The number of watched directories."""
        return len(self._table)

    @property
    def holds_root(self) -> bool:
        """Whether the share's own directory is watched, so that nobody has to look after it."""
        return self._root_watch is not None

    def claim(self, watches: Iterable[tuple[int, int]]) -> None:
        """The scanner added these watches, of directories with these ids."""
        for watch, id_ in watches:
            if self._table.add(watch, id_) != id_:
                self._others.setdefault(watch, set()).add(id_)
            if id_ == self.root:
                self._root_watch = watch
            if watch in self._early:
                self._early.discard(watch)
                self._change(watch)

    def settle(self) -> None:
        """The scan is over: what is still unknown is no longer in the share."""
        self._early.clear()

    def trim(self, limit: int) -> int:
        """Gives up the watches of the least recently used directories beyond `limit`; how many."""
        surplus = max(0, len(self._table) - limit)
        others = self._table.least_used(surplus + 1) if surplus else []
        for watch in [watch for watch in others if watch != self._root_watch][:surplus]:
            inotify.forget_watch(self.fd, watch)
            self._drop(watch)
        return surplus

    def take_changed(self) -> list[int]:
        """The directories that changed, to be read again."""
        changed = sorted(self.changed)
        self.changed.clear()
        return changed

    def close(self) -> None:
        """Ends all watches."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self.fd)
        os.close(self.fd)

    def _hear(self) -> None:
        for event in inotify.read_events(self.fd):
            self._note(event)
        self._loop.remove_reader(self.fd)
        self._pause = self._loop.call_later(PAUSE_S, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self.fd, self._hear)

    def _note(self, event: Event) -> None:
        watch, mask, name = event
        if mask & inotify.OVERFLOWED:
            self._listener.changes_missed()
        elif mask & (inotify.REMOVED | _OF_ITSELF):
            if watch == self._root_watch:
                self._listener.root_moved()
            if mask & inotify.REMOVED:
                self._drop(watch)
        elif self._is_shared(name):
            self._change(watch)

    def _is_shared(self, name: bytes) -> bool:
        if not name.startswith(b".") or name == _IGNORE_FILE:
            return True
        return self._hidden and not is_ours(name)

    def _change(self, watch: int) -> None:
        id_ = self._table.use(watch)
        if id_ is None:
            self._early.add(watch)
            return
        self.changed.update((id_, *self._others.get(watch, ())))
        if len(self.changed) > MAX_CHANGED:
            self.changed.clear()
            self._listener.changes_missed()
        else:
            self._listener.directory_changed()

    def _drop(self, watch: int) -> None:
        self._table.drop(watch)
        self._others.pop(watch, None)
        self._early.discard(watch)
        if watch == self._root_watch:
            self._root_watch = None
