"""Whose clock is wrong, as far as the times in records tell. Pure.

A record more than a day old or ahead is dropped, and nobody would meet and nobody know why.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from hdpd.identity.keys import PeerId
from hdpd.recent import Recent

WRONG_S: Final = 3600.0  # less is nobody's trouble
KEPT_S: Final = 3600.0
JUMP_S: Final = 30.0  # of our own clock; records are on their way for less
MAX_PEERS: Final = 256  # 100 bytes each; the one heard longest ago is forgotten


class ClockDifference(Struct, frozen=True):
    """`seconds` that the clock of a peer is ahead of ours; negative: behind."""

    peer_id: PeerId
    seconds: float


class Clocks:
    """The difference of each peer's clock to ours, from its latest record."""

    def __init__(self) -> None:
        self._heard: Recent[PeerId, tuple[float, float]] = Recent(MAX_PEERS)

    def heard(self, peer_id: PeerId, seconds: float, now: float) -> bool:
        """A record was made `seconds` ahead of our clock; whether that is wrong, and news."""
        before = self._heard.get(peer_id)
        self._heard.put(peer_id, (seconds, now))
        was_wrong = before is not None and abs(before[0]) > WRONG_S
        return abs(seconds) > WRONG_S and not was_wrong

    def forget_all(self) -> None:
        """Our clock was set: what was compared with it is past."""
        self._heard.clear()

    def difference(self, peer_id: PeerId, now: float) -> float | None:
        """As its latest record has it; None where there is none from lately."""
        seconds, at = self._heard.get(peer_id) or (None, now)
        return seconds if now - at < KEPT_S else None

    def wrong(self, now: float) -> tuple[list[ClockDifference], int]:
        """Those that differ by more than an hour, and how many were heard lately."""
        recent = {k: s for k, (s, at) in self._heard.items() if now - at < KEPT_S}
        found = [ClockDifference(k, s) for k, s in recent.items() if abs(s) > WRONG_S]
        return found, len(recent)
