"""How many bytes were sent to each peer on this day. Pure: the day is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hdpd.identity.keys import PeerId

MAX_PEERS = 10_000
"""That are counted in a day, about 150 bytes each; whoever was sent least is forgotten first."""


class DayCount:
    """Starts anew with each day; a day is any text that is another one tomorrow."""

    def __init__(self, day: str, sent: Mapping[PeerId, int]) -> None:
        self.day = day
        self._sent = dict(sent)
        self._unsaved: set[PeerId] = set()

    def add(self, peer: PeerId, size: int, day: str) -> None:
        """So many more bytes were sent to the peer."""
        self._turn_to(day)
        if peer not in self._sent and len(self._sent) >= MAX_PEERS:
            least = min(self._sent, key=self._sent.__getitem__)
            del self._sent[least]
            self._unsaved.discard(least)
        self._sent[peer] = self._sent.get(peer, 0) + size
        self._unsaved.add(peer)

    def sent(self, peer: PeerId, day: str) -> int:
        """Bytes that were sent to the peer on that day."""
        self._turn_to(day)
        return self._sent.get(peer, 0)

    def take_unsaved(self) -> dict[PeerId, int]:
        """The counts that changed since the last call."""
        unsaved, self._unsaved = self._unsaved, set()
        return {peer: self._sent[peer] for peer in unsaved}

    def keep_unsaved(self, day: str, peers: Iterable[PeerId]) -> None:
        """Takes back what `take_unsaved` gave on that day and could not be saved."""
        if day == self.day:
            self._unsaved.update(peer for peer in peers if peer in self._sent)

    def _turn_to(self, day: str) -> None:
        if day != self.day:
            self.day = day
            self._sent.clear()
            self._unsaved.clear()
