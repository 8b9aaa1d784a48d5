"""Token buckets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.bucket import Bucket

STEPS = st.lists(st.tuples(st.floats(0, 2), st.floats(0, 20)), max_size=50)


@given(st.floats(0.1, 1000), st.floats(1, 1000), STEPS)
def test_never_lets_more_through_than_burst_and_rate(
    rate: float, burst: float, steps: list[tuple[float, float]]
) -> None:
    bucket = Bucket(rate, burst)
    now, passed = 100.0, 0.0
    for pause, cost in steps:
        now += pause
        if bucket.allow(now, cost):
            passed += cost
        assert passed <= burst + rate * (now - 100.0) + 1e-6
        assert 0 <= bucket.level(now) <= burst


def test_a_whole_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    bucket = Bucket(10, 50)
    assert [bucket.allow(7.0) for _ in range(51)] == [True] * 50 + [False]
    assert not bucket.allow(7.0 + 0.05)
    assert bucket.allow(7.0 + 0.11)
    assert not bucket.is_full(7.0 + 4)
    assert bucket.is_full(7.0 + 6)


def test_a_clock_that_goes_back_fills_nothing() -> None:
    bucket = Bucket(10, 5)
    assert bucket.allow(100.0, 5)
    assert not bucket.allow(50.0)
    assert not bucket.allow(100.0)
    assert bucket.allow(100.2)


@given(st.floats(0.1, 1000), st.floats(0, 1000))
def test_what_is_owed_is_paid_at_the_rate(rate: float, cost: float) -> None:
    bucket = Bucket(rate, 1)
    bucket.take(100.0, 1 + cost)
    assert bucket.level(100.0) == pytest.approx(-cost)
    assert bucket.ready_at() == pytest.approx(100.0 + cost / rate)
    assert bucket.level(bucket.ready_at()) == pytest.approx(0, abs=1e-6)


def test_an_infinite_rate_is_no_limit() -> None:
    bucket = Bucket(math.inf, math.inf)
    for now in (5.0, 5.0, 6.0):
        assert bucket.allow(now, 1e12)
        bucket.take(now, 1e12)
        bucket.take(now, -5)
        assert bucket.ready_at() <= now
        assert bucket.is_full(now)


def test_what_is_given_back_is_no_more_than_a_burst() -> None:
    bucket = Bucket(1, 10)
    bucket.take(0.0, 4)
    bucket.take(0.0, -3)
    assert bucket.level(0.0) == 9
    bucket.take(0.0, -3)
    assert bucket.level(0.0) == 10


def test_a_flood_is_cut_to_the_rate() -> None:
    bucket = Bucket(50, 50)
    passed = sum(bucket.allow(10 + number / 10_000) for number in range(100_000))
    assert 50 + 9.9 * 50 <= passed <= 50 + 10 * 50


def test_what_is_below_the_rate_always_passes() -> None:
    bucket = Bucket(50, 50)
    assert all(bucket.allow(number / 40) for number in range(4000))
