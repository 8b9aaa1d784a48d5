"""The line for upload slots: whose turn is next, and what those who wait are told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hdpd.identity.keys import PeerId
from hdpd.uploads.decisions import Queued
from hdpd.uploads.receiver import Receiver

REPEAT_S = 15.0
"""Who waits is told its place again, changed or not, so that both ends know the other is there."""

FAVOURITES_IN_A_ROW = 3
"""Turns of favourites to one of the others, who so keep a quarter of the line."""


class Line:
    """The peers that wait, each once; `Slots` bounds how many. The owner's favourites go first,
    within bounds.

    All others go in rounds, in the order of coming: in each it is the turn of one peer of every
    source, so that one person with many keys waits as long for the second of them as everybody else
    does for the second turn (start-time fair queueing).
    """

    def __init__(self, is_favourite: Callable[[PeerId], bool]) -> None:
        self._is_favourite = is_favourite
        self._favourites_in_a_row = 0
        self._receivers: dict[PeerId, Receiver] = {}
        self._round = 0
        self.moved = False  # since the places in it were told; set to have them told again

    def __len__(self) -> int:
        return len(self._receivers)

    def __iter__(self) -> Iterator[PeerId]:
        return iter(self._receivers)

    @property
    def reads(self) -> int:
        """How many reads wait."""
        return sum(len(each.waiting) for each in self._receivers.values())

    def add(self, receiver: Receiver) -> None:
        """It waits from now on, or still does."""
        if receiver.peer not in self._receivers:
            same = (e.turn for e in self._receivers.values() if e.source == receiver.source)
            receiver.turn = max(same, default=self._round) + 1
            self._receivers[receiver.peer] = receiver
            self.moved = True

    def remove(self, receiver: Receiver) -> None:
        """It does not wait any more, or never did."""
        if self._receivers.pop(receiver.peer, None) is not None:
            self.moved = True

    def count_turn(self, receiver: Receiver) -> None:
        """It is the turn of one that waits."""
        self._round = max(self._round, receiver.turn)
        counts = len(self) > 1 and self._is_favourite(receiver.peer)
        self._favourites_in_a_row = self._favourites_in_a_row + 1 if counts else 0

    def order(self) -> list[Receiver]:
        """Who waits, in the order of their turns, if nobody comes or goes."""
        waiting = sorted(self._receivers.values(), key=lambda each: each.turn)
        favourites = [each for each in waiting if self._is_favourite(each.peer)]
        if not favourites:
            return waiting
        others = [each for each in waiting if each not in favourites]
        order: list[Receiver] = []
        in_a_row = self._favourites_in_a_row
        while favourites and others:
            first = in_a_row < FAVOURITES_IN_A_ROW
            order.append((favourites if first else others).pop(0))
            in_a_row = in_a_row + 1 if first else 0
        return order + favourites + others

    def tell(self, now: float, eta: Callable[[int], int]) -> Iterator[Queued]:
        """What those who wait are to hear; `eta` guesses the seconds until the turn of a place.

        News of a changed place goes to the oldest read of a peer only, so that a crowd with many
        reads each does not make a storm of it; the repetition reaches all.
        """
        self.moved = False
        for position, receiver in enumerate(self.order(), 1):
            if now - receiver.told_at >= REPEAT_S or not receiver.told:
                receiver.told_at = now
                yield from [Queued(read, position, eta(position)) for read in receiver.waiting]
            elif receiver.told != position:
                yield Queued(next(iter(receiver.waiting)), position, eta(position))
            receiver.told = position
