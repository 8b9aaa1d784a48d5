"""Ranges of a file, the pace of a peer, and the window of the process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hdpd.downloads.ranges import (
    MAX_RANGE,
    MAX_UNRECORDED,
    MIB,
    MIN_RANGE,
    RANGES_IN_FLIGHT,
    FileRanges,
    Pace,
    Range,
    Window,
)


def test_ranges_go_out_in_order_and_come_back_in_any() -> None:
    ranges = FileRanges(10)
    first, second, third = (ranges.next(4) for _ in range(3))
    assert first == Range(0, 4, True)
    assert second == Range(4, 8, True)
    assert third == Range(8, 10, True)
    assert ranges.next(4) is None
    assert ranges.exhausted

    ranges.verified(third)
    ranges.verified(second)
    assert (ranges.prefix, ranges.verified_bytes, ranges.extent) == (0, 6, 10)
    ranges.verified(first)
    assert ranges.prefix == 10
    assert ranges.complete


def test_a_failed_range_is_next_and_not_fresh() -> None:
    ranges = FileRanges(100)
    first = ranges.next(10)
    ranges.next(10)
    assert first is not None
    ranges.failed(first)

    assert ranges.retrying
    assert ranges.next(4) == Range(0, 4, False)
    assert ranges.next(10) == Range(4, 10, False)
    assert ranges.next(10) == Range(20, 30, True)


def test_nothing_is_asked_for_too_far_beyond_the_watermark() -> None:
    ranges = FileRanges(1000 * MIB, recorded=100 * MIB)
    asked = []
    while (one := ranges.next(MAX_RANGE)) is not None:
        asked.append(one)
    assert ranges.unrecorded == MAX_UNRECORDED
    for one in asked:
        ranges.verified(one)
    assert ranges.next(MAX_RANGE) is None

    ranges.record(ranges.prefix)
    assert ranges.next(MAX_RANGE) is not None


def test_giving_up_makes_everything_under_way_missing() -> None:
    ranges = FileRanges(30)
    one, two = ranges.next(10), ranges.next(10)
    assert one is not None
    assert two is not None
    ranges.verified(two)
    ranges.give_up()
    assert ranges.next(100) == Range(0, 10, False)
    assert ranges.next(100) == Range(20, 30, True)


def test_the_true_size_replaces_the_listed_one() -> None:
    ranges = FileRanges(100)
    one, two = ranges.next(60), ranges.next(60)
    assert one is not None
    assert two is not None
    ranges.resize(40)
    ranges.failed(two)
    ranges.verified(one)
    assert ranges.complete
    with pytest.raises(ValueError, match="verified"):
        ranges.resize(50)

    empty = FileRanges(100)
    asked = empty.next(100)
    assert asked is not None
    empty.resize(0)
    assert empty.complete
    empty.verified(asked)
    assert empty.prefix == 0


def test_what_came_of_a_range_that_broke_off_counts_when_a_later_one_is_verified() -> None:
    ranges = FileRanges(40)
    one, two = ranges.next(10), ranges.next(10)
    assert one is not None
    assert two is not None
    assert ranges.keep(one, 6) == 6
    ranges.failed(one)
    assert (ranges.verified_bytes, ranges.unverified_bytes, ranges.extent) == (0, 6, 6)

    ranges.verified(two)  # asked for before: it may have been read before
    assert (ranges.prefix, ranges.unverified_bytes) == (0, 6)
    rest = ranges.next(10)
    assert rest == Range(6, 10, False)
    ranges.verified(rest)
    assert (ranges.prefix, ranges.unverified_bytes) == (20, 0)


def test_something_is_always_left_to_verify_the_rest_with() -> None:
    ranges = FileRanges(10)
    asked = ranges.next(10)
    assert asked is not None
    assert ranges.keep(asked, 10) == 9
    ranges.give_up()
    rest = ranges.next(10)
    assert rest == Range(9, 10, False)
    assert ranges.keep(rest, 1) == 0
    ranges.failed(rest)
    rest = ranges.next(10)
    assert rest == Range(9, 10, False)
    ranges.verified(rest)
    assert ranges.complete


class AnyOrder(RuleBasedStateMachine):
    """Against a plain model: the set of bytes that are there."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges = FileRanges(997)
        self.flying: list[Range] = []
        self.there: set[int] = set()
        self.step = 0
        self.asked_at: dict[Range, int] = {}
        self.kept_at: dict[int, int] = {}  # byte -> when the range that it came with broke off
        self.touched: set[int] = set()

    @rule(length=st.integers(1, 200))
    def ask(self, length: int) -> None:
        asked = self.ranges.next(length)
        if asked is None:
            assert self.ranges.exhausted
            return
        numbers = set(range(asked.start, asked.end))
        assert not numbers & (self.there | set(self.kept_at))
        self.step += 1
        self.asked_at[asked] = self.step
        assert 0 < asked.length <= length
        assert asked.fresh == (not numbers & self.touched)
        for other in self.flying:
            assert other.end <= asked.start or asked.end <= other.start
        self.touched |= numbers
        self.flying.append(asked)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), good=st.booleans(), came=st.integers(0, 200))
    def answer(self, data: st.DataObject, good: bool, came: int) -> None:
        asked = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        if good:
            self.ranges.verified(asked)
            later = {n for n, at in self.kept_at.items() if at < self.asked_at[asked]}
            self.there |= set(range(asked.start, asked.end)) | later
            self.kept_at = {n: at for n, at in self.kept_at.items() if n not in later}
        else:
            kept = self.ranges.keep(asked, came)
            assert kept <= came
            self.ranges.failed(asked)
            self.step += 1
            self.kept_at |= dict.fromkeys(range(asked.start, asked.start + kept), self.step)

    @rule(part=st.floats(0, 1))
    def record(self, part: float) -> None:
        low, high = self.ranges.recorded, self.ranges.prefix
        self.ranges.record(low + int((high - low) * part))

    @rule()
    def lose(self) -> None:
        self.ranges.give_up()
        self.flying.clear()

    @invariant()
    def agrees_with_the_model(self) -> None:
        prefix = next(n for n in range(998) if n not in self.there)
        assert self.ranges.prefix == prefix
        assert self.ranges.complete == (prefix == 997)
        assert self.ranges.verified_bytes == len(self.there)
        assert self.ranges.unverified_bytes == len(self.kept_at)
        assert self.ranges.extent == max(self.there | set(self.kept_at), default=-1) + 1
        assert self.ranges.recorded <= prefix <= self.ranges.high


TestAnyOrder = AnyOrder.TestCase


def send(pace: Pace, rate: float, seconds: float, start: float = 0.0) -> None:
    """Lets bytes arrive at `rate` in steps of 10 ms."""
    for step in range(int(seconds * 100)):
        pace.asked(int(rate / 100))
        pace.arrived(int(rate / 100), start + step / 100)


def test_a_fast_line_gets_large_ranges_and_a_full_pipe() -> None:
    pace = Pace()
    send(pace, 200e6, 2)
    assert pace.rate == pytest.approx(200e6, rel=0.05)
    assert pace.range_length == MAX_RANGE
    assert pace.limit(0.0) == RANGES_IN_FLIGHT * MAX_RANGE
    assert pace.limit(0.05) == pytest.approx(20e6, rel=0.05)
    assert pace.limit(10.0) == MAX_UNRECORDED


def test_a_slow_line_gets_small_ranges() -> None:
    pace = Pace()
    send(pace, 20e3, 20)
    assert pace.range_length == MIN_RANGE
    assert pace.limit(0.3) == RANGES_IN_FLIGHT * MIN_RANGE


def test_silence_is_not_taken_for_a_slow_line() -> None:
    pace = Pace()
    send(pace, 50e6, 2)
    send(pace, 50e6, 1, start=3600.0)
    assert pace.rate == pytest.approx(50e6, rel=0.1)


@given(st.floats(1, 1e10), st.floats(0, 10))
def test_limits_are_always_sane(rate: float, round_trip: float) -> None:
    pace = Pace()
    pace.rate = rate
    assert MIN_RANGE <= pace.range_length <= MAX_RANGE
    assert RANGES_IN_FLIGHT * MIN_RANGE <= pace.limit(round_trip) <= MAX_UNRECORDED


def test_the_window_is_bounded_but_never_shut() -> None:
    window = Window()
    assert window.allows(MAX_UNRECORDED + 1)
    window.take(MAX_UNRECORDED - 10)
    assert window.allows(10)
    assert not window.allows(11)
    window.give(1)
    assert window.allows(11)
