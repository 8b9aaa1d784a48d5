"""When a peer is dialled again, and how often strangers may make us aim at one host."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hdpd.peers import aim
from hdpd.peers.aim import Aim
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


def test_one_host_is_tried_so_often_for_strangers() -> None:
    target = Aim()
    assert [target.allow("192.0.2.1", 1.0) for _ in range(aim.MAX_TRIES)] == [True] * aim.MAX_TRIES
    assert not target.allow("192.0.2.1", 1.0 + aim.WINDOW_S)
    assert target.allow("192.0.2.2", 1.0), "another host is not concerned"
    assert target.allow("192.0.2.1", 1.1 + aim.WINDOW_S)


def test_an_ipv6_customer_is_one_host() -> None:
    target = Aim()
    for number in range(aim.MAX_TRIES):
        assert target.allow(f"2001:db8::{number:x}", 1.0)
    assert not target.allow("2001:db8::ffff", 1.0)
    assert target.allow("2001:db8:0:1::1", 1.0)
    assert target.allow("fe80::1%eth0", 1.0)


def test_few_hosts_are_remembered() -> None:
    target = Aim()
    for number in range(aim.MAX_HOSTS + 100):
        target.allow(f"198.51.{number // 256}.{number % 256}", 1.0)
    assert len(target._tries) == aim.MAX_HOSTS
