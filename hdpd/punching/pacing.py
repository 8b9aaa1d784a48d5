"""How fast punching may send, so that nobody can make this peer flood somebody. Pure.

One for the whole process. A member can name any address in a punch request; what then goes there is
bounded here, whatever all punches together would like to send.
"""

from __future__ import annotations

from typing import Final

from hdpd.bucket import Bucket
from hdpd.recent import Recent

MAX_PACKETS_PER_S: Final = 500.0
# To an address from which nothing valid has come lately: about 30 kbit/s of 41-byte packets.
MAX_STRANGER_PACKETS_PER_S: Final = 50.0
HEARD_S: Final = 5.0
MAX_BIRTHDAY_RUNS: Final = 2
# Tokens that may be saved up: what one round of a full set of candidates needs at once.
_BURST: Final = 50.0
_STRANGER_BURST: Final = 12.0
MAX_HOSTS: Final = 1024  # about 200 KB; forgetting a host gives it a new burst of 12 packets


class Pacer:
    """Says whether a packet may go out now; one that may not is skipped, never queued."""

    def __init__(self) -> None:
        self._all = Bucket(MAX_PACKETS_PER_S, _BURST)
        self._strangers = Recent[str, Bucket](MAX_HOSTS)
        self._heard = Recent[str, float](MAX_HOSTS)
        self._birthday_runs: set[object] = set()
        self.refused = 0

    def allow(self, host: str, now: float, *, birthday: bool = False) -> bool:
        """Whether to send one packet to `host`; `birthday` when it belongs to a birthday run."""
        stranger = None
        if not birthday and now - self._heard.get(host, float("-inf")) > HEARD_S:
            stranger = self._bucket_of(host)
        if self._all.level(now) < 1 or (stranger is not None and stranger.level(now) < 1):
            self.refused += 1
            return False
        self._all.take(now, 1)
        if stranger is not None:
            stranger.take(now, 1)
        return True

    def heard(self, host: str, now: float) -> None:
        """An authentic packet came from there."""
        self._heard.put(host, now)

    def _bucket_of(self, host: str) -> Bucket:
        bucket = self._strangers.get(host) or Bucket(MAX_STRANGER_PACKETS_PER_S, _STRANGER_BURST)
        self._strangers.put(host, bucket)
        return bucket

    def begin_birthday(self, run: object) -> bool:
        """Whether `run` may be a birthday run; it is one until `end_birthday`."""
        if run not in self._birthday_runs and len(self._birthday_runs) >= MAX_BIRTHDAY_RUNS:
            return False
        self._birthday_runs.add(run)
        return True

    def end_birthday(self, run: object) -> None:
        self._birthday_runs.discard(run)
