"""Upload slots: which peers may be sent bytes now, and who waits in which place. Pure.

A slot is a lease that a peer holds, not a read: all reads of the holder run, and the lease is kept
for a moment between them, so that a peer is not sent to the end of the line after each file. A peer
without a lease has one place in one line, however much it asks for. While others wait a turn is
bounded in time and bytes; after it no new reads begin, those in flight are finished, and the peer
queues up again. So one that wants 10,000 files and one that wants a single one alternate. The
owner's favourites go first, but never more than a few in a row while others wait. Small reads, and
those that a person waits for, need no slot within the bounds of the fast lane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from hdpd.errors import Busy
from hdpd.identity.keys import PeerId
from hdpd.uploads.fastlane import FastLane
from hdpd.uploads.lease import TURN_BYTES, Lease
from hdpd.wire.messages import ResetCode

TURN_S = 10.0
"""Length of a turn while others wait: the worst wait for a place is a few of these, and what a
change of turns costs (a round trip without data for one of several slots) stays below 10 %."""

MIN_TURN_S = 2.0
ROUND_S = 60.0
"""With many in line turns are shorter, so that all have had one within about a minute."""

REPEAT_S = 15.0
"""Who waits is told its place again, changed or not, so that both ends know the other is there."""

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

FAVOURITES_IN_A_ROW = 3
"""Turns of favourites to one of the others, who so keep a quarter of the line."""

MAX_TURN_S = 60.0
"""Of those that the guess is made from: a reader that is stuck says nothing about the next one."""

TURN_GAIN = 0.3


@dataclass(frozen=True, slots=True)
class Granted:
    """The read may send now."""

    read: int


@dataclass(frozen=True, slots=True)
class Queued:
    """The read's peer waits; 1 is the next in line. Not every waiting read hears every change.
    `eta` is a guess of the seconds until its turn.
    """

    read: int
    position: int
    eta: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Revoked:
    """The read is over, whether it waited or was being sent; `code` tells its peer why."""

    read: int
    code: ResetCode


Decision = Granted | Queued | Revoked


@dataclass(slots=True)
class _Place:
    reads: dict[int, int] = field(default_factory=dict)  # read -> length, oldest first
    told: int = 0
    told_at: float = 0.0


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
        self._is_favourite = is_favourite
        self._favourites_in_a_row = 0
        self._turn_seconds = TURN_S  # of the last turns, smoothed
        self._leases: dict[PeerId, Lease] = {}  # at most `count`
        self._fast_lane = FastLane()
        self._fast: dict[PeerId, Lease] = {}  # the reads in it; MAX_FAST_READS together
        self._line: dict[PeerId, _Place] = {}  # in the order of coming; MAX_WAITING_PEERS
        self._line_moved = False  # since the places in it were told
        self._peers: dict[int, PeerId] = {}  # of every read that waits or is being sent
        self._cancelled: dict[PeerId, float] = {}  # until when; grows only by the owner's hand

    def set_count(self, count: int, now: float) -> list[Decision]:
        """From now on there are `count` slots; leases beyond them end with their turns."""
        self._count = count
        return self._settle(now)

    @property
    def is_used(self) -> bool:
        """Whether anybody is being sent to, or waits."""
        return bool(self._leases or self._fast or self._line)

    @property
    def holders(self) -> list[PeerId]:
        """The peers that hold a lease, the oldest first."""
        return list(self._leases)

    @property
    def receivers(self) -> list[PeerId]:
        """The peers that are being sent to: the holders, and who is in the fast lane only."""
        return [*self._leases, *(peer for peer in self._fast if peer not in self._leases)]

    @property
    def _waiting_reads(self) -> int:
        return sum(len(place.reads) for place in self._line.values())

    @property
    def line(self) -> list[tuple[PeerId, int]]:
        """The waiting peers, the next one first, each with its oldest waiting read."""
        return [(peer, next(iter(self._line[peer].reads))) for peer in self._order()]

    def ask(
        self, peer: PeerId, read: int, length: int, now: float, *, urgent: bool = False
    ) -> list[Decision]:
        """A peer asks for `length` bytes; `urgent`: it says that a person waits for them.

        Raises:
            Busy: the line or the peer's part of it is full, or the owner cancelled this peer.
        """
        self._refuse_cancelled(peer, now)
        lease = self._leases.get(peer)
        if lease is not None and lease.draining_since is None:
            self._peers[read] = peer
            self._fast_lane.sent_in_slots(length)
            decisions = _granted(lease.take(read, length, now))
            return [*decisions, *self._settle(now)] if self._line else decisions
        if self._may_pass(peer, length, now, urgent=urgent):
            self._peers[read] = peer
            return _granted(self._fast.setdefault(peer, Lease(now, now)).take(read, length, now))
        place = self._line.get(peer)
        if place is None:
            if len(self._line) >= MAX_WAITING_PEERS:
                raise Busy("too many peers wait for an upload slot; try again later")
            place = self._line[peer] = _Place()
            self._line_moved = True
        elif len(place.reads) >= MAX_WAITING_READS or self._waiting_reads >= (
            MAX_WAITING_READS_OF_ALL
        ):
            raise Busy("too many reads wait already; wait for those first")
        place.reads[read] = length
        self._peers[read] = peer
        decisions = self._settle(now)
        if place.told and not any(decision.read == read for decision in decisions):
            decisions.append(Queued(read, place.told, self._eta(place.told, now)))
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
        lease = self._lease_with(read)
        peer = self._peers.pop(read, None)
        if peer is None:
            return []
        place = self._line.get(peer)
        decisions: list[Decision] = []
        if lease is not None:
            lease.drop(read)
            lease.last_progress = now
            decisions += _granted(lease.begin_held())
            if lease is self._fast.get(peer) and not lease.reads:
                del self._fast[peer]
        elif place is not None:
            del place.reads[read]
            if not place.reads:
                del self._line[peer]
                self._line_moved = True
        return [*decisions, *self._settle(now)] if self._line else decisions

    def cancel(self, peer: PeerId, now: float) -> list[Decision]:
        """The owner wants no more uploads to this peer for now."""
        self._cancelled = {key: until for key, until in self._cancelled.items() if until > now}
        self._cancelled[peer] = now + CANCEL_S
        return self.drop(peer, now, ResetCode.CANCELLED)

    def drop(self, peer: PeerId, now: float, code: ResetCode) -> list[Decision]:
        """Everything of this peer ends with `code`: it has gone, or has been cancelled."""
        revoked = [*self._revoke(self._leases, peer, code), *self._revoke(self._fast, peer, code)]
        if place := self._line.pop(peer, None):
            self._line_moved = True
            revoked += [self._revoked(read, code) for read in place.reads]
        return [*revoked, *self._settle(now)]

    def tick(self, now: float) -> list[Decision]:
        """What follows from the mere passing of time."""
        self._fast_lane.forget(now)
        stuck = [peer for peer, lease in self._fast.items() if lease.is_stuck(now)]
        revoked = [
            each for peer in stuck for each in self._revoke(self._fast, peer, ResetCode.SLOT_LOST)
        ]
        for peer in [peer for peer, lease in self._leases.items() if lease.is_idle(now)]:
            del self._leases[peer]
        self._line_moved = True  # places are told again after a while
        return [*revoked, *self._settle(now)]

    def _may_pass(self, peer: PeerId, length: int, now: float, *, urgent: bool) -> bool:
        """Whether a read that would have to wait goes through the fast lane."""
        if not self._line and len(self._leases) < self._count:
            return False
        if sum(len(lease.reads) for lease in self._fast.values()) >= MAX_FAST_READS:
            return False
        return self._fast_lane.admits(peer, length, now, urgent=urgent)

    def _lease_with(self, read: int) -> Lease | None:
        """The lease, with or without a slot, that a granted or held read is part of."""
        peer = self._peers.get(read)
        leases = (self._leases.get(peer), self._fast.get(peer)) if peer is not None else ()
        return next(
            (each for each in leases if each and (read in each.reads or read in each.held)), None
        )

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
        if self._line_moved:  # and not for each read of a crowd
            self._line_moved = False
            decisions += self._tell_places(now)
        return decisions

    def _grant(self, now: float) -> Iterator[Decision]:
        while self._line:
            if len(self._leases) >= self._count and self._leases.keys().isdisjoint(self._line):
                return
            peer = self._order()[0]
            # A peer that waits may still be finishing its last turn: the same slot serves it again.
            if peer not in self._leases and len(self._leases) >= self._count:
                return
            lease = self._leases.pop(peer, None) or Lease(now, now)
            lease.turn_began = lease.last_progress = now
            lease.granted_bytes, lease.draining_since = 0, None
            self._leases[peer] = lease
            others = len(self._line) > 1
            in_a_row = self._favourites_in_a_row + 1
            self._favourites_in_a_row = in_a_row if others and self._is_favourite(peer) else 0
            waiting = self._line.pop(peer).reads
            self._line_moved = True
            while waiting and not (self._line and lease.granted_bytes >= TURN_BYTES):
                read = next(iter(waiting))
                length = waiting.pop(read)
                self._fast_lane.sent_in_slots(length)
                yield from _granted(lease.take(read, length, now))
            if waiting:
                lease.draining_since = now
                self._line[peer] = _Place(waiting)

    def _make_room(self, now: float, decisions: list[Decision]) -> bool:
        """Ends turns and takes slots from readers that do not read; True when a slot came free."""
        held, wanted = len(self._leases), len(self._line)
        turn_seconds = _turn_seconds(self._count, wanted)
        draining = sum(lease.draining_since is not None for lease in self._leases.values())
        for peer, lease in list(self._leases.items()):
            # One ended turn for each that waits is enough.
            if draining < wanted and lease.ends_turn(now, turn_seconds):
                lease.draining_since = now
                draining += 1
                if lease.held:
                    self._line[peer] = _Place(lease.held)
                    self._line_moved = True
                    lease.held = {}
            if lease.is_stuck(now):
                decisions += self._revoke(self._leases, peer, ResetCode.SLOT_LOST)
            elif lease.is_idle(now):
                del self._leases[peer]
                turn = min(now - lease.turn_began, MAX_TURN_S)
                self._turn_seconds += TURN_GAIN * (turn - self._turn_seconds)
        return len(self._leases) < held

    def _revoke(
        self, leases: dict[PeerId, Lease], peer: PeerId, code: ResetCode
    ) -> Iterator[Decision]:
        if lease := leases.pop(peer, None):
            for read in (*lease.reads, *lease.held):
                yield self._revoked(read, code)

    def _revoked(self, read: int, code: ResetCode) -> Revoked:
        del self._peers[read]
        return Revoked(read, code)

    def _tell_places(self, now: float) -> Iterator[Decision]:
        """News of a changed place goes to the oldest read of a peer only, so that a crowd with many
        reads each does not make a storm of it; the repetition reaches all.
        """
        for position, peer in enumerate(self._order(), 1):
            place, eta = self._line[peer], self._eta(position, now)
            if now - place.told_at >= REPEAT_S or not place.told:
                place.told_at = now
                yield from [Queued(read, position, eta) for read in place.reads]
            elif place.told != position:
                yield Queued(next(iter(place.reads)), position, eta)
            place.told = position

    def _order(self) -> list[PeerId]:
        """The waiting peers in the order of their turns, if nobody comes or goes."""
        favourites = [peer for peer in self._line if self._is_favourite(peer)]
        if not favourites:
            return list(self._line)
        others = [peer for peer in self._line if peer not in favourites]
        order: list[PeerId] = []
        in_a_row = self._favourites_in_a_row
        while favourites and others:
            first = in_a_row < FAVOURITES_IN_A_ROW
            order.append((favourites if first else others).pop(0))
            in_a_row = in_a_row + 1 if first else 0
        return order + favourites + others

    def _eta(self, position: int, now: float) -> int:
        """A guess: every slot's turns are as long as the last ones were."""
        began = min((lease.turn_began for lease in self._leases.values()), default=now)
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
