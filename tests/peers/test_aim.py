"""Addresses at which nobody was ever met are dialled the less the longer that lasts."""

from __future__ import annotations

from hdpd.peers.aim import FIRST_WINDOW_S, LONGEST_WINDOW_S, MAX_HOSTS, MAX_TRIES, Aim

HOST = "192.0.2.7"
HOUR = 3600.0


def tries(aim: Aim, host: str, begin: float, end: float) -> int:
    """Of one who would like to try every second."""
    return sum(aim.allow(host, float(second)) for second in range(int(begin), int(end)))


def test_a_host_that_never_answers_is_tried_less_and_less() -> None:
    aim = Aim()
    assert tries(aim, HOST, 0, FIRST_WINDOW_S) == MAX_TRIES
    in_hours = [tries(aim, HOST, hour * HOUR, (hour + 1) * HOUR) for hour in range(1, 8)]
    assert in_hours[-1] <= MAX_TRIES
    assert LONGEST_WINDOW_S <= HOUR
    assert aim.allow("192.0.2.8", 0.0), "another host has tries of its own"


def test_where_somebody_was_met_all_begins_anew() -> None:
    aim = Aim()
    tries(aim, HOST, 0, 10 * HOUR)
    assert not aim.allow(HOST, 10 * HOUR)
    aim.answered(HOST)
    assert tries(aim, HOST, 10 * HOUR, 10 * HOUR + FIRST_WINDOW_S) == MAX_TRIES


def test_a_network_of_one_customer_is_one_host() -> None:
    aim = Aim()
    spread = [f"2001:db8::{number:x}" for number in range(2 * MAX_TRIES)]
    assert sum(aim.allow(host, 0.0) for host in spread) == MAX_TRIES
    assert aim.allow("2001:db8:0:1::1", 0.0)
    assert aim.allow("fe80::1%eth0", 0.0)


def test_few_hosts_are_remembered() -> None:
    aim = Aim()
    for number in range(MAX_HOSTS + 100):
        aim.allow(f"198.51.{number // 256}.{number % 256}", 1.0)
    assert len(aim._hosts) == MAX_HOSTS
