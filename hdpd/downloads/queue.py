"""Which downloads run now. Pure: events in, `decide` says what to start and what to stop.

Order is position. Each connected peer serves one download at a time, several peers side by side; a
download whose last reads are answered no longer counts (it is *draining*), so that many small ones
follow each other without a pause. Moving a download to the front stops the one that runs.

What any event costs does not depend on how many downloads wait: those that can begin stand in a
line for each peer, all others stand elsewhere.
"""

from __future__ import annotations

import bisect
import heapq
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from msgspec import Struct, field

from hdpd.downloads.states import STARTED, UNFINISHED, Event, State, after
from hdpd.identity.keys import PeerId

MAX_RUNNING = 16  # peers that send side by side; each costs a few ranges of memory and of the line
MAX_IDLE = 64  # peers in whose line we wait, or that send next to nothing
MAX_DRAINING = 16  # of one peer; they only wait for the disk
UNTIL_CONNECTED = float("inf")  # a `not_before` that ends with the peer's next connection

Rank = tuple[int, str]
"""A place in an order: position, then id."""


class Place(Enum):
    """Where `move` puts a download."""

    TOP = "top"
    UP = "up"
    DOWN = "down"
    BOTTOM = "bottom"


@dataclass(eq=False, kw_only=True, slots=True)
class Item:
    """What the queue knows of a download."""

    id: str
    peer: PeerId
    position: int
    state: State = State.READY
    draining: bool = False
    """Nothing more is needed of its peer."""
    idle: bool = False
    """Its peer sends nothing, so that it is in nobody's way."""
    not_before: float = 0.0

    @property
    def rank(self) -> Rank:
        return self.position, self.id

    @property
    def key(self) -> Hashable:
        """What no other unfinished one has."""
        return self.id


I = TypeVar("I", bound=Item)  # noqa: E741


class Decision(Struct, Generic[I]):
    """Commands for the shell; `wake` is when to decide again even if nothing happens."""

    start: list[I] = field(default_factory=list)
    stop: list[I] = field(default_factory=list)
    wake: float | None = None


class Queue(Generic[I]):
    """All downloads that are not settled yet; about 500 bytes each."""

    def __init__(self) -> None:
        self._items: dict[str, I] = {}
        self._unfinished: dict[Hashable, I] = {}  # by key
        self._of_peer: dict[PeerId, dict[I, None]] = {}
        self._order: list[Rank] = []
        self._lines: dict[PeerId, list[Rank]] = {}  # READY, and their time has come
        self._delayed: list[tuple[float, str]] = []  # a heap; perhaps they are elsewhere meanwhile
        self._parked: dict[PeerId, dict[I, None]] = {}  # until their peer's next connection
        self._started: dict[I, None] = {}
        self._held: dict[I, None] = {}
        self._connected: dict[PeerId, None] = {}  # in the order of their coming

    def __contains__(self, download: str) -> bool:
        return download in self._items

    def __iter__(self) -> Iterator[str]:
        """Ids of the unfinished ones by position."""
        return (download for _, download in self._order)

    def __len__(self) -> int:
        return len(self._items)

    def get(self, download: str) -> I | None:
        """The one of that id, if it is here."""
        return self._items.get(download)

    def like(self, key: Hashable) -> I | None:
        """The unfinished one of that key, if there is one."""
        return self._unfinished.get(key)

    def all(self) -> Iterable[I]:
        """All of them, in any state."""
        return self._items.values()

    def of(self, peer: PeerId) -> Iterable[I]:
        """Those of a peer, in any state."""
        return self._of_peer.get(peer, {}).keys()

    def started(self) -> list[I]:
        """Those that have a runner, by position."""
        return sorted(self._started, key=lambda item: item.rank)

    def held(self) -> list[I]:
        """Those that wait for room or a disk, by position."""
        return sorted(self._held, key=lambda item: item.rank)

    # Events

    def add(self, item: I) -> None:
        """Takes up a download, in the state in which it is."""
        self._items[item.id] = item
        self._of_peer.setdefault(item.peer, {})[item] = None
        if item.state in UNFINISHED:
            self._become_unfinished(item)
        self._stand(item)

    def happened(self, item: I, event: Event, not_before: float = 0.0) -> None:
        """Takes a download to its next state, where READY it waits until `not_before`; after
        PURGED it is no longer here.

        Raises:
            machine.WrongTransition: the event is not one of that state; nothing has changed.
        """
        state = after(item.state, event)
        self._leave(item)
        if state is None:
            self.forget(item)
            return
        was_unfinished = item.state in UNFINISHED
        item.state, item.not_before = state, not_before if state is State.READY else 0.0
        if state not in STARTED:
            item.draining = item.idle = False
        if was_unfinished and state not in UNFINISHED:
            self._become_finished(item)
        elif not was_unfinished and state in UNFINISHED:
            self._become_unfinished(item)
        self._stand(item)

    def forget(self, item: I) -> None:
        """It is settled, and nothing more happens to it here."""
        if self._items.pop(item.id, None) is None:
            return
        self._leave(item)
        if item.state in UNFINISHED:
            self._become_finished(item)
        of_peer = self._of_peer[item.peer]
        del of_peer[item]
        if not of_peer:
            del self._of_peer[item.peer]

    def connected(self, peer: PeerId) -> None:
        """Whatever waited for a time lets this be it."""
        self._connected[peer] = None
        waiting = self._parked.pop(peer, {})
        for not_before, download in self._delayed:
            item = self._items.get(download)
            if item and item.peer == peer and item.not_before == not_before:
                waiting[item] = None
        for item in waiting:
            item.not_before = 0.0
            self._stand(item)

    def disconnected(self, peer: PeerId) -> None:
        self._connected.pop(peer, None)

    def move(self, item: I, place: Place) -> list[I]:
        """Moves it among the unfinished ones, if it is one; those whose position changed."""
        if self._items.get(item.id) is not item or item.state not in UNFINISHED:
            return []
        index = bisect.bisect_left(self._order, item.rank)
        last = len(self._order) - 1
        match place:
            case Place.TOP if index > 0:
                return self._place({item: self._order[0][0] - 1})
            case Place.BOTTOM if index < last:
                return self._place({item: self._order[-1][0] + 1})
            case Place.UP if index > 0:
                return self._swap(item, index - 1)
            case Place.DOWN if index < last:
                return self._swap(item, index + 1)
        return []

    # Answers

    def decide(self, now: float) -> Decision[I]:
        """What to start and stop, each told once: it has happened when this returns."""
        self._let_in(now)
        decision: Decision[I] = Decision()
        fronts = {peer: self._front(peer) for peer in self._connected}
        running = [item for item in self._started if item.state is State.RUNNING]
        for item in running:
            if item.peer in fronts and (item.draining or fronts[item.peer] is item):
                continue
            self.happened(item, Event.STOP)
            decision.stop.append(item)
        active = {item.peer: item for item in self._started if not item.draining}
        draining = Counter(item.peer for item in self._started if item.draining)
        busy = sum(not item.idle for item in active.values())
        for peer, front in fronts.items():
            if front is None or peer in active or draining[peer] >= MAX_DRAINING:
                continue
            if busy < MAX_RUNNING and len(active) < MAX_RUNNING + MAX_IDLE:
                self.happened(front, Event.START)
                active[peer] = front
                busy += 1
                decision.start.append(front)
        decision.wake = self._delayed[0][0] if self._delayed else None
        return decision

    def _let_in(self, now: float) -> None:
        """Lets those whose time has come stand in line."""
        while self._delayed and self._delayed[0][0] <= now:
            not_before, download = heapq.heappop(self._delayed)
            item = self._items.get(download)
            if item and item.not_before == not_before:
                item.not_before = 0.0
                self._stand(item)

    def _front(self, peer: PeerId) -> I | None:
        """The first download of `peer` that is to be fetched now, running already or not."""
        line = self._lines.get(peer)
        first = [self._items[line[0][1]]] if line else []
        fetched = (State.RUNNING, State.STOPPING)
        running = [
            item
            for item in self._started
            if item.peer == peer and item.state in fetched and not item.draining
        ]
        return min((*first, *running), key=lambda item: item.rank, default=None)

    def word(self, item: I) -> str:
        """The state word, as far as it is known here: a running one may be `remote_queued`."""
        match item.state:
            case State.READY | State.STOPPING:
                here = item.peer in self._connected and item.not_before < UNTIL_CONNECTED
                return "queued" if here else "waiting_for_peer"
            case State.RUNNING:
                return "downloading"
            case State.PAUSED | State.PAUSING | State.HELD:
                return "paused"
            case State.DONE:
                return "done"
            case State.FAILED:
                return "failed"
        return "removed"

    # Standing in the right place for a state.

    def _stand(self, item: I) -> None:
        if item.state in STARTED:
            self._started[item] = None
        elif item.state is State.HELD:
            self._held[item] = None
        elif item.state is State.READY:
            if not item.not_before:
                bisect.insort(self._lines.setdefault(item.peer, []), item.rank)
            elif item.not_before < UNTIL_CONNECTED:
                heapq.heappush(self._delayed, (item.not_before, item.id))
            else:
                self._parked.setdefault(item.peer, {})[item] = None

    def _leave(self, item: I) -> None:
        self._started.pop(item, None)
        self._held.pop(item, None)
        if item.state is not State.READY:
            return
        if not item.not_before:
            line = self._lines[item.peer]
            _take_out(line, item.rank)
            if not line:
                del self._lines[item.peer]
        elif item.not_before == UNTIL_CONNECTED:
            parked = self._parked[item.peer]
            del parked[item]
            if not parked:
                del self._parked[item.peer]

    def _become_unfinished(self, item: I) -> None:
        bisect.insort(self._order, item.rank)
        self._unfinished.setdefault(item.key, item)

    def _become_finished(self, item: I) -> None:
        _take_out(self._order, item.rank)
        if self._unfinished.get(item.key) is item:
            del self._unfinished[item.key]

    def _place(self, positions: dict[I, int]) -> list[I]:
        for item in positions:
            self._leave(item)
            _take_out(self._order, item.rank)
        for item, position in positions.items():
            item.position = position
            bisect.insort(self._order, item.rank)
            self._stand(item)
        return list(positions)

    def _swap(self, item: I, index: int) -> list[I]:
        position, other = self._order[index]
        return self._place({item: position, self._items[other]: item.position})


def _take_out(order: list[Rank], rank: Rank) -> None:
    """Raises LookupError, and takes nothing else out, when it does not stand there."""
    index = bisect.bisect_left(order, rank)
    if order[index : index + 1] != [rank]:
        raise LookupError(f"nothing of rank {rank} stands in this order")
    del order[index]
