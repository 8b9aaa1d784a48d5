"""Which addresses of a machine are used, told and dialled."""

from __future__ import annotations

import pytest

from hdpd.link.interfaces import InterfaceAddress, combine
from hdpd.link.netlink import Address, Link
from hdpd.link.selection import Binding, Selection, told_first
from hdpd.nat.candidates import local_candidates

LO = InterfaceAddress("lo", "127.0.0.1", 8, 65536)
ETH = InterfaceAddress("eth0", "192.168.1.10", 24, 1500)
ETH6 = InterfaceAddress("eth0", "2001:db8::10", 64, 1500)
ETH6_TEMPORARY = InterfaceAddress("eth0", "2001:db8::1:1", 64, 1500, temporary=True)
ETH6_DEPRECATED = InterfaceAddress("eth0", "2001:db8::1:0", 64, 1500, deprecated=True)
ETH6_TENTATIVE = InterfaceAddress("eth0", "2001:db8::1:2", 64, 1500, tentative=True)
TUN = InterfaceAddress("tun0", "10.8.0.2", 24, 1420)
DOCKER = InterfaceAddress("docker0", "172.17.0.1", 16, 1500, of_guests=True)


def hosts(addresses: object) -> list[str]:
    return [each.host for each in addresses]  # type: ignore[attr-defined]


def links(*kinds: tuple[str, str, int]) -> list[Link]:
    return [
        Link(index, name, 1500, kind, master)
        for index, (name, kind, master) in enumerate(kinds, start=1)
    ]


def guests(*kinds: tuple[str, str, int], at: tuple[Address, ...]) -> dict[str, bool]:
    return {each.interface: each.of_guests for each in combine(links(*kinds), at)}


def test_bridges_without_hardware_are_of_guests() -> None:
    at = tuple(Address(n, f"10.{n}.0.1", 16, 0) for n in range(1, 6))
    assert guests(
        ("eth0", "", 2),
        ("br0", "bridge", 0),
        ("docker0", "bridge", 0),
        ("veth1", "veth", 3),
        ("vmnet8", "", 0),
        at=at,
    ) == {"eth0": False, "br0": False, "docker0": True, "veth1": False, "vmnet8": True}


def test_the_near_end_of_a_container_is_of_guests() -> None:
    link_local = Address(1, "fe80::1", 64, 0x80)
    assert guests(("veth1", "veth", 0), at=(link_local,)) == {"veth1": True}
    inside = (link_local, Address(1, "172.17.0.2", 16, 0))
    assert guests(("eth0", "veth", 0), at=inside) == {"eth0": False}


def test_what_ipv6_addresses_are_good_for_is_told_by_the_kernel() -> None:
    flags = {"::1:1": 0x01, "::1:2": 0x20, "::1:3": 0x40, "::1:4": 0x80, "::1:5": 0x44}
    at = tuple(Address(1, f"2001:db8{host}", 64, bits) for host, bits in flags.items())
    found = {each.host[-1]: each for each in combine(links(("eth0", "", 0)), at)}
    assert found["1"].temporary
    assert found["2"].deprecated
    assert found["3"].tentative
    assert not any((found["4"].temporary, found["4"].deprecated, found["4"].tentative))
    assert not found["5"].tentative  # an optimistic one is in use


def test_the_way_out_is_told_first_and_containers_last() -> None:
    told = told_first([DOCKER, ETH6, LO, TUN, ETH], ["eth0"])
    assert hosts(told) == ["192.168.1.10", "2001:db8::10", "10.8.0.2", "172.17.0.1", "127.0.0.1"]


def test_a_bridge_that_leads_out_is_like_any_other_interface() -> None:
    bridge = InterfaceAddress("br0", "10.1.0.1", 24, 1500, of_guests=True)
    assert hosts(told_first([bridge, ETH], ["br0"]))[0] == "10.1.0.1"


@pytest.mark.parametrize("name", ["docker0", "br-0123456789ab", "virbr0", "lxdbr0", "cni-podman0"])
def test_a_container_that_is_the_router_does_not_make_its_bridge_the_lan(name: str) -> None:
    bridge = InterfaceAddress(name, "172.17.0.1", 16, 1500, of_guests=True)
    assert hosts(told_first([bridge, ETH], [name]))[0] == ETH.host
    assert [each.host for each in local_candidates([bridge, ETH], [(None, 1)], [name])] == [
        ETH.host
    ]
    alone = local_candidates([bridge, LO], [(None, 1)], [name])
    assert alone[0].host == bridge.host


@pytest.mark.parametrize("port", ["", "bond", "vlan", "vxlan", "wireguard", "macvlan"])
def test_the_lan_bridge_of_a_nas_with_machines_on_it_is_no_bridge_of_guests(port: str) -> None:
    at = (Address(1, "192.168.1.10", 24, 0),)
    machines = [("veth1", "veth", 1), ("tap0", "tun", 1), ("vnet1", "tun", 1)]
    assert guests(("br0", "bridge", 0), ("port0", port, 1), *machines, at=at) == {"br0": False}
    assert guests(("br0", "bridge", 0), *machines, at=at) == {"br0": True}


def test_stable_addresses_are_told_before_temporary_ones_and_deprecated_ones_hardly_ever() -> None:
    every = [ETH6_DEPRECATED, ETH6_TEMPORARY, ETH6_TENTATIVE, ETH6]
    assert hosts(told_first(every, ["eth0"])) == ["2001:db8::10", "2001:db8::1:1"]
    assert hosts(told_first([ETH6_DEPRECATED, ETH6_TENTATIVE], [])) == ["2001:db8::1:0"]


def test_nothing_bound_is_everything() -> None:
    assert Selection().bindings([ETH]) == (Binding(None),)
    assert Selection().usable([ETH, TUN]) == (ETH, TUN)
    assert Selection().missing([ETH]) == ()


def test_a_bound_interface_is_bound_at_each_of_its_addresses() -> None:
    chosen = Selection(("eth0",))
    link_local = InterfaceAddress("eth0", "fe80::1", 64, 1500)
    assert chosen.bindings([ETH, ETH6, ETH6_TENTATIVE, link_local, TUN]) == (
        Binding("192.168.1.10", "eth0"),
        Binding("2001:db8::10", "eth0"),
    )
    assert hosts(chosen.usable([ETH, link_local, TUN])) == ["192.168.1.10", "fe80::1"]
    assert chosen.interface_only() == "eth0"


def test_what_is_bound_and_not_there_is_missing() -> None:
    chosen = Selection(("tun0", "192.168.1.10", "10.9.9.9", "127.0.0.5", "::"))
    assert chosen.missing([ETH, LO]) == ("tun0", "10.9.9.9")
    assert chosen.bindings([ETH]) == (
        Binding("192.168.1.10", "eth0"),
        Binding("10.9.9.9"),
        Binding("127.0.0.5"),
        Binding("::"),
    )
    assert chosen.interface_only() is None


@pytest.mark.parametrize("excluded", ["docker0", "docker*", "172.17.0.0/16", "172.17.0.1"])
def test_interfaces_and_networks_can_be_left_out(excluded: str) -> None:
    chosen = Selection(exclude=(excluded,))
    assert chosen.usable([ETH, DOCKER]) == (ETH,)


def test_nobody_is_reached_in_a_network_that_is_left_out() -> None:
    chosen = Selection(exclude=("docker*", "10.8.0.0/16", "2001:db8::/32"))
    addresses = (ETH, TUN, DOCKER)
    assert not chosen.may_reach("172.17.0.5", addresses)
    assert not chosen.may_reach("10.8.0.77", addresses)
    assert not chosen.may_reach("2001:db8::77", addresses)
    assert chosen.may_reach("192.168.1.77", addresses)
    assert chosen.may_reach("203.0.113.7", addresses)


def test_lan_only_is_what_is_on_a_link_and_private_addresses() -> None:
    chosen = Selection(lan_only=True)
    addresses = (ETH, ETH6)
    for host in ("192.168.1.77", "10.1.2.3", "2001:db8::77", "fe80::1%eth0", "127.0.0.1"):
        assert chosen.may_reach(host, addresses), host
    for host in ("203.0.113.7", "100.64.0.1", "2001:db8:1::77"):
        assert not chosen.may_reach(host, addresses), host


def test_containers_networks_are_dialled_where_nothing_else_leads_to_the_peer() -> None:
    told = [("172.17.0.1", 1), ("192.168.1.77", 1), ("203.0.113.7", 1)]
    addresses = (ETH, DOCKER)
    assert Selection().dialable(told, addresses) == ([told[1]], [told[2]])
    in_a_container = [("172.17.0.5", 1)]
    assert Selection().dialable(in_a_container, addresses) == (in_a_container, [])
    assert Selection(exclude=("docker0",)).dialable(in_a_container, addresses) == ([], [])
