"""The shaper, with a clock of its own: never above the limit, smooth, and fair."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from hdpd.identity.keys import PeerId
from hdpd.rates.shaper import BURST_S, FORGET_S, Shaper

A, B, C = (PeerId(letter * 32) for letter in (b"A", b"B", b"C"))
SLICE_SECONDS = 0.02
MIN_SLICE = 512
BIG = 10**9


@dataclass
class Line:
    """Streams that always want more; `sizes` is what each wants at a time."""

    shaper: Shaper
    now: float = 1000.0
    late: float = 0.0  # by how much the clock comes late each time
    streams: dict[int, tuple[PeerId, int]] = field(default_factory=dict)
    grants: list[tuple[float, PeerId, int, int]] = field(default_factory=list)

    def add(self, peer: PeerId, size: int = BIG) -> int:
        stream = len(self.streams)
        self.streams[stream] = (peer, size)
        self.shaper.want(peer, stream, size, self.now)
        return stream

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            while (grant := self.shaper.next_grant(self.now)) is not None:
                peer, size = self.streams[grant.stream]
                assert 0 < grant.size <= size
                self.grants.append((self.now, peer, grant.stream, grant.size))
                self.shaper.want(peer, grant.stream, size, self.now)
            wake_at = self.shaper.wake_at()
            assert wake_at is not None
            if wake_at + self.late > end:
                self.now = end
                return
            self.now = max(self.now, wake_at + self.late)

    def by_peer(self) -> Counter[PeerId]:
        sizes: Counter[PeerId] = Counter()
        for _, peer, _, size in self.grants:
            sizes[peer] += size
        return sizes

    def by_stream(self) -> Counter[int]:
        sizes: Counter[int] = Counter()
        for _, _, stream, size in self.grants:
            sizes[stream] += size
        return sizes


def line(rate: int | None, per_peer: int | None = None, *, late: float = 0.0) -> Line:
    shaper = Shaper(SLICE_SECONDS, MIN_SLICE)
    made = Line(shaper, late=late)
    shaper.set_rates(rate, per_peer, made.now)
    return made


def test_the_rate_is_kept_exactly_and_smoothly() -> None:
    made = line(2_000_000)
    made.add(A)
    made.run(10)
    total = made.by_peer()[A]
    assert 0.99 * 20_000_000 <= total <= 20_000_000 + 2 * SLICE_SECONDS * 2_000_000
    times = [time for time, *_ in made.grants]
    assert max(b - a for a, b in itertools.pairwise(times)) < 2 * SLICE_SECONDS


def test_a_clock_that_comes_late_costs_nothing() -> None:
    made = line(2_000_000, late=BURST_S / 2)
    made.add(A)
    made.run(10)
    assert 0.98 * 20_000_000 <= made.by_peer()[A] <= 1.01 * 20_000_000


def test_slow_rates_come_in_small_slices() -> None:
    made = line(10_000)
    made.add(A)
    made.run(10)
    assert {size for *_, size in made.grants} == {MIN_SLICE}
    assert 0.99 * 100_000 <= made.by_peer()[A] <= 100_000 + 2 * MIN_SLICE


def test_a_silence_saves_up_no_more_than_a_burst() -> None:
    made = line(1_000_000)
    made.now += 3600
    made.add(A)
    made.run(1)
    assert made.by_peer()[A] <= 1_000_000 * (1 + BURST_S + 2 * SLICE_SECONDS)


def test_peers_share_by_bytes_whatever_they_ask_for_and_however_often() -> None:
    made = line(1_000_000)
    made.add(A)
    for _ in range(20):
        made.add(B, 10_000)
    made.add(C, 1_000)
    made.run(10)
    shares = made.by_peer()
    assert max(shares.values()) - min(shares.values()) < 100_000


def test_the_streams_of_a_peer_take_turns() -> None:
    made = line(1_000_000)
    streams = [made.add(A) for _ in range(7)]
    made.run(10)
    sizes = made.by_stream()
    assert max(sizes[s] for s in streams) - min(sizes[s] for s in streams) <= 20_000


def test_one_that_comes_late_gets_its_share_and_not_what_it_missed() -> None:
    made = line(1_000_000)
    made.add(A)
    made.run(10)
    made.grants.clear()
    made.add(B)
    made.run(10)
    shares = made.by_peer()
    assert abs(shares[A] - shares[B]) < 100_000


def test_each_peer_has_its_own_limit_below_that_of_all() -> None:
    made = line(1_000_000, 300_000)
    made.add(A)
    made.run(10)
    assert 2_970_000 <= made.by_peer()[A] <= 3_050_000
    made.grants.clear()
    for peer in (A, B, C, PeerId(b"D" * 32)):
        made.add(peer)
    made.run(10)
    shares = made.by_peer()
    assert 9_900_000 <= shares.total() <= 10_200_000
    assert max(shares.values()) - min(shares.values()) < 200_000


def test_a_stream_that_gives_up_is_not_served() -> None:
    made = line(100_000)
    first, second = made.add(A), made.add(A)
    made.run(0.1)
    made.shaper.forget(first)
    made.shaper.forget(first)
    made.grants.clear()
    made.run(1)
    assert set(made.by_stream()) == {second}


def test_what_is_given_back_may_be_had_again() -> None:
    made = line(100_000)
    made.add(A, 2000)
    grant = made.shaper.next_grant(made.now)
    assert grant is not None
    wake_before = made.shaper.wake_at()
    made.shaper.give_back(A, grant.size, made.now)
    made.add(B, 2000)
    assert made.shaper.next_grant(made.now) is not None
    assert wake_before is None


def test_without_a_limit_everything_goes_at_once() -> None:
    made = line(10_000)
    made.add(A)
    made.run(1)
    made.shaper.set_rates(None, None, made.now)
    assert not made.shaper.limited
    grant = made.shaper.next_grant(made.now)
    assert grant is not None
    assert grant.size == BIG
    assert made.shaper.wake_at() is None


def test_a_new_limit_owes_nothing_to_the_old_one() -> None:
    made = line(10_000)
    made.add(A)
    made.run(1)
    made.shaper.set_rates(10_000_000, None, made.now)
    made.grants.clear()
    made.run(1)
    assert 9_800_000 <= made.by_peer()[A] <= 10_300_000


def test_peers_that_are_gone_are_forgotten() -> None:
    made = line(1_000_000)
    for number in range(1000):
        stream = made.add(PeerId(number.to_bytes(32)), 100)
        made.shaper.forget(stream)
        made.now += FORGET_S / 10
    assert len(made.shaper._peers) < 20
    assert made.shaper._owners == {}


STEP = st.tuples(
    st.sampled_from([A, B, C]),
    st.integers(1, 200_000),  # what a stream of the peer wants now
    st.floats(0, 0.3),  # the time that passes then
)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(10_000, 5_000_000),
    st.none() | st.integers(10_000, 5_000_000),
    st.lists(STEP, min_size=1, max_size=60),
)
def test_never_more_than_the_limit_over_any_time(
    rate: int, per_peer: int | None, steps: list[tuple[PeerId, int, float]]
) -> None:
    shaper, now = Shaper(SLICE_SECONDS, MIN_SLICE), 5.0
    shaper.set_rates(rate, per_peer, now)
    owners: dict[int, PeerId] = {}
    wanted: Counter[PeerId] = Counter()
    grants: list[tuple[float, PeerId, int]] = []
    for number, (peer, size, wait) in enumerate(steps):
        shaper.want(peer, number, size, now)
        owners[number] = peer
        wanted[peer] += size
        while (grant := shaper.next_grant(now)) is not None:
            grants.append((now, owners[grant.stream], grant.size))
        now += wait
    slice_bytes = shaper.slice_bytes
    for peer in (A, B, C):
        assert sum(size for _, p, size in grants if p == peer) <= wanted[peer]
    for limit, peers in [(rate, {A, B, C})] + [(per_peer or rate, {p}) for p in (A, B, C)]:
        mine = [(time, size) for time, peer, size in grants if peer in peers]
        for first, (began, _) in enumerate(mine):
            total = 0
            for time, size in mine[first:]:
                total += size
                most = limit * (time - began + BURST_S) + slice_bytes
                assert total <= most * 1.000001 + 1
