"""Whether a broker does what it is there for: what we publish has to come back to us. Pure.

MQTT 3.1.1 gives a publisher no sign that its message was dropped, as brokers do whose rules do not
let us publish; but a broker sends each message to all subscribers of the topic, and we are one.
"""

from __future__ import annotations

from typing import Final, Literal

from hdpd.recent import Recent

# What is wrong with a broker, for the advice.
Trouble = Literal["away", "refused", "certificate", "subscription", "silent"]

ECHO_S: Final = 5.0  # a message and its way back, on the slowest of lines
AGAIN_S: Final = 60.0  # between tries at a broker that brings nothing back
MAX_PENDING: Final = 64  # of our own messages, 100 bytes each; the oldest is forgotten


class Proof:
    """Of one connection. Times are monotonic seconds; a message is known by its first bytes."""

    def __init__(self) -> None:
        self._pending: Recent[bytes, float] = Recent(MAX_PENDING)
        self._asked_again = float("-inf")
        self.works: bool | None = None  # None: nothing was published yet
        self.worked = False  # once, at least

    def published(self, message: bytes, now: float) -> None:
        self._pending.put(message, now)

    def received(self, message: bytes) -> bool:
        """Whether it is one of ours; then all is well."""
        if message not in self._pending:
            return False
        # What was published before it and has not come is lost, as a message may be.
        while self._pending.pop_oldest()[0] != message:
            pass
        self.works = self.worked = True
        return True

    def forget(self) -> None:
        """We are no subscriber any more of what was published."""
        self._pending.clear()

    def look(self, now: float) -> bool:
        """Brings `works` up to date; whether something should be published to try again."""
        while self._pending and now - next(iter(self._pending.values())) > ECHO_S:
            self._pending.pop_oldest()
            if not self._pending:
                self.works = False
        if self.works is not False or now - self._asked_again < AGAIN_S:
            return False
        self._asked_again = now
        return True
