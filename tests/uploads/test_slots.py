"""Upload slots: scripts of events and the decisions expected; invariants in random schedules."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdpd.errors import Busy
from hdpd.identity.keys import PeerId
from hdpd.uploads import fastlane, lease, quotas, slots
from hdpd.uploads.decisions import Decision, Granted, Queued, Revoked
from hdpd.uploads.quotas import DayCount
from hdpd.uploads.slots import Slots
from hdpd.wire.messages import MAX_READ_BYTES, ResetCode

A, B, C, D = (PeerId(bytes([number]) * 32) for number in b"ABCD")
MIB = 1024 * 1024
READS_OF_A_TURN = lease.TURN_BYTES // MAX_READ_BYTES


def lost(*reads: int) -> list[Decision]:
    return [Revoked(read, ResetCode.SLOT_LOST) for read in reads]


def test_holder_reads_on_without_waiting() -> None:
    brain = Slots(1)
    assert brain.ask(A, 1, MIB, 0.0) == [Granted(1)]
    assert brain.ask(A, 2, MIB, 0.1) == [Granted(2)]
    assert brain.end(1, 0.2) == []
    assert brain.ask(A, 3, MIB, 100.0) == [Granted(3)]


def test_everyone_with_a_free_slot_is_served_at_once() -> None:
    brain = Slots(2)
    assert brain.ask(A, 1, MIB, 0.0) == [Granted(1)]
    assert brain.ask(B, 2, MIB, 0.0) == [Granted(2)]
    assert brain.ask(C, 3, MIB, 0.0) == [Queued(3, 1)]
    assert brain.holders == [A, B]
    assert brain.line == [(C, 3)]


def test_reader_that_our_own_limit_makes_slow_may_drain_longer() -> None:
    brain = Slots(1)
    brain.ask(A, 1, MIB, 0.0)
    brain.ask(B, 2, MIB, 1.0)
    assert brain.tick(10.0) == []
    now = 10.0
    while now < 10.0 + lease.PACED_DRAIN_S - 1:
        now += 1.0
        brain.paced(1, now)
        assert not [each for each in brain.tick(now) if isinstance(each, Revoked)]
    assert brain.tick(now + 1) == [*lost(1), Granted(2)]


def test_lease_outlives_its_read_for_a_moment() -> None:
    brain = Slots(1)
    brain.ask(A, 1, MIB, 0.0)
    assert brain.ask(B, 2, MIB, 0.5) == [Queued(2, 1)]
    assert brain.end(1, 1.0) == []
    assert brain.ask(A, 3, MIB, 3.9) == [Granted(3)]
    assert brain.end(3, 4.0) == []
    assert brain.tick(6.9) == []
    assert brain.tick(7.0) == [Granted(2)]


def test_unused_lease_ends() -> None:
    brain = Slots(1)
    brain.ask(A, 1, MIB, 0.0)
    brain.end(1, 1.0)
    brain.tick(3.9)
    assert brain.is_used
    brain.tick(4.0)
    assert not brain.is_used


def test_turn_ends_in_time_while_others_wait() -> None:
    brain = Slots(1)
    brain.ask(A, 1, MIB, 0.0)
    brain.ask(B, 2, MIB, 1.0)
    assert brain.tick(9.9) == []
    assert brain.tick(10.0) == []  # what is in flight is finished
    assert brain.ask(A, 3, MIB, 10.1) == [Queued(3, 2)]
    assert brain.end(1, 10.2) == [Granted(2), Queued(3, 1)]
    assert brain.tick(19.0) == []
    assert brain.end(2, 21.0) == [Granted(3)]  # B's turn is over as well, and it has nothing left


def test_turn_ends_by_bytes_while_others_wait() -> None:
    brain = Slots(1)
    brain.ask(A, 0, MAX_READ_BYTES, 0.0)
    brain.ask(B, 99, MIB, 0.0)
    for read in range(1, READS_OF_A_TURN):
        assert brain.ask(A, read, MAX_READ_BYTES, 0.1) == [Granted(read)]
    assert brain.ask(A, 50, MAX_READ_BYTES, 0.2) == [Queued(50, 2)]
    for read in range(READS_OF_A_TURN - 1):
        assert brain.end(read, 0.3) == []
    assert brain.end(READS_OF_A_TURN - 1, 0.4) == [Granted(99), Queued(50, 1)]


def test_long_reads_of_one_peer_begin_as_others_end() -> None:
    brain = Slots(1)
    at_once = lease.LEASE_MEMORY_BYTES // lease.READ_MEMORY_BYTES
    granted: list[Decision] = []
    for read in range(at_once + 3):
        granted += brain.ask(A, read, MAX_READ_BYTES, 0.0)
    assert granted == [Granted(read) for read in range(at_once)]
    assert brain.end(3, 1.0) == [Granted(at_once)]
    assert brain.end(at_once + 1, 1.0) == []  # given up before it began
    assert brain.end(4, 1.0) == [Granted(at_once + 2)]
    assert brain.ask(A, 100, 1, 1.0) == []
    assert Revoked(100, ResetCode.CANCELLED) in brain.cancel(A, 1.0)


def test_reads_that_have_not_begun_are_no_part_of_what_is_finished() -> None:
    brain = Slots(1)
    for read in range(10):
        brain.ask(A, read, MAX_READ_BYTES, 0.0)
    assert brain.ask(B, 100, MIB, 10.0) == [Queued(100, 1), Queued(8, 2), Queued(9, 2)]
    for read in range(7):
        assert brain.end(read, 10.0) == []
    assert brain.end(7, 10.0) == [Granted(100), Queued(8, 1)]


def test_turn_is_endless_while_nobody_waits() -> None:
    brain = Slots(1)
    for read in range(100):
        assert brain.ask(A, read, MAX_READ_BYTES, float(read)) == [Granted(read)]
        brain.end(read, float(read))


def test_newcomer_waits_for_the_oldest_turn_only() -> None:
    brain = Slots(2)
    brain.ask(A, 1, MIB, 0.0)
    brain.ask(B, 2, MIB, 1.0)
    brain.progress(1, 59.0)
    brain.progress(2, 59.0)
    brain.ask(C, 3, MIB, 60.0)  # both turns are long over, one is enough
    assert brain.ask(B, 4, MIB, 60.1) == [Granted(4)]
    assert brain.ask(A, 5, MIB, 60.2) == [Queued(5, 2)]


def test_peer_that_wants_much_does_not_starve_one_that_wants_little() -> None:
    brain = Slots(1)
    brain.ask(A, 0, MAX_READ_BYTES, 0.0)
    brain.ask(B, 1000, MIB, 0.0)
    for read in range(1, 20):
        brain.ask(A, read, MAX_READ_BYTES, 0.0)
    for read in range(READS_OF_A_TURN - 1):
        brain.end(read, 1.0)
    assert brain.end(READS_OF_A_TURN - 1, 1.0)[0] == Granted(1000)

    # As soon as B has been idle for a moment, A has the slot for itself, with no end of its turn.
    brain.end(1000, 2.0)
    running = [item.read for item in brain.tick(5.0)]
    for read in range(READS_OF_A_TURN, 20):
        assert running.pop(0) == read
        running += [item.read for item in brain.end(read, 6.0)]


def test_two_that_want_much_alternate() -> None:
    brain = Slots(1)
    turns = [range(first, first + READS_OF_A_TURN) for first in range(0, 600, 100)]
    running = list(turns[0])
    for read in (*turns[0], *turns[2], *turns[4]):
        brain.ask(A, read, MAX_READ_BYTES, 0.0)
        if read == 0:
            for other in (*turns[1], *turns[3], *turns[5]):
                brain.ask(B, other, MAX_READ_BYTES, 0.0)

    order = []
    while running:
        order.append(running.pop(0))
        decisions = brain.end(order[-1], 1.0)
        running += [item.read for item in decisions if isinstance(item, Granted)]
    assert order == [read for turn in turns for read in turn]


def test_places_are_told_and_told_again() -> None:
    brain = Slots(1)
    brain.ask(A, 1, MIB, 0.0)
    assert brain.ask(B, 2, MIB, 0.0) == [Queued(2, 1)]
    assert brain.ask(C, 3, MIB, 0.0) == [Queued(3, 2)]
    assert brain.ask(C, 4, MIB, 0.0) == [Queued(4, 2)]
    assert brain.ask(D, 5, MIB, 0.0) == [Queued(5, 3)]
    # C's change is told on its oldest read, the rest hears it with the repetition.
    assert brain.end(2, 1.0) == [Queued(3, 1), Queued(5, 2)]
    brain.progress(1, 14.9)
    assert brain.tick(14.9) == []
    assert brain.tick(15.0) == [Queued(3, 1), Queued(4, 1), Queued(5, 2)]


def test_peer_has_one_place_whatever_it_asks_for() -> None:
    brain = Slots(1)
    brain.ask(A, 1, MIB, 0.0)
    brain.ask(B, 2, MIB, 0.0)
    brain.ask(C, 3, MIB, 0.0)
    assert brain.ask(B, 4, MIB, 0.0) == [Queued(4, 1)]
    assert brain.line == [(B, 2), (C, 3)]
    assert brain.end(2, 0.5) == []  # B gave up its oldest read, and keeps its place for the other
    assert brain.drop(A, 1.0, ResetCode.OK) == [
        Revoked(1, ResetCode.OK),
        Granted(4),
        Queued(3, 1),
    ]


def test_reader_that_does_not_read_loses_its_slot_to_one_that_waits() -> None:
    brain = Slots(1)
    brain.ask(A, 1, MIB, 0.0)
    brain.ask(A, 2, MIB, 0.0)
    assert brain.tick(1000.0) == []  # nobody else wants it
    brain.progress(1, 1000.0)
    assert brain.ask(B, 3, MIB, 1001.0) == [Queued(3, 1)]
    assert brain.tick(1002.9) == []
    assert brain.tick(1003.0) == [Granted(3)]
    assert brain.receivers == [B, A]
    assert brain.tick(1019.9) == []
    assert brain.tick(1020.0) == lost(1, 2)
    assert brain.end(1, 1020.0) == []
    assert brain.ask(A, 4, MIB, 1020.1) == [Queued(4, 1)]


def test_trickling_reader_goes_on_without_its_slot_and_not_for_ever() -> None:
    brain = Slots(1)
    brain.ask(A, 1, MIB, 0.0)
    brain.ask(B, 2, MIB, 0.0)
    assert brain.tick(10.0) == []
    assert brain.tick(12.0) == [Granted(2)]
    for second in range(12, 130):
        brain.progress(1, float(second))
        brain.progress(2, float(second))
        assert brain.tick(float(second)) == []
    brain.progress(1, 130.0)
    brain.progress(2, 130.0)
    assert brain.tick(130.0) == lost(1)


def test_slow_readers_cannot_hold_a_fast_one_and_no_more_of_them_than_slots_go_on() -> None:
    """Each of them takes a byte now and then; the fast one has its turn in every round."""
    brain = Slots(2)
    decisions: list[Decision] = []
    for number in range(8):
        decisions += brain.ask(PeerId(bytes([100 + number]) * 32), number, MIB, 0.0)
    decisions += brain.ask(A, 1000, MIB, 0.0)
    now, asked, asks_at = 0.0, 0.0, float("inf")
    running, waited, revoked = set[int](), list[float](), 0
    while now < 300.0:
        for decision in decisions:
            if isinstance(decision, Granted):
                running.add(decision.read)
            elif isinstance(decision, Revoked):
                running.remove(decision.read)
                revoked += 1
        assert len(running) <= 2 * 2
        decisions = []
        if 1000 in running:  # taken at once; some seconds later it wants more
            running.remove(1000)
            waited.append(now - asked)
            decisions += brain.end(1000, now)
            asks_at = now + 5.0
        now += 0.5
        for read in running:
            brain.progress(read, now)
        decisions += brain.tick(now)
        if now >= asks_at:
            asked, asks_at = now, float("inf")
            decisions += brain.ask(A, 1000, MIB, now)
    assert len(waited) > 4
    assert max(waited) <= 5 * (slots.TURN_S + lease.LATE_S)
    assert revoked


def test_many_keys_of_one_person_are_one_in_the_line() -> None:
    brain = Slots(1)
    brain.ask(A, 0, MIB, 0.0, source="mallory")
    keys = [PeerId(bytes([100 + number]) * 32) for number in range(10)]
    for number, peer in enumerate(keys, 1):
        brain.ask(peer, number, MIB, 0.0, source="mallory")
    brain.ask(B, 100, MIB, 0.0, source="anna")
    brain.ask(C, 200, MIB, 0.0, source="bert")
    assert [peer for peer, _ in brain.line][:4] == [keys[0], B, C, keys[1]]


def test_cancelled_peer_is_turned_away_for_a_while() -> None:
    brain = Slots(1)
    brain.ask(A, 1, MIB, 0.0)
    brain.ask(B, 2, MIB, 0.0)
    brain.ask(B, 3, MIB, 0.0)
    assert brain.cancel(A, 1.0) == [Revoked(1, ResetCode.CANCELLED), Granted(2), Granted(3)]
    with pytest.raises(Busy, match="again in 59 s"):
        brain.ask(A, 4, MIB, 2.0)
    brain.progress(2, 60.0)
    assert brain.ask(A, 5, MIB, 61.0) == [Queued(5, 1)]


def test_waiting_peer_can_be_cancelled() -> None:
    brain = Slots(1)
    brain.ask(A, 1, MIB, 0.0)
    brain.ask(B, 2, MIB, 0.0)
    assert brain.cancel(B, 1.0) == [Revoked(2, ResetCode.CANCELLED)]
    assert brain.line == []


def test_line_is_bounded() -> None:
    brain = Slots(1)
    brain.ask(A, 0, MIB, 0.0)
    for number in range(slots.MAX_WAITING_PEERS):
        peer = PeerId(number.to_bytes(32, "big"))
        brain.ask(peer, 1 + number, MIB, 0.0)
    with pytest.raises(Busy, match="too many peers"):
        brain.ask(D, 1000, MIB, 0.0)
    first = PeerId(bytes(32))
    for number in range(slots.MAX_WAITING_READS - 1):
        brain.ask(first, 2000 + number, MIB, 0.0)
    with pytest.raises(Busy, match="too many reads"):
        brain.ask(first, 3000, MIB, 0.0)


def test_turns_are_short_while_many_wait() -> None:
    brain = Slots(1)
    brain.ask(A, 1, MIB, 0.0)
    for number in range(60):
        brain.ask(PeerId(number.to_bytes(32, "big")), 100 + number, MIB, 0.0)
    brain.tick(slots.MIN_TURN_S - 0.1)
    assert Granted(2) in brain.ask(A, 2, MIB, slots.MIN_TURN_S - 0.1)
    brain.tick(slots.MIN_TURN_S)
    assert Granted(3) not in brain.ask(A, 3, MIB, slots.MIN_TURN_S)


def test_all_waiting_reads_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "MAX_WAITING_READS_OF_ALL", 4)
    brain = Slots(1)
    brain.ask(A, 0, MIB, 0.0)
    for number in range(3):
        brain.ask(B, 1 + number, MIB, 0.0)
    brain.ask(C, 10, MIB, 0.0)
    with pytest.raises(Busy, match="too many reads"):
        brain.ask(C, 11, MIB, 0.0)
    brain.ask(D, 12, MIB, 0.0)  # the first read of a peer is always heard


def favouring(count: int, *favourites: PeerId) -> Slots:
    return Slots(count, lambda peer: peer in favourites)


def test_favourites_go_first() -> None:
    brain = favouring(1, C)
    brain.ask(A, 1, MIB, 0.0)
    assert brain.ask(B, 2, MIB, 0.0) == [Queued(2, 1)]
    assert brain.ask(C, 3, MIB, 0.0) == [Queued(3, 1), Queued(2, 2)]
    assert brain.line == [(C, 3), (B, 2)]
    brain.end(1, 1.0)
    assert brain.tick(4.0) == [Granted(3), Queued(2, 1)]


def test_favourites_leave_the_others_their_turns() -> None:
    """Two favourites that always want more, and two others: three turns to one."""
    brain = favouring(1, A, B)
    turns, numbers, now = "", iter(range(1000)), 0.0
    waiting: dict[int, PeerId] = {}
    decisions: list[Decision] = []
    for peer in (A, B, C, D):
        read = next(numbers)
        waiting[read] = peer
        decisions += brain.ask(peer, read, MIB, now)
    while len(turns) < 16:
        granted = [item.read for item in decisions if isinstance(item, Granted)]
        decisions = []
        for read in granted:
            peer = waiting.pop(read)
            turns += chr(peer.raw[0])
            now += slots.TURN_S + 1
            brain.progress(read, now)
            decisions += brain.tick(now)  # its turn is over
            again = next(numbers)
            waiting[again] = peer
            decisions += brain.ask(peer, again, MIB, now)
            decisions += brain.end(read, now)
    assert turns == "A" + "BABC" + "ABAD" + "BABC" + "ABA"


def test_the_guess_follows_the_turns() -> None:
    brain = Slots(2)
    brain.ask(A, 1, MIB, 0.0)
    brain.ask(B, 2, MIB, 0.0)

    def guesses(decisions: list[Decision]) -> list[int]:
        return [item.eta for item in decisions if isinstance(item, Queued)]

    assert guesses(brain.ask(C, 3, MIB, 4.0)) == [6]  # two slots, turns of 10 s, 4 s gone
    assert guesses(brain.ask(D, 4, MIB, 4.0)) == [6]
    brain.end(1, 4.0)
    assert brain.tick(7.0)[0] == Granted(3)  # a turn of 7 s
    assert guesses(brain.ask(A, 5, MIB, 9.0)) == [1]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 50), st.integers(0, 2))))
def test_a_day_is_counted_and_the_next_begins_anew(sent: list[tuple[int, int, int]]) -> None:
    count, told = DayCount("0", {}), dict[PeerId, int]()
    day = "0"
    for number, size, days in sent:
        if days:
            day, told = str(int(day) + days), {}
        peer = PeerId(bytes([number]) * 32)
        count.add(peer, size, day)
        told[peer] = told.get(peer, 0) + size
        assert count.sent(peer, day) == told[peer]
    unsaved = count.take_unsaved()
    assert unsaved == told
    assert count.take_unsaved() == {}


def test_not_too_many_peers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "MAX_PEERS", 2)
    count = DayCount("0", {A: 50, B: 10})
    count.add(C, 20, "0")
    assert [count.sent(peer, "0") for peer in (A, B, C)] == [50, 0, 20]


# The fast lane.


def in_use(count: int = 1) -> Slots:
    """Slots all of which are taken, the first one by A."""
    brain = Slots(count)
    for number in range(count):
        brain.ask(PeerId(bytes([65 + number]) * 32), 900 + number, MIB, 0.0)
    return brain


def test_small_and_urgent_reads_do_not_wait() -> None:
    brain = in_use()
    assert brain.ask(B, 1, fastlane.SMALL_BYTES, 0.0) == [Granted(1)]
    assert brain.ask(C, 2, fastlane.SMALL_BYTES + 1, 0.0) == [Queued(2, 1)]
    assert brain.ask(B, 3, MIB, 0.0, urgent=True) == [Granted(3)]
    assert brain.ask(B, 4, MIB + 1, 0.0, urgent=True) == [Queued(4, 2)]
    assert brain.holders == [A]
    assert brain.receivers == [A, B]
    assert brain.end(1, 0.1) == brain.end(3, 0.1) == []
    assert brain.receivers == [A]


def test_while_a_slot_is_free_the_allowance_is_untouched() -> None:
    brain = Slots(1)
    for read in range(100):
        assert brain.ask(A, read, MIB, 0.0, urgent=True)[0] == Granted(read)
        brain.end(read, 0.0)
    brain.tick(lease.IDLE_S)
    brain.ask(B, 900, MIB, lease.IDLE_S)
    assert brain.ask(A, 901, MIB, lease.IDLE_S, urgent=True) == [Granted(901)]


def test_an_allowance_is_used_up_and_comes_back() -> None:
    brain = in_use()
    at_once = fastlane.ALLOWANCE_BYTES // (MIB + fastlane.READ_COST)
    for read in range(at_once):
        assert brain.ask(B, read, MIB, 0.0, urgent=True) == [Granted(read)]
        brain.end(read, 0.0)
    assert brain.ask(B, 50, MIB, 0.0, urgent=True) == [Queued(50, 1)]
    assert brain.ask(C, 51, MIB, 0.0, urgent=True) == [Granted(51)]
    brain.progress(900, 5.0)
    assert brain.ask(B, 52, MIB, 5.0, urgent=True) == [Granted(52)]


def test_all_peers_together_have_a_part_of_what_is_sent_in_slots() -> None:
    brain = in_use()
    passed = 0
    for number in range(60):
        peer = PeerId(bytes([100 + number]) * 32)
        passed += brain.ask(peer, number, MIB, 0.0, urgent=True) == [Granted(number)]
        brain.end(number, 0.0)
    assert passed == fastlane.SHARED_BYTES // (MIB + fastlane.READ_COST)
    assert brain.ask(B, 70, MIB, 0.0, urgent=True) == [Queued(70, 1)]
    brain.end(70, 0.0)
    for read in range(71, 75):
        brain.ask(A, read, MIB, 0.0)  # who holds the slot
    assert brain.ask(B, 80, MIB, 0.0, urgent=True) == [Granted(80)]


def test_few_reads_are_in_the_lane_at_once() -> None:
    brain = in_use()
    for read in range(slots.MAX_FAST_READS):
        peer = PeerId(bytes([100 + read]) * 32)
        assert brain.ask(peer, read, 0, 0.0) == [Granted(read)]
    assert brain.ask(B, 50, 0, 0.0) == [Queued(50, 1)]
    brain.end(0, 0.0)
    assert brain.ask(C, 51, 0, 0.0) == [Granted(51)]


def test_the_lane_ends_with_the_peer_and_for_who_does_not_read() -> None:
    brain = in_use()
    brain.ask(B, 1, 0, 0.0)
    brain.ask(C, 2, 0, 0.0)
    assert brain.drop(B, 1.0, ResetCode.OK) == [Revoked(1, ResetCode.OK)]
    for now in range(int(lease.STALL_S)):
        brain.progress(900, float(now))
    assert brain.tick(lease.STALL_S) == lost(2)
    assert brain.receivers == [A]


# Random schedules.

PEERS = [PeerId(bytes([number]) * 32) for number in range(6)]


@dataclass
class World:
    """Plays events into the brain and keeps book of what it decided."""

    brain: Slots
    now: float = 0.0
    owner: dict[int, PeerId] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    running: set[int] = field(default_factory=set)
    waiting_since: dict[PeerId, float] = field(default_factory=dict)

    def ask(self, peer: PeerId, length: int) -> None:
        read = len(self.owner)
        self.owner[read] = peer
        self.waiting.add(read)
        try:
            self.note(self.brain.ask(peer, read, abs(length), self.now, urgent=length < 0))
        except Busy:
            self.waiting.remove(read)

    def note(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, Granted):
                self.waiting.remove(decision.read)
                self.running.add(decision.read)
            elif isinstance(decision, Revoked):
                assert (decision.read in self.waiting) != (decision.read in self.running)
                self.waiting.discard(decision.read)
                self.running.discard(decision.read)
            else:
                assert decision.read in self.waiting
                places = [peer for peer, _ in self.brain.line]
                assert 1 <= decision.position <= len(PEERS)
                assert self.owner[decision.read] in places
        self.check(decisions)

    def check(self, decisions: list[Decision]) -> None:
        sending = {self.owner[read] for read in self.running}
        lanes = [each.fast for each in self.brain._receivers.values() if each.fast]
        fast = {read for lane in lanes for read in lane.reads}
        late = [each.late for each in self.brain._receivers.values() if each.late]
        assert len(late) <= self.brain._count
        beside = fast | {read for each in late for read in each.reads}
        assert fast <= self.running
        assert len(fast) <= slots.MAX_FAST_READS
        waiting = {self.owner[read] for read in self.waiting}
        line = [peer for peer, _ in self.brain.line]
        assert sending <= set(self.brain.receivers)
        assert {self.owner[read] for read in self.running - beside} <= set(self.brain.holders)
        assert len(self.brain.holders) <= self.brain._count
        assert set(line) <= waiting  # the others hold a slot, and their reads wait for memory
        assert waiting <= set(line) | set(self.brain.holders)
        assert len(line) == len(set(line))
        assert not line or len(self.brain.holders) == self.brain._count
        granted = {self.owner[item.read] for item in decisions if isinstance(item, Granted)}
        for peer in list(self.waiting_since):
            if peer not in line or peer in granted:
                del self.waiting_since[peer]
        for peer in line:
            self.waiting_since.setdefault(peer, self.now)


EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("ask"),
            st.sampled_from(PEERS),
            st.sampled_from([0, MIB, MAX_READ_BYTES, -MIB]),  # below zero: an urgent one
        ),
        st.tuples(st.sampled_from(["end", "progress"]), st.integers(0, 1000), st.just(0)),
        st.tuples(st.sampled_from(["drop", "cancel"]), st.sampled_from(PEERS), st.just(0)),
        st.tuples(st.just("sleep"), st.floats(0.0, 30.0), st.just(0)),
    ),
    max_size=120,
)


def play(world: World, kind: str, what: PeerId | float, length: int) -> None:
    brain = world.brain
    if isinstance(what, PeerId):
        if kind == "ask":
            world.ask(what, length)
        elif kind == "drop":
            world.note(brain.drop(what, world.now, ResetCode.OK))
        else:
            world.note(brain.cancel(what, world.now))
    elif kind == "sleep":
        world.now += what
        world.note(brain.tick(world.now))
    elif alive := sorted(world.running | world.waiting):
        read = alive[int(what) % len(alive)]
        if kind == "progress":
            brain.progress(read, world.now)
        else:
            world.running.discard(read)
            world.waiting.discard(read)
            world.note(brain.end(read, world.now))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3), st.sets(st.sampled_from(PEERS)), EVENTS)
def test_invariants_hold_and_nobody_starves(
    count: int, favourites: set[PeerId], events: list[tuple[str, PeerId | float, int]]
) -> None:
    world = World(favouring(count, *favourites))
    for event in events:
        play(world, *event)

    # From here on readers trickle, which is the worst they can do; still everyone has its turn.
    started = world.now
    longest_turn = slots.TURN_S + lease.DRAIN_S + 1
    while world.brain.line and world.now < started + len(PEERS) * longest_turn:
        for read in world.running:
            world.brain.progress(read, world.now)
        world.now += 1.0
        world.note(world.brain.tick(world.now))
    assert not [peer for peer, since in world.waiting_since.items() if since <= started]
