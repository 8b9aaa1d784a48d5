"""When a share is scanned, and how far a scan reaches. Pure: the decisions alone.

A share that is watched whole is looked through once after the start, and from then on only where
something happened, so that its disk can sleep. What cannot be watched is looked through again and
again: mostly only directories whose mtime changed are read, and all of them once a day, because a
file that is changed in place changes no directory. All times are seconds of one clock.
"""

from __future__ import annotations

import math
from typing import Final

from hdpd.shares.jobs import Reach

QUIET_S: Final = 0.25  # after the last change of several that come together
LONGEST_S: Final = 1.0  # a change waits for others at most so long
# Scans that follow changes take at most this part of all time, beyond a credit of so many seconds.
PART: Final = 1 / 20
CREDIT_S: Final = 5.0
LONGEST_REST_S: Final = 60.0
MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S


class Schedule:
    """The schedule of one share."""

    def __init__(self, interval: float | None, read_before: float | None, now: float) -> None:
        """`interval` is that of the configuration (None: as needed), `read_before` how long ago
        everything was last read (None: never).
        """
        self._interval = interval
        self._read_at = -math.inf if read_before is None else now - read_before
        self._asked = False
        self._stale_at = -math.inf  # from then on, what happened is not known
        self._changes: tuple[float, float] | None = None  # first and last that was not seen to
        self._unwatched = 0
        self._last_look = now
        self._last_took = 0.0
        self._credit = CREDIT_S, now  # at that moment

    # What happens

    def set_interval(self, interval: float | None) -> None:
        """The configuration says something else now."""
        self._interval = interval

    def ask(self) -> None:
        """Somebody wants everything read now."""
        self._asked = True

    def distrust(self) -> None:
        """The share was away, or changes were missed."""
        self._stale_at = -math.inf

    def changed(self, now: float) -> None:
        """Something in a watched directory changed."""
        first = self._changes[0] if self._changes else now
        self._changes = first, now

    def begin(self, reach: Reach) -> None:
        """A scan begins; what happens from now on is for the next one."""
        self._changes = None
        if reach != "named":
            self._stale_at = math.inf
        if reach == "all":
            self._asked = False

    def end(self, reach: Reach, started: float, now: float, unwatched: int) -> None:
        """A scan was completed, that could not watch so many directories."""
        if reach == "named":
            self._credit = self._credit_at(now) - (now - started), now
            self._unwatched += unwatched
            return
        self._unwatched = unwatched
        self._last_look, self._last_took = now, now - started
        if reach == "all":
            self._read_at = now

    def fail(self, started: float, now: float) -> None:
        """A scan was not completed; the next one comes the sooner, the less this one cost."""
        self._stale_at = now + min(HOUR_S, max(MINUTE_S, (now - started) / PART))

    # What follows

    @property
    def asked(self) -> bool:
        """Whether somebody waits for a scan of everything."""
        return self._asked

    @property
    def unwatched(self) -> int:
        """Directories whose changes nobody tells."""
        return self._unwatched

    @property
    def interval(self) -> float:
        """The time between looks without a reason; infinite for none."""
        if self._interval is not None:
            usual = self._interval
        else:
            usual = HOUR_S if self._unwatched else math.inf
        return max(usual, self._last_took / PART)

    def due(self, now: float) -> Reach | None:
        """The scan that should begin now."""
        if self._asked:
            return "all"
        if now >= min(self._stale_at, self._last_look + self.interval):
            return "all" if now - self._read_at >= DAY_S else "changed"
        if self._changes and now >= self._changes_at(*self._changes):
            return "named"
        return None

    def wait(self, now: float) -> float:
        """Seconds until something is due, if nothing happens; may be infinite."""
        times = [self._stale_at, self._last_look + self.interval]
        if self._changes:
            times.append(self._changes_at(*self._changes))
        return max(0.0, min(times) - now)

    def _credit_at(self, now: float) -> float:
        credit, then = self._credit
        return min(CREDIT_S, credit + (now - then) * PART)

    def _changes_at(self, first: float, last: float) -> float:
        rest = max(0.0, -self._credit_at(first) / PART)
        return max(min(last + QUIET_S, first + LONGEST_S), first + min(rest, LONGEST_REST_S))
