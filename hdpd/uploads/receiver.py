"""One peer that is sent something, or waits for it: all that is known of it. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from msgspec import Struct, field

from hdpd.identity.keys import PeerId
from hdpd.uploads.lease import Lease
from hdpd.uploads.states import HOLDING, QUEUED, Event, State, after


class Receiver(Struct, eq=False):
    """A peer at the upload slots. It has a lease in the states in which it has a slot, and reads
    that wait in those in which it has a place in the line.
    """

    peer: PeerId
    source: Hashable  # what those have in common that are perhaps one person
    state: State = State.OUTSIDE
    lease: Lease | None = None
    fast: Lease | None = None  # while reads of it are in the fast lane
    late: Lease | None = None  # what it still takes of a turn, without a slot
    waiting: dict[int, int] = field(default_factory=dict)  # read -> length, oldest first
    turn: int = 0  # in the line: the number of the round in which it is its turn
    told: int = 0  # its place in the line, as it knows it
    told_at: float = 0.0

    def happens(self, event: Event, now: float) -> None:
        """Goes to the next state.

        Raises:
            machine.WrongTransition: `event` cannot happen in this one; nothing has changed.
        """
        self.state = after(self.state, event)
        if self.state not in HOLDING:
            self.lease = None
        elif event is Event.GRANT:
            self.lease = self.lease or Lease(now, now)
            self.lease.begin_turn(now)
        elif event is Event.OVER and self.lease is not None:
            self.lease.draining_since = now
        if self.state not in QUEUED:
            self.waiting, self.told, self.told_at = {}, 0, 0.0

    @property
    def is_forgotten(self) -> bool:
        """Whether nothing of it is left."""
        return self.state is State.OUTSIDE and self.fast is None and self.late is None

    def lease_with(self, read: int) -> Lease | None:
        """The lease, with or without a slot, that a granted or held read is part of."""
        for lease in self._leases:
            if lease is not None and (read in lease.reads or read in lease.held):
                return lease
        return None

    @property
    def _leases(self) -> tuple[Lease | None, ...]:
        return self.lease, self.fast, self.late

    def reads(self) -> Iterator[int]:
        """All its reads."""
        for lease in self._leases:
            if lease is not None:
                yield from (*lease.reads, *lease.held)
        yield from self.waiting
