"""A token bucket: how much may pass, and how much of that at once. Pure."""

from __future__ import annotations

import math


class Bucket:
    """Fills with `rate` tokens per second up to `burst`, and is full at first.

    An infinite rate and burst are no limit. `now` is in seconds on any one clock; a clock that goes
    back fills nothing.
    """

    __slots__ = ("_burst", "_filled_at", "_level", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = 0.0
        self._filled_at = -math.inf

    def level(self, now: float) -> float:
        """The tokens that are there; less than 0 when more were taken."""
        if now > self._filled_at:
            earned = (now - self._filled_at) * self._rate
            self._level = min(self._burst, self._level + earned)
            self._filled_at = now
        return self._level

    def is_full(self, now: float) -> bool:
        """Whether it is as good as a new one, and can be forgotten."""
        return self.level(now) >= self._burst

    def allow(self, now: float, cost: float = 1.0) -> bool:
        """Whether `cost` tokens are there; they are taken then."""
        if self.level(now) < cost:
            return False
        self._level -= cost
        return True

    def take(self, now: float, cost: float) -> None:
        """Takes tokens whether they are there or not; a negative cost gives back."""
        self._level = min(self._burst, self.level(now) - cost)

    def ready_at(self) -> float:
        """When nothing is owed any more: a time that is past if nothing is now."""
        return self._filled_at + max(0.0, -self._level) / self._rate
