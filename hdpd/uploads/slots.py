"""Upload slots: which peers may be sent bytes now, and who waits in which place. Pure.

A slot is a lease that a peer holds, not a read: all reads of the holder run, and the lease is kept
for a moment between them, so that a peer is not sent to the end of the line after each file. A peer
without a lease has one place in one line, however much it asks for. While others wait a turn is
bounded in time and bytes; after it no new reads begin, those in flight are finished, and the peer
queues up again. A slow reader finishes them without its slot, which is for who takes it. So one
that wants 10,000 files and one that wants a single one alternate. The owner's favourites go first,
but never more than a few in a row while others wait. Small reads, and those that a person waits
for, need no slot within the bounds of the fast lane.

Whole because every event can change leases, fast lane and line at once, and what is promised
(no slot too many, nobody forgotten, no storm of places) is about all of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator

from hdpd import machine
from hdpd.errors import Busy
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.uploads.decisions import Decision, Granted, Queued, Revoked
from hdpd.uploads.fastlane import FastLane
from hdpd.uploads.lease import TURN_BYTES, Lease
from hdpd.uploads.line import Line
from hdpd.uploads.receiver import Receiver
from hdpd.uploads.states import HOLDING, QUEUED, Event, State
from hdpd.wire.messages import ResetCode

TURN_S = 10.0
"""Length of a turn while others wait: the worst wait for a place is a few of these, and what a
change of turns costs (a round trip without data for one of several slots) stays below 10 %."""

MIN_TURN_S = 2.0
ROUND_S = 60.0
"""With many in line turns are shorter, so that all have had one within about a minute."""

CANCEL_S = 60.0
"""How long a peer whose uploads the owner cancelled is turned away."""

MAX_WAITING_PEERS = 256
"""A longer line would mean a wait of many minutes; later comers hear that it is busy."""

MAX_WAITING_READS = 128
"""Of one peer, a little above a connection's initial 100 streams. A waiting read is a suspended
task and a stream, about 5 kB."""

MAX_WAITING_READS_OF_ALL = 8192
"""Of all peers together: 40 MB, and only when dozens of them try to."""


MAX_FAST_READS = 16
"""At once in the fast lane, of all peers together; each takes at most READ_MEMORY_BYTES."""

MAX_TURN_S = 60.0
"""Of those that the guess is made from: a reader that is stuck says nothing about the next one."""

TURN_GAIN = 0.3


class Slots:
    """The state of all slots. Reads are numbers of the caller's choice, unique among those alive.

    Every event returns what follows from it, in order. `tick` has to be called about twice a second
    while `is_used`.
    """

    def __init__(
        self, count: int, is_favourite: Callable[[PeerId], bool] = lambda _peer: False
    ) -> None:
        if count < 1:
            raise ValueError("there must be at least one upload slot")
        self._count = count
        self._turn_seconds = TURN_S  # of the last turns, smoothed
        self._fast_lane = FastLane()
        self._receivers: dict[PeerId, Receiver] = {}  # as long as they want something
        self._holders: dict[PeerId, Receiver] = {}  # the oldest turn first; at most `count`
        self._line = Line(is_favourite)  # MAX_WAITING_PEERS
        self._reads: dict[int, Receiver] = {}  # whose each is that waits or is being sent
        self._cancelled: dict[PeerId, float] = {}  # until when; grows only by the owner's hand

    def set_count(self, count: int, now: float) -> list[Decision]:
        """From now on there are `count` slots; leases beyond them end with their turns."""
        self._count = count
        return self._settle(now)

    @property
    def is_used(self) -> bool:
        """Whether anybody is being sent to, or waits."""
        return bool(self._receivers)

    @property
    def holders(self) -> list[PeerId]:
        """The peers that hold a lease, the oldest first."""
        return list(self._holders)

    @property
    def receivers(self) -> list[PeerId]:
        """The peers that are being sent to: the holders, and who is sent to without a slot."""
        others = [e.peer for e in self._receivers.values() if e.fast or e.late]
        return [*self._holders, *(peer for peer in others if peer not in self._holders)]

    @property
    def line(self) -> list[tuple[PeerId, int]]:
        """The waiting peers, the next one first, each with its oldest waiting read."""
        return [(each.peer, next(iter(each.waiting))) for each in self._line.order()]

    def ask(
        self,
        peer: PeerId,
        read: int,
        length: int,
        now: float,
        *,
        urgent: bool = False,
        source: Hashable = None,
    ) -> list[Decision]:
        """A peer asks for `length` bytes; `urgent`: it says that a person waits for them.
        `source` is what those have in common that are perhaps one person; by default each is one.

        Raises:
            Busy: the line or the peer's part of it is full, or the owner cancelled this peer.
        """
        self._refuse_cancelled(peer, now)
        receiver = self._receivers.get(peer) or Receiver(peer, peer if source is None else source)
        if receiver.state is State.SERVED and receiver.lease is not None:
            self._reads[read] = receiver
            self._fast_lane.sent_in_slots(length)
            decisions = _granted(receiver.lease.take(read, length, now))
            return [*decisions, *self._settle(now)] if self._line else decisions
        if self._may_pass(peer, length, now, urgent=urgent):
            self._receivers[peer] = self._reads[read] = receiver
            receiver.fast = receiver.fast or Lease(now, now)
            return _granted(receiver.fast.take(read, length, now))
        if receiver.state not in QUEUED:
            if len(self._line) >= MAX_WAITING_PEERS:
                raise Busy("too many peers wait for an upload slot; try again later")
            self._happens(receiver, Event.QUEUE, now)
        elif len(receiver.waiting) >= MAX_WAITING_READS or self._line.reads >= (
            MAX_WAITING_READS_OF_ALL
        ):
            raise Busy("too many reads wait already; wait for those first")
        receiver.waiting[read] = length
        self._reads[read] = receiver
        decisions = self._settle(now)
        if receiver.told and not any(decision.read == read for decision in decisions):
            decisions.append(Queued(read, receiver.told, self._eta(receiver.told, now)))
        return decisions

    def progress(self, read: int, now: float) -> None:
        """Bytes of the read have left, or its file has just been read."""
        if lease := self._lease_with(read):
            lease.last_progress = now

    def paced(self, read: int, now: float) -> None:
        """The read waits for the limit of the rate, which is not held against its reader."""
        if lease := self._lease_with(read):
            lease.last_progress = lease.paced_at = now

    def end(self, read: int, now: float) -> list[Decision]:
        """The read is over, in whatever way; unknown ones (revoked before) are ignored."""
        receiver = self._reads.pop(read, None)
        if receiver is None:
            return []
        lease = receiver.lease_with(read)
        decisions: list[Decision] = []
        if lease is not None:
            lease.drop(read)
            lease.last_progress = now
            decisions += _granted(lease.begin_held())
            if lease is not receiver.lease and not lease.reads:
                self._end_beside_slots(receiver, lease)
        else:
            del receiver.waiting[read]
            if not receiver.waiting:
                self._happens(receiver, Event.LEAVE, now)
        return [*decisions, *self._settle(now)] if self._line else decisions

    def cancel(self, peer: PeerId, now: float) -> list[Decision]:
        """The owner wants no more uploads to this peer for now."""
        self._cancelled = {key: until for key, until in self._cancelled.items() if until > now}
        self._cancelled[peer] = now + CANCEL_S
        return self.drop(peer, now, ResetCode.CANCELLED)

    def drop(self, peer: PeerId, now: float, code: ResetCode) -> list[Decision]:
        """Everything of this peer ends with `code`: it has gone, or has been cancelled."""
        revoked: list[Decision] = []
        if receiver := self._receivers.get(peer):
            revoked = self._revoke(receiver.reads(), code)
            self._happens(receiver, Event.GONE, now)
            receiver.fast = receiver.late = None
            self._forget(receiver)
        return [*revoked, *self._settle(now)]

    def tick(self, now: float) -> list[Decision]:
        """What follows from the mere passing of time."""
        self._fast_lane.forget(now)
        revoked: list[Decision] = []
        for receiver in list(self._receivers.values()):
            for lease in (receiver.fast, receiver.late):
                if lease is not None and lease.is_stuck(now):
                    revoked += self._cut_off(receiver, lease)
            if receiver.lease is not None and receiver.lease.is_idle(now):
                self._happens(receiver, Event.FREE, now)
        self._line.moved = True  # places are told again after a while
        return [*revoked, *self._settle(now)]

    def _may_pass(self, peer: PeerId, length: int, now: float, *, urgent: bool) -> bool:
        """Whether a read that would have to wait goes through the fast lane."""
        if not self._line and len(self._holders) < self._count:
            return False
        fast = (each.fast for each in self._receivers.values() if each.fast is not None)
        if sum(len(lease.reads) for lease in fast) >= MAX_FAST_READS:
            return False
        return self._fast_lane.admits(peer, length, now, urgent=urgent)

    def _lease_with(self, read: int) -> Lease | None:
        receiver = self._reads.get(read)
        return None if receiver is None else receiver.lease_with(read)

    def _happens(self, receiver: Receiver, event: Event, now: float) -> None:
        """Each receiver is in the maps that its state says, and in no other."""
        try:
            receiver.happens(event, now)
        except machine.WrongTransition as error:
            name = name_of(receiver.peer)
            machine.refuse(error, name, peer=(name, receiver.peer.text))
            return
        self._receivers[receiver.peer] = receiver
        if event is Event.GRANT or receiver.state not in HOLDING:
            self._holders.pop(receiver.peer, None)
        if receiver.state in HOLDING:
            self._holders[receiver.peer] = receiver
        if receiver.state in QUEUED:
            self._line.add(receiver)
        else:
            self._line.remove(receiver)
        self._forget(receiver)

    def _end_beside_slots(self, receiver: Receiver, lease: Lease) -> None:
        """Nothing is sent any more by a lease without a slot."""
        if lease is receiver.fast:
            receiver.fast = None
        else:
            receiver.late = None
        self._forget(receiver)

    def _let_go(self, receiver: Receiver, lease: Lease, now: float) -> list[Decision]:
        """The reader is late: its slot is free, and what is in flight is sent without one. There
        are as many such as slots: the one that is late for longest is ended for another.
        """
        late = [(each, each.late) for each in self._receivers.values() if each.late is not None]
        decisions: list[Decision] = []
        if receiver.late is not None:
            decisions = self._cut_off(receiver, receiver.late)
        elif len(late) >= self._count:
            decisions = self._cut_off(*min(late, key=lambda each: each[1].draining_since or now))
        receiver.late = lease
        self._happens(receiver, Event.FREE, now)
        return decisions

    def _cut_off(self, receiver: Receiver, lease: Lease) -> list[Decision]:
        """Ends what is sent without a slot."""
        revoked = self._revoke((*lease.reads, *lease.held), ResetCode.SLOT_LOST)
        self._end_beside_slots(receiver, lease)
        return revoked

    def _forget(self, receiver: Receiver) -> None:
        if receiver.is_forgotten:
            self._receivers.pop(receiver.peer, None)

    def _refuse_cancelled(self, peer: PeerId, now: float) -> None:
        until = self._cancelled.get(peer, now)
        if until > now:
            raise Busy(f"the owner stopped uploads to you; try again in {until - now:.0f} s")

    def _settle(self, now: float) -> list[Decision]:
        """Grants what can be, and ends turns for those who still wait, until nothing changes."""
        decisions: list[Decision] = []
        while self._line:
            decisions += self._grant(now)
            if not self._line or not self._make_room(now, decisions):
                break
        if self._line.moved:  # and not for each read of a crowd
            decisions += self._line.tell(now, lambda position: self._eta(position, now))
        return decisions

    def _grant(self, now: float) -> Iterator[Decision]:
        while self._line:
            if len(self._holders) >= self._count and self._holders.keys().isdisjoint(self._line):
                return
            receiver = self._line.order()[0]
            # A peer that waits may still be finishing its last turn: the same slot serves it again.
            if receiver.peer not in self._holders and len(self._holders) >= self._count:
                return
            self._line.count_turn(receiver)
            waiting = receiver.waiting
            self._happens(receiver, Event.GRANT, now)
            lease = receiver.lease
            assert lease is not None
            while waiting and not (self._line and lease.granted_bytes >= TURN_BYTES):
                read = next(iter(waiting))
                length = waiting.pop(read)
                self._fast_lane.sent_in_slots(length)
                yield from _granted(lease.take(read, length, now))
            if waiting:
                self._happens(receiver, Event.OVER, now)
                self._queue_again(receiver, waiting, now)

    def _queue_again(self, receiver: Receiver, reads: dict[int, int], now: float) -> None:
        self._happens(receiver, Event.QUEUE, now)
        receiver.waiting = reads

    def _make_room(self, now: float, decisions: list[Decision]) -> bool:
        """Ends turns and takes slots from readers that do not read; True when a slot came free."""
        held, wanted = len(self._holders), len(self._line)
        turn_seconds = _turn_seconds(self._count, wanted)
        draining = sum(each.state is not State.SERVED for each in self._holders.values())
        for receiver in list(self._holders.values()):
            lease = receiver.lease
            assert lease is not None
            # One ended turn for each that waits is enough.
            if draining < wanted and lease.ends_turn(now, turn_seconds):
                self._happens(receiver, Event.OVER, now)
                draining += 1
                if lease.held:
                    self._queue_again(receiver, lease.held, now)
                    lease.held = {}
            if lease.is_stuck(now):
                decisions += self._revoke((*lease.reads, *lease.held), ResetCode.SLOT_LOST)
                self._happens(receiver, Event.FREE, now)
            elif lease.is_idle(now):
                self._happens(receiver, Event.FREE, now)
                self._note_turn(lease, now)
            elif lease.is_late(now):
                decisions += self._let_go(receiver, lease, now)
                self._note_turn(lease, now)
        return len(self._holders) < held

    def _note_turn(self, lease: Lease, now: float) -> None:
        turn = min(now - lease.turn_began, MAX_TURN_S)
        self._turn_seconds += TURN_GAIN * (turn - self._turn_seconds)

    def _revoke(self, reads: Iterable[int], code: ResetCode) -> list[Decision]:
        revoked: list[Decision] = [Revoked(read, code) for read in reads]
        for each in revoked:
            del self._reads[each.read]
        return revoked

    def _eta(self, position: int, now: float) -> int:
        """A guess: every slot's turns are as long as the last ones were."""
        leases = (each.lease for each in self._holders.values() if each.lease is not None)
        began = min((lease.turn_began for lease in leases), default=now)
        turns = -(-position // self._count)
        passed = min(now - began, self._turn_seconds)
        return max(1, round(turns * self._turn_seconds - passed))


def _turn_seconds(slots: int, waiting: int) -> float:
    """How long a turn is while so many peers wait."""
    if not waiting:
        return TURN_S
    return max(MIN_TURN_S, min(TURN_S, ROUND_S * slots / waiting))


def _granted(reads: Iterable[int]) -> list[Decision]:
    return [Granted(read) for read in reads]
