"""When to dial a peer again that could not be reached. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_S = 1.0
# A friend who was here within a day is likely to come back soon.
MAX_RECENT_S = 30.0
MAX_S = 600.0
RECENT_S = 24 * 3600.0


@dataclass(slots=True)
class Backoff:
    """Doubles with each failure, with jitter so that two sides do not stay in step."""

    failures: int = 0

    def delay(self, since_connected: float, jitter: float) -> float:
        """Seconds until the next try; `jitter` is random in [0, 1)."""
        longest = MAX_RECENT_S if since_connected < RECENT_S else MAX_S
        wait = min(longest, FIRST_S * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return wait * (0.5 + jitter)

    def reset(self) -> None:
        self.failures = 0
