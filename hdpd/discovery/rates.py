"""When to announce oneself, so that a topic with a thousand peers stays quiet. Pure.

Answers to newcomers are spread over a time that grows with the number of peers heard, so that all
peers of a topic together answer about ANSWERS_PER_S times a second however many join; a
newcomer that nobody has answered yet is reached anyway, because everyone who read its record can
dial it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

PERIOD_S: Final = 600.0
PERIOD_JITTER: Final = 0.2
# Several addresses change together when an interface comes up.
CHANGE_DELAY_S: Final = 1.0
MIN_GAP_S: Final = 1.0
ANSWERS_PER_S: Final = 10.0


class AnnouncementSchedule:
    """Tells when to announce at one topic. Times are monotonic seconds; `random` gives [0, 1)."""

    __slots__ = ("_announced", "_answer", "_planned", "_random", "_wants_answer")

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._announced = -math.inf
        self._planned = math.inf
        self._answer = math.inf
        self._wants_answer = False

    @property
    def due(self) -> float:
        """When to announce next; infinity while there was no reason yet."""
        return min(self._planned, self._answer)

    def joined(self, now: float) -> None:
        """The topic was joined, or a server that had not heard us was connected: at once."""
        self._planned = now
        self._wants_answer = True

    def addresses_changed(self, now: float) -> None:
        """Our candidates are others now: soon, once they have settled."""
        settled = max(now + CHANGE_DELAY_S, self._announced + MIN_GAP_S)
        self._planned = min(self._planned, settled)

    def newcomer_asked(self, now: float, peers: int) -> None:
        """Somebody joined and asked for answers, at a topic where `peers` have been heard.

        Only those who ask are answered: to answer every peer that is new to us would make answers
        beget answers. A planned answer moves back while the crowd grows, never beyond the spread.
        """
        spread = peers / ANSWERS_PER_S
        if self._answer == math.inf:
            self._answer = now + spread * self._random()
        self._answer = max(self._answer, self._announced + max(MIN_GAP_S, spread))

    def announced(self, now: float) -> bool:
        """An announcement was made, the next is planned; whether it had to ask for answers."""
        wants_answer, self._wants_answer = self._wants_answer, False
        self._announced = now
        self._answer = math.inf
        self._planned = now + PERIOD_S * (1 + PERIOD_JITTER * (2 * self._random() - 1))
        return wants_answer
