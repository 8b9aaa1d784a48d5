"""Which downloads run now. Pure: events in, `decide` says what to start and what to stop.

Order is position. Each connected peer serves one download at a time, several peers side by side; a
download whose last reads are answered no longer counts (it is *draining*), so that many small ones
follow each other without a pause. Moving a download to the front stops the one that runs.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from hdpd.identity.keys import PeerId

MAX_RUNNING = 16  # peers served side by side; each costs a few ranges of memory and of the line
MAX_DRAINING = 16  # of one peer; they only wait for the disk
UNTIL_CONNECTED = float("inf")  # a `not_before` that ends with the peer's next connection


class Wish(Enum):
    """What is to happen with a download, whether or not it can at the moment."""

    RUN = "run"
    PAUSE = "pause"
    AWAIT_ROOM = "await_room"


class Place(Enum):
    """Where `move` puts a download."""

    TOP = "top"
    UP = "up"
    DOWN = "down"
    BOTTOM = "bottom"


@dataclass(slots=True)
class Item:
    """An unfinished download, about 300 bytes; only their owner adds any."""

    id: str
    peer: PeerId
    position: int
    wish: Wish
    running: bool = False
    stopping: bool = False
    draining: bool = False
    not_before: float = 0.0


@dataclass(slots=True)
class Decision:
    """Commands for the shell; `wake` is when to decide again even if nothing happens."""

    start: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    wake: float | None = None


class Queue:
    """All unfinished downloads."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._order: list[tuple[int, str]] = []
        self._by_peer: dict[PeerId, list[tuple[int, str]]] = {}
        self._running: dict[str, Item] = {}
        self._connected: dict[PeerId, None] = {}  # in the order of their coming

    def __contains__(self, download: str) -> bool:
        return download in self._items

    def __iter__(self) -> Iterator[str]:
        """Ids by position."""
        return (download for _, download in self._order)

    # Events

    def add(self, download: str, peer: PeerId, position: int, wish: Wish = Wish.RUN) -> None:
        item = Item(download, peer, position, wish)
        self._items[download] = item
        self._insert(item)

    def remove(self, download: str) -> None:
        """It is finished, failed or cancelled; its runner has ended."""
        item = self._items.pop(download)
        self._running.pop(download, None)
        self._take_out(item)

    def connected(self, peer: PeerId) -> None:
        self._connected[peer] = None
        for _, download in self._by_peer.get(peer, ()):
            self._items[download].not_before = 0.0

    def disconnected(self, peer: PeerId) -> None:
        self._connected.pop(peer, None)

    def wish(self, download: str, wish: Wish) -> bool:
        """Changes what is wanted; whether that changed anything."""
        item = self._items[download]
        changed = item.wish is not wish
        item.wish, item.not_before = wish, 0.0
        return changed

    def draining(self, download: str, draining: bool) -> bool:
        """Its runner has (not) got everything that it needs; whether that is new."""
        item = self._items[download]
        changed = item.draining is not draining
        item.draining = draining
        return changed

    def stopped(self, download: str, not_before: float = 0.0) -> None:
        """Its runner has ended before the download did; it may start again at `not_before`."""
        item = self._items[download]
        self._running.pop(download, None)
        item.running = item.stopping = item.draining = False
        item.not_before = not_before

    def move(self, download: str, place: Place) -> dict[str, int]:
        """Moves it among the unfinished ones; the positions that changed."""
        item = self._items[download]
        index = bisect.bisect_left(self._order, (item.position, download))
        last = len(self._order) - 1
        match place:
            case Place.TOP if index > 0:
                return self._place({download: self._order[0][0] - 1})
            case Place.BOTTOM if index < last:
                return self._place({download: self._order[-1][0] + 1})
            case Place.UP if index > 0:
                return self._swap(item, index - 1)
            case Place.DOWN if index < last:
                return self._swap(item, index + 1)
        return {}

    # Answers

    def decide(self, now: float) -> Decision:
        """What to start and stop; each command is given once."""
        decision = Decision()
        fronts = {peer: self._front(peer, now, decision) for peer in self._connected}
        for item in self._running.values():
            wanted = item.wish is Wish.RUN and item.peer in self._connected
            if not (wanted and (item.draining or fronts[item.peer] is item)) and not item.stopping:
                item.stopping = True
                decision.stop.append(item.id)
        active = [item.peer for item in self._running.values() if not item.draining]
        draining = Counter(item.peer for item in self._running.values() if item.draining)
        for peer, front in fronts.items():
            if front is None or peer in active or draining[peer] >= MAX_DRAINING:
                continue
            if len(active) < MAX_RUNNING:
                front.running = True
                self._running[front.id] = front
                active.append(peer)
                decision.start.append(front.id)
        return decision

    def _front(self, peer: PeerId, now: float, decision: Decision) -> Item | None:
        """The first download of `peer` that is to be fetched now, running already or not."""
        for _, download in self._by_peer.get(peer, ()):
            item = self._items[download]
            if item.wish is not Wish.RUN or item.draining:
                continue
            if item.running or item.not_before <= now:
                return item
            decision.wake = min(item.not_before, decision.wake or item.not_before)
        return None

    def state(self, download: str) -> str:
        """The state word, as far as it is known here: a running one may be `remote_queued`."""
        item = self._items[download]
        if item.wish is not Wish.RUN:
            return "paused"
        if item.running and not item.stopping:
            return "downloading"
        if item.peer in self._connected and item.not_before < UNTIL_CONNECTED:
            return "queued"
        return "waiting_for_peer"

    def awaiting_room(self) -> list[str]:
        """Those that go on when the disk has room again."""
        return [item.id for item in self._items.values() if item.wish is Wish.AWAIT_ROOM]

    def _place(self, positions: dict[str, int]) -> dict[str, int]:
        for download in positions:
            self._take_out(self._items[download])
        for download, position in positions.items():
            self._items[download].position = position
            self._insert(self._items[download])
        return positions

    def _swap(self, item: Item, index: int) -> dict[str, int]:
        position, other = self._order[index]
        return self._place({item.id: position, other: item.position})

    def _insert(self, item: Item) -> None:
        bisect.insort(self._order, (item.position, item.id))
        bisect.insort(self._by_peer.setdefault(item.peer, []), (item.position, item.id))

    def _take_out(self, item: Item) -> None:
        place = (item.position, item.id)
        of_peer = self._by_peer[item.peer]
        del self._order[bisect.bisect_left(self._order, place)]
        del of_peer[bisect.bisect_left(of_peer, place)]
        if not of_peer:
            del self._by_peer[item.peer]
