"""Which watch belongs to which directory, and when each was last used: twenty bytes for each.

The kernel numbers the watches of a descriptor upwards, so they come in order, and a search by
halves finds one. Dictionaries of the same would take a hundred bytes for each of a share's
directories, for as long as hdpd runs. Pure.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from heapq import nsmallest

_GONE = 0  # no directory has this id
_MIN_GONE = 1000  # places that are worth to be closed up


class WatchTable:
    """Ids of directories by watch, positive integers all of them."""

    def __init__(self) -> None:
        self._watches = array("i")
        self._ids = array("q")
        self._used = array("q")
        self._clock = 0  # counts uses
        self._gone = 0

    def __len__(self) -> int:
        return len(self._watches) - self._gone

    def add(self, watch: int, id_: int) -> int:
        """Takes a watch in, as the last used one, unless it is known; returns its directory."""
        at = self._find(watch)
        if at is not None:
            return self._ids[at]
        self._clock += 1
        if not self._watches or watch > self._watches[-1]:
            self._watches.append(watch)
            self._ids.append(id_)
            self._used.append(self._clock)
            return id_
        # One that was told late, or whose place is still there.
        at = bisect_left(self._watches, watch)
        if self._watches[at] == watch:
            self._ids[at], self._used[at] = id_, self._clock
            self._gone -= 1
        else:
            self._watches.insert(at, watch)
            self._ids.insert(at, id_)
            self._used.insert(at, self._clock)
        return id_

    def use(self, watch: int) -> int | None:
        """The directory of a watch, which is the last used one now; None when it is not known."""
        at = self._find(watch)
        if at is None:
            return None
        self._clock += 1
        self._used[at] = self._clock
        return self._ids[at]

    def drop(self, watch: int) -> None:
        """Forgets a watch, if it is known."""
        at = self._find(watch)
        if at is None:
            return
        self._ids[at] = _GONE
        self._gone += 1
        if self._gone >= _MIN_GONE and 2 * self._gone >= len(self._watches):
            self._close_up()

    def least_used(self, count: int) -> list[int]:
        """So many watches, those first whose use is longest ago."""
        known = (at for at, id_ in enumerate(self._ids) if id_ != _GONE)
        return [self._watches[at] for at in nsmallest(count, known, self._used.__getitem__)]

    def _find(self, watch: int) -> int | None:
        at = bisect_left(self._watches, watch)
        if at < len(self._watches) and self._watches[at] == watch and self._ids[at] != _GONE:
            return at
        return None

    def _close_up(self) -> None:
        kept = [at for at, id_ in enumerate(self._ids) if id_ != _GONE]
        self._watches = array("i", [self._watches[at] for at in kept])
        self._ids = array("q", [self._ids[at] for at in kept])
        self._used = array("q", [self._used[at] for at in kept])
        self._gone = 0
