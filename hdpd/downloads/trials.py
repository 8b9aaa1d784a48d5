"""How many connections a transfer uses: tries more of them, and keeps what is faster. Pure.

A loss says nothing about its cause, so neither side can know whether loss or the line limits a
transfer. But more connections are much faster in the first case and change nothing in the second.
"""

from __future__ import annotations

from typing import Final

MAX_CONNECTIONS: Final = 8
GROWTH: Final = 3  # 1, 3, 8: the most after two trials

SETTLE_S: Final = 1.0  # until new connections are beyond their slow start
MEASURE_S: Final = 1.5
CLEAR_S: Final = 0.75  # so soon a trial is over that is plainly a success
CLEARLY_FASTER: Final = 2.0
FASTER: Final = 1.3
"""Times as fast as before, to keep what was opened: three times are expected where loss limits, and
a lossy line's rate varies by a fifth over MEASURE_S."""

NOT_SLOWER: Final = 0.9  # times as fast as before, to stay with fewer
FIRST_PAUSE_S: Final = 5.0  # after a trial that was in vain; doubled by each further one
MAX_PAUSE_S: Final = 600.0
REVIEW_S: Final = 120.0  # between trials with fewer connections

MIN_ROUND_TRIP_S: Final = 0.015
"""Below it one connection recovers from losses soon enough: on a local network."""

MIN_RATE: Final = 16 * 1024  # bytes/s; below it the peer is busy with others, or the line is cut


class Trials:
    """`connections` is how many connections with one peer there should be."""

    def __init__(self) -> None:
        self.connections = 1
        self._measured_from: float | None = None
        self._received = 0
        # Connections and rate, while others are tried.
        self._before: tuple[int, float] | None = None
        self._grow_at = self._review_at = 0.0
        self._pause = FIRST_PAUSE_S

    def step(self, now: float, received: int, round_trip: float) -> None:
        """`received` bytes came since the last step, at most a second or two ago.

        To be called while there is something to receive; after a break `interrupt` comes first.
        """
        if self._measured_from is None:
            self._measured_from = now + SETTLE_S
        if now <= self._measured_from:
            self._received = 0
            return
        self._received += received
        elapsed = now - self._measured_from
        rate = self._received / elapsed
        if elapsed < MEASURE_S and not (elapsed >= CLEAR_S and self._is_clear_success(rate)):
            return
        self._measured_from, self._received = now, 0
        if rate < MIN_RATE:
            self.interrupt()
            return
        if self._before is not None:
            connections_before, rate_before = self._before
            # More than in proportion is the slow start of the new ones, and does not last.
            rate = min(rate, rate_before * max(1.0, self.connections / connections_before))
            if not self._judge(rate, connections_before, rate_before, now):
                return
        if round_trip >= MIN_ROUND_TRIP_S:
            if self.connections < MAX_CONNECTIONS and now >= self._grow_at:
                self._try(min(GROWTH * self.connections, MAX_CONNECTIONS), rate)
            elif self.connections > 1 and now >= self._review_at:
                self._try(self.connections // 2, rate)

    def interrupt(self) -> None:
        """There is nothing to receive for a while; a trial that was under way tells nothing."""
        if self._before is not None:
            self.connections, _rate = self._before
        self._before = self._measured_from = None

    def refused(self, connections: int, now: float) -> None:
        """There cannot be more than `connections` now."""
        self.connections = connections
        self._before = self._measured_from = None
        self._review_at = now + REVIEW_S
        self._rest(now)

    def _is_clear_success(self, rate: float) -> bool:
        if self._before is None:
            return False
        connections_before, rate_before = self._before
        return self.connections > connections_before and rate >= CLEARLY_FASTER * rate_before

    def _try(self, connections: int, rate: float) -> None:
        self._before = self.connections, rate
        self.connections = connections
        self._measured_from = None

    def _judge(self, rate: float, connections_before: int, rate_before: float, now: float) -> bool:
        """Ends a trial; whether what was tried is kept."""
        self._before = None
        grown = self.connections > connections_before
        kept = rate >= (FASTER if grown else NOT_SLOWER) * rate_before
        if not kept:
            self.connections = connections_before
            self._measured_from = None
        # What was found is pursued at once, and the opposite looked at after a while.
        self._review_at = now if kept and not grown else now + REVIEW_S
        if kept:
            self._pause = FIRST_PAUSE_S
            self._grow_at = now if grown else now + REVIEW_S
        elif grown:
            self._rest(now)
        return kept

    def _rest(self, now: float) -> None:
        self._grow_at = now + self._pause
        self._pause = min(2 * self._pause, MAX_PAUSE_S)
