"""Whether another machine uses our key: a copied state directory, a restored backup. Pure.

Both would be the same peer, each taking the other's sessions away. Brokers bring our own records
back to us; one of ours that we have not made comes from the other one.
"""

from __future__ import annotations

from typing import Final

from hdpd.discovery.records import NONCE_BYTES, Record
from hdpd.recent import Recent

MAX_MADE: Final = 1024  # of our latest records, 100 bytes each
SLACK_S: Final = 2.0  # times in records are whole seconds
KEPT_S: Final = 1800.0  # three announcements


class Twin:
    """`place` says where the other one was last seen."""

    def __init__(self, started: float) -> None:
        """`started` is when this hdpd was, in seconds since the epoch: older records of ours are
        from a run before.
        """
        self._started = started
        self._made: Recent[bytes, None] = Recent(MAX_MADE)
        self._seen: tuple[str, float] | None = None

    def made(self, blob: bytes) -> None:
        """We have sealed this record."""
        self._made.put(blob[:NONCE_BYTES], None)

    def heard(self, record: Record, blob: bytes, now: float) -> bool:
        """A broker brought a record of ours; whether it is another's, and news."""
        if blob[:NONCE_BYTES] in self._made or record.time < self._started - SLACK_S:
            return False
        hosts = ", ".join(each.host for each in record.candidates[:3])
        return self.seen_at(hosts or "an address that it does not tell", now)

    def seen_at(self, place: str, now: float) -> bool:
        """Somebody with our key is there; whether that is news."""
        is_news = self.place(now) is None
        self._seen = (place, now)
        return is_news

    def place(self, now: float) -> str | None:
        """Where it is; None when none was seen in the last half an hour."""
        if self._seen is None or now - self._seen[1] > KEPT_S:
            return None
        place, ago = self._seen[0], int(now - self._seen[1]) // 60
        return f"{place}, {ago} minutes ago" if ago else place
