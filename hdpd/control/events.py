"""Events for clients: whoever has news emits it here, and each client takes it at its own pace."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from hdpd.control.eventlog import LOST, Event, EventLog, Key, make_event
from hdpd.control.eventtypes import EVENTS, News
from hdpd.database import Database, Transaction
from hdpd.errors import StateUnavailable

log = logging.getLogger(__name__)

# Each start of hdpd numbers its events from the next multiple of this, so that numbers rise over
# restarts with one write at start: room for 100 events a second over two years without a restart,
# and for a million starts within the 53 bits that JavaScript counts exactly.
SEQ_PER_START = 2**33

_BATCH = 256  # events taken at once; bounds what waits for a slow client outside the log


class Events:
    """Numbers events, keeps the last ones, and wakes up the subscriptions. For the event loop."""

    def __init__(self, base: int = 0, clock: Callable[[], float] = time.time) -> None:
        self._log = EventLog(base)
        self._clock = clock
        self._subscriptions: set[Subscription] = set()

    async def start(self, state: Database) -> None:
        """Numbers events above all of earlier runs with the same state.db; before the first one."""

        def reserved(transaction: Transaction) -> int:
            row = transaction.one("SELECT value FROM setting WHERE key = 'event_seq'")
            return int(row[0]) if row else 0

        def reserve(transaction: Transaction) -> int:
            base = reserved(transaction)
            transaction.execute(
                "INSERT OR REPLACE INTO setting (key, value) VALUES ('event_seq', ?)",
                (base + SEQ_PER_START,),
            )
            return base

        try:
            base = await state.write(reserve)
        except StateUnavailable:
            # The next run may begin at the same number, and whoever asks it for what he missed may
            # be told too little.
            base = await state.read(reserved)
        self._log = EventLog(base)

    @property
    def last_seq(self) -> int:
        return self._log.last_seq

    def emit(self, event: News) -> None:
        """Tells everybody who listens; cheap, and never raises at the one who has the news."""
        kind = EVENTS[type(event)]
        try:
            data = kind.data(event)
            self.write(kind.name, data, kind.key(data))
        except (TypeError, ValueError):
            log.exception("an event of type %s cannot be shown", kind.name)

    def write(self, type_: str, data: object, key: Key | None = None) -> None:
        """Adds what clients get; a later one with the same key takes its place.

        Raises:
            TypeError, ValueError: `data` cannot be written as JSON.
        """
        self._log.append(self._clock(), type_, data, key)
        for subscription in self._subscriptions:
            subscription.wake_up()

    def subscribe(self, since: int | None, types: frozenset[str] | None) -> Subscription:
        """What comes from now on, or after the event `since`; close it in the end. Subscriptions
        are as many as connections, which are capped.
        """
        subscription = Subscription(self, self.last_seq if since is None else since, types)
        self._subscriptions.add(subscription)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def take(self, seq: int) -> tuple[list[Event], int]:
        """The next events after `seq`, coalesced, and up to which number that is. First comes an
        `events.lost` when some are not held any more: its `seq` is where the client goes on after
        it listed again whatever it shows.
        """
        lost = self._log.lost_since(seq)
        if lost is not None:
            return [make_event(lost, self._clock(), LOST, {"seq": lost})], lost
        return self._log.after(seq, _BATCH)


class Subscription:
    """A place in the log and the types that are wanted (None: all)."""

    def __init__(self, events: Events, seq: int, types: frozenset[str] | None) -> None:
        self._events = events
        self._seq = seq
        self._types = types
        self._news = asyncio.Event()
        self._ended = False

    def wake_up(self) -> None:
        self._news.set()

    def take(self) -> list[Event]:
        """The next wanted events that are there already; none when it is up to date."""
        while self._seq != self._events.last_seq:
            events, self._seq = self._events.take(self._seq)
            wanted = [e for e in events if self._types is None or e.type in {*self._types, LOST}]
            if wanted:
                return wanted
        return []

    async def next(self) -> list[Event]:
        """The next wanted events, one or more, in order; none when it was closed and all that was
        emitted before has been taken.
        """
        while True:
            self._news.clear()
            if events := self.take():
                return events
            if self._ended:
                return []
            await self._news.wait()

    def close(self) -> None:
        """Nothing that is emitted from now on is waited for."""
        self._ended = True
        self._news.set()
        self._events.remove(self)
