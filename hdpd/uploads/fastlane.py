"""The fast lane: which reads need not wait for an upload slot. Pure.

A cover or a text, and what a person plays at this moment, should not wait for minutes behind large
files. Who says so is not believed without end: each peer has an allowance that comes back slowly,
and all of them together have a part of what the slots send.
"""

from __future__ import annotations

from typing import Final

from hdpd.bucket import Bucket
from hdpd.identity.keys import PeerId

SMALL_BYTES: Final = 64 * 1024
"""A read of no more is in the lane by itself: covers, texts, and what a file is."""

MAX_READ_BYTES: Final = 1024 * 1024
"""Longer ones are no playing: who plays asks for a piece after the other."""

READ_COST: Final = 16 * 1024
"""Opening a file costs the disk a seek, as much as reading so many bytes."""

ALLOWANCE_BYTES: Final = 8 * 1024 * 1024
"""Of a peer that has not used the lane lately: the beginning of a film, or a few hundred covers."""

RATE: Final = 2 * 1024 * 1024
"""Bytes per second that come back: a film of 16 Mbit/s goes on."""

SHARED_BYTES: Final = 32 * 1024 * 1024
"""Of all peers together, however many there are ..."""

SHARE: Final = 0.5
"""... which comes back with what is sent in slots: at most a third of all goes through the lane."""


class FastLane:
    """What may still go through the lane."""

    def __init__(self) -> None:
        self._shared = float(SHARED_BYTES)
        # Who has all of it back is forgotten: those remain who read within the last seconds,
        # 200 bytes each.
        self._allowances: dict[PeerId, Bucket] = {}

    def admits(self, peer: PeerId, length: int, now: float, *, urgent: bool) -> bool:
        """Whether a read of `length` bytes may go through the lane; then it is counted."""
        if length > (MAX_READ_BYTES if urgent else SMALL_BYTES):
            return False
        cost = length + READ_COST
        if cost > self._shared:
            return False
        allowance = self._allowances.get(peer)
        if allowance is None:
            allowance = self._allowances[peer] = Bucket(RATE, ALLOWANCE_BYTES)
        if not allowance.allow(now, cost):
            return False
        self._shared -= cost
        return True

    def sent_in_slots(self, length: int) -> None:
        """So much more was granted to those who hold a slot."""
        self._shared = min(SHARED_BYTES, self._shared + SHARE * length)

    def forget(self, now: float) -> None:
        """Drops who has all of its allowance back."""
        allowances = self._allowances.items()
        self._allowances = {peer: each for peer, each in allowances if not each.is_full(now)}
