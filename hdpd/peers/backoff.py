"""When to dial a peer again that could not be reached. Pure."""

from __future__ import annotations

from typing import Final

from hdpd.backoff import Backoff

# A friend who was here within a day is likely to come back soon.
RECENT_S: Final = 24 * 3600.0
FRIENDS = Backoff(first=1.0, longest=30.0)
OTHERS = Backoff(first=1.0, longest=600.0)


def dial_delay(failures: int, since_connected: float, jitter: float) -> float:
    """Seconds until the next try after so many failures before this one; `jitter` is random in
    [0, 1), so that two sides do not stay in step.
    """
    backoff = FRIENDS if since_connected < RECENT_S else OTHERS
    return backoff.delay(failures, jitter)
