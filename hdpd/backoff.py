"""How long to wait before something that failed is tried again. Pure."""

from __future__ import annotations

from msgspec import Struct


class Backoff(Struct, frozen=True):
    """Doubles with each failure, from `first` to `longest` seconds."""

    first: float
    longest: float

    def delay(self, failures: int, jitter: float = 0.5) -> float:
        """Seconds to wait after so many failures before this one.

        `jitter` from [0, 1) makes it half to one and a half of that, so that many who wait do not
        stay in step; without it nothing is spread.
        """
        # More doublings than any `longest` has room for overflow at last.
        return min(self.longest, self.first * 2.0 ** min(failures, 64)) * (0.5 + jitter)
