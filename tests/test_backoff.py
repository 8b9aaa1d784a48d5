"""Waiting before something is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.backoff import Backoff


def test_doubles_up_to_the_longest() -> None:
    backoff = Backoff(first=0.25, longest=8.0)
    assert [backoff.delay(failures) for failures in range(7)] == [0.25, 0.5, 1, 2, 4, 8, 8]


@given(st.floats(0.01, 10), st.floats(10, 10_000), st.integers(0, 10**6))
def test_jitter_spreads_it_evenly(first: float, longest: float, failures: int) -> None:
    backoff = Backoff(first, longest)
    middle = backoff.delay(failures)
    assert first <= middle <= longest
    assert backoff.delay(failures, 0.0) == pytest.approx(middle / 2)
    assert backoff.delay(failures, 0.999999) == pytest.approx(middle * 1.5, rel=1e-3)
