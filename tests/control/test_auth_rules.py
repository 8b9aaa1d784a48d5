"""The pure rules of access: Host, Origin, Sec-Fetch-Site, and the slow-down after failures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.control.rules import Role, SlowDown, check_host, check_origin, local_names
from hdpd.errors import Forbidden

NAMES = local_names("Nas.example.net", ("files.example.org",))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:3030",
        "192.0.2.7:80",
        "[::1]",
        "[2001:db8::1]:3030",
        "localhost",
        "LocalHost:3030",
        "localhost.:3030",
        "nas",
        "nas.local:3030",
        "nas.example.net",
        "files.example.org",
    ],
)
def test_hosts_that_are_this_machine(host: str) -> None:
    check_host(host, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:3030",
        "localhost.evil.example",
        "nas.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "user@localhost",
        "localhost/",
        "localhost:99999999",
        "localhost:port",
        "::1",
        "[::1",
        "[localhost]",
        "[127.0.0.1]x",
        "0x7f.1",
        "local host",
        "localhost\n",
        "other.local",
    ],
)
def test_hosts_that_somebody_else_could_point_here(host: str | None) -> None:
    with pytest.raises(Forbidden):
        check_host(host, NAMES)


@given(st.text(max_size=40))
def test_no_text_but_ours_is_a_host(host: str) -> None:
    try:
        check_host(host, NAMES)
    except Forbidden:
        return
    name = host.partition(":")[0].lower().rstrip(".") if "[" not in host else ""
    assert name in NAMES or name.replace(".", "").isdigit() or host.startswith("[")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "nas:3030"),
        ("http://nas:3030", "nas:3030"),
        ("http://NAS:3030", "nas:3030"),
        ("http://nas", "nas:80"),
        ("http://nas:80", "nas"),
        ("http://[::1]:3030", "[::1]:3030"),
    ],
)
def test_the_same_origin(origin: str | None, host: str) -> None:
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    check_origin(headers, "http")


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://nas:3030",
        "http://nas",
        "http://nas:3031",
        "http://nas:30300",
        "http://evil.example",
        "http://nas:3030.evil.example",
        "http://nas:3030/",
        "nas:3030",
        "http://localhost:3030",
    ],
)
def test_other_origins(origin: str) -> None:
    with pytest.raises(Forbidden):
        check_origin({"host": "nas:3030", "origin": origin}, "http")


@pytest.mark.parametrize(
    ("site", "allowed"),
    [
        ("none", True),
        ("same-origin", True),
        ("same-site", False),
        ("cross-site", False),
        ("", False),
    ],
)
def test_fetch_metadata(site: str, allowed: bool) -> None:
    headers = {"host": "nas", "sec-fetch-site": site}
    if allowed:
        check_origin(headers, "http")
    else:
        with pytest.raises(Forbidden):
            check_origin(headers, "http")


def test_each_role_includes_the_ones_below() -> None:
    assert Role.READ < Role.CONTROL < Role.ADMIN
    assert [Role.parse(word).word for word in ("read", "control", "admin")] == [
        "read",
        "control",
        "admin",
    ]


def test_failures_are_answered_later_and_later_up_to_a_limit_and_forgotten() -> None:
    slow = SlowDown()
    delays = [slow.failed("192.0.2.1", now) for now in range(8)]
    assert delays == [0.25, 0.5, 1, 2, 4, 8, 8, 8]
    assert slow.failed("192.0.2.2", 8) == 0.25
    assert slow.failed("192.0.2.1", 8 + SlowDown.FORGOTTEN_S) == 0.25
    slow.failed("192.0.2.2", 9)
    slow.succeeded("192.0.2.2")
    assert slow.failed("192.0.2.2", 10) == 0.25


def test_a_whole_ipv6_network_is_one_address() -> None:
    slow = SlowDown()
    assert slow.failed("2001:db8::1", 0) == 0.25
    assert slow.failed("2001:db8::ffff:2%eth0", 0) == 0.5
    assert slow.failed("2001:db8:0:1::1", 0) == 0.25
    assert slow.failed("::ffff:192.0.2.1", 0) == 0.25
    assert slow.failed("not an address", 0) == 0.25


def test_the_table_of_failures_is_bounded_and_forgets_the_oldest() -> None:
    slow = SlowDown()
    for number in range(SlowDown.MAX_ADDRESSES + 1):
        slow.failed(f"10.0.{number // 256}.{number % 256}", number)
    assert len(slow) == SlowDown.MAX_ADDRESSES
    assert slow.failed("10.0.0.0", 1100) == 0.25
    assert slow.failed("10.0.4.0", 1100) == 0.5
