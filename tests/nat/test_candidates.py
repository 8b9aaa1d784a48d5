"""Which of the interfaces' addresses are told to others."""

from __future__ import annotations

from hdpd.discovery.records import MAX_CANDIDATES
from hdpd.link.interfaces import (
    InterfaceAddress,
    interface_addresses,
    is_own,
    on_link_payload_bytes,
)
from hdpd.nat.candidates import local_candidates

LO4 = InterfaceAddress("lo", "127.0.0.1", 8, 65536)
LO6 = InterfaceAddress("lo", "::1", 128, 65536)
LAN4 = InterfaceAddress("eth0", "192.168.1.5", 24, 1500)
LAN6 = InterfaceAddress("eth0", "2001:db8::5", 64, 1500)
LINK = InterfaceAddress("eth0", "fe80::5", 64, 1500)
WIFI4 = InterfaceAddress("wlan0", "10.0.0.5", 8, 1500)
ALL = [LO4, LO6, LAN4, LAN6, LINK, WIFI4]


def told(addresses: list[InterfaceAddress], *bound: tuple[str | None, int]) -> list[str]:
    return [f"{each.host} {each.port}" for each in local_candidates(addresses, bound)]


def test_ordinary_addresses_are_told_ipv4_first() -> None:
    assert told(ALL, (None, 3031)) == ["192.168.1.5 3031", "10.0.0.5 3031", "2001:db8::5 3031"]


def test_loopback_is_told_when_there_is_nothing_else() -> None:
    assert told([LO4, LO6, LINK], (None, 3031)) == ["127.0.0.1 3031", "::1 3031"]
    assert told([], (None, 3031)) == []


def test_a_bound_address_is_the_only_one_told() -> None:
    assert told(ALL, ("10.0.0.5", 1)) == ["10.0.0.5 1"]
    assert told(ALL, ("127.0.0.1", 1), ("2001:db8::5", 2)) == ["127.0.0.1 1", "2001:db8::5 2"]


def test_all_addresses_of_one_family() -> None:
    assert told(ALL, ("0.0.0.0", 1)) == ["192.168.1.5 1", "10.0.0.5 1"]
    assert told(ALL, ("::", 1)) == ["2001:db8::5 1"]


def test_privacy_addresses_do_not_crowd_out_the_others() -> None:
    many = [InterfaceAddress("eth0", f"2001:db8::{number:x}", 64, 1500) for number in range(1, 40)]
    chosen = told([*many, LAN4, WIFI4], (None, 1))
    assert len([each for each in chosen if "2001" in each]) == 3
    assert {"192.168.1.5 1", "10.0.0.5 1"} <= set(chosen)


def test_never_more_than_a_record_holds() -> None:
    many = [InterfaceAddress(f"veth{n}", f"10.0.{n}.1", 24, 1500) for n in range(40)]
    assert len(told(many, (None, 1))) == MAX_CANDIDATES


def test_this_machine_has_a_loopback_address() -> None:
    assert "127.0.0.1" in {each.host for each in interface_addresses()}


def test_what_is_on_the_link() -> None:
    addresses = (LAN4, LAN6)
    assert on_link_payload_bytes("192.168.1.77", addresses) == 1472
    assert on_link_payload_bytes("192.168.2.77", addresses) is None
    loopback = InterfaceAddress("lo", "127.0.0.1", 8, 65536)
    assert is_own(LAN4.host, addresses)
    assert not is_own("192.168.1.77", addresses)
    assert on_link_payload_bytes(LAN4.host, (*addresses, loopback)) == 65508
    assert on_link_payload_bytes("2001:db8::77%eth0", addresses) == 1452
