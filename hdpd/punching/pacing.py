"""How fast punching may send, so that nobody can make this peer flood somebody. Pure.

One for the whole process. A member can name any address in a punch request; what then goes there is
bounded here, whatever all punches together would like to send.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_PACKETS_PER_S: Final = 500.0
# To an address from which nothing valid has come lately: about 30 kbit/s of 41-byte packets.
MAX_STRANGER_PACKETS_PER_S: Final = 50.0
HEARD_S: Final = 5.0
MAX_BIRTHDAY_RUNS: Final = 2
# Tokens that may be saved up: what one round of a full set of candidates needs at once.
_BURST: Final = 50.0
_STRANGER_BURST: Final = 12.0
MAX_HOSTS: Final = 1024  # about 200 KB; forgetting a host gives it a new burst of 12 packets


class _Bucket:
    """A token bucket."""

    __slots__ = ("_burst", "_filled", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled = now

    def level(self, now: float) -> float:
        if now > self._filled:
            self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
            self._filled = now
        return self._tokens

    def take(self) -> None:
        self._tokens -= 1


class Pacer:
    """Says whether a packet may go out now; one that may not is skipped, never queued."""

    def __init__(self, now: float) -> None:
        self._all = _Bucket(MAX_PACKETS_PER_S, _BURST, now)
        self._strangers: OrderedDict[str, _Bucket] = OrderedDict()
        self._heard: OrderedDict[str, float] = OrderedDict()
        self._birthday_runs: set[object] = set()
        self.refused = 0

    def allow(self, host: str, now: float, *, birthday: bool = False) -> bool:
        """Whether to send one packet to `host`; `birthday` when it belongs to a birthday run."""
        stranger = None
        if not birthday and now - self._heard.get(host, float("-inf")) > HEARD_S:
            stranger = self._bucket_of(host, now)
        if self._all.level(now) < 1 or (stranger is not None and stranger.level(now) < 1):
            self.refused += 1
            return False
        self._all.take()
        if stranger is not None:
            stranger.take()
        return True

    def heard(self, host: str, now: float) -> None:
        """An authentic packet came from there."""
        self._heard[host] = now
        self._heard.move_to_end(host)
        if len(self._heard) > MAX_HOSTS:
            self._heard.popitem(last=False)

    def _bucket_of(self, host: str, now: float) -> _Bucket:
        bucket = self._strangers.get(host)
        if bucket is None:
            bucket = self._strangers[host] = _Bucket(
                MAX_STRANGER_PACKETS_PER_S, _STRANGER_BURST, now
            )
            if len(self._strangers) > MAX_HOSTS:
                self._strangers.popitem(last=False)
        self._strangers.move_to_end(host)
        return bucket

    def begin_birthday(self, run: object) -> bool:
        """Whether `run` may be a birthday run; it is one until `end_birthday`."""
        if run not in self._birthday_runs and len(self._birthday_runs) >= MAX_BIRTHDAY_RUNS:
            return False
        self._birthday_runs.add(run)
        return True

    def end_birthday(self, run: object) -> None:
        self._birthday_runs.discard(run)
