"""When a peer is dialled again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hdpd.peers.backoff import FRIENDS, OTHERS, RECENT_S, dial_delay


def waits(since_connected: float) -> list[float]:
    return [dial_delay(failures, since_connected, 0.5) for failures in range(14)]


def test_waits_double_until_they_are_long_enough() -> None:
    assert waits(RECENT_S)[:5] == [1, 2, 4, 8, 16]
    assert waits(RECENT_S)[-1] == waits(RECENT_S)[-2] == OTHERS.longest


def test_a_friend_who_was_here_lately_is_tried_more_often() -> None:
    assert waits(60.0)[:5] == [1, 2, 4, 8, 16]
    assert max(waits(60.0)) == FRIENDS.longest


@given(
    st.integers(0, 10**9),
    st.floats(0, 1e12),
    st.floats(0, 1, exclude_max=True),
)
def test_every_wait_is_bounded(failures: int, since: float, jitter: float) -> None:
    wait = dial_delay(failures, since, jitter)
    assert OTHERS.first / 2 <= wait <= OTHERS.longest * 1.5
