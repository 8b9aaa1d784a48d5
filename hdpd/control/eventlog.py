"""The last events, numbered, with a bounded memory. Pure: no I/O, no clock.

The log is the only store of events: a subscriber is a number in it, however slow its client is. A
progress report that a later one of the same thing replaces is left out when it has not been taken
yet.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from msgspec import Struct

from hdpd.control.encoding import encode

# Both together cost at most 4 MiB of text and about 1 MiB around it; at the usual pace of a few
# events a second that is an hour or more for a client to come back in.
MAX_EVENTS = 10_000
MAX_BYTES = 4 * 1024 * 1024

LOST = "events.lost"

Key = tuple[str, str]
"""A type of event, and what one is about: of equal keys only the last one matters."""


class Event(Struct, frozen=True):
    """One event as the notification that clients get; `key` names what a later one replaces."""

    seq: int
    type: str
    text: bytes
    key: Key | None = None


def make_event(seq: int, time: float, type_: str, data: object, key: Key | None = None) -> Event:
    """The event, encoded once for all who get it.

    Raises:
        TypeError, ValueError: `data` cannot be written as JSON; a mistake of the caller.
    """
    parameters = {"seq": seq, "time": time, "type": type_, "data": data}
    text = encode({"jsonrpc": "2.0", "method": "event", "params": parameters})
    return Event(seq, type_, text, key)


class EventLog:
    """Events with consecutive numbers above `base`, the oldest ones dropped for lack of room."""

    def __init__(self, base: int, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self.last_seq = base
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._newest: dict[Key, int] = {}  # only of events that are held

    @property
    def first_seq(self) -> int:
        """The oldest number that is held, or the next one to come."""
        return self._events[0].seq if self._events else self.last_seq + 1

    def append(self, time: float, type_: str, data: object, key: Key | None = None) -> Event:
        """Adds an event. Raises as `make_event`, and then nothing has changed."""
        event = make_event(self.last_seq + 1, time, type_, data, key)
        self.last_seq = event.seq
        self._events.append(event)
        self._bytes += len(event.text)
        if event.key is not None:
            self._newest[event.key] = event.seq
        while len(self._events) > self._max_events or self._bytes > self._max_bytes:
            self._drop_oldest()
        return event

    def _drop_oldest(self) -> None:
        event = self._events.popleft()
        self._bytes -= len(event.text)
        if event.key is not None and self._newest[event.key] == event.seq:
            del self._newest[event.key]

    def lost_since(self, seq: int) -> int | None:
        """The number of the last event that somebody who has seen `seq` can't be given any more;
        None when nothing is lost. A number from the future is from another life of the log.
        """
        if seq > self.last_seq:
            return self.last_seq
        return self.first_seq - 1 if seq < self.first_seq - 1 else None

    def after(self, seq: int, limit: int) -> tuple[list[Event], int]:
        """What is worth knowing of the next `limit` held events after `seq`, and the number of the
        last one looked at.
        """
        start = max(0, seq + 1 - self.first_seq)
        looked_at = list(islice(self._events, start, start + limit))
        last = looked_at[-1].seq if looked_at else max(seq, self.first_seq - 1)
        wanted = [e for e in looked_at if e.key is None or self._newest[e.key] == e.seq]
        return wanted, last
