"""Machines with container networks, and VPNs that come late: what is told of them, where they
listen, what they say of it, and that two of them meet.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from hdpd.identity.keys import Identity
from tests.nat.conftest import needs_laboratory
from tests.nat.lan import Lan, containers
from tests.nat.said import said
from tests.waiting import wait_for

pytestmark = [needs_laboratory, pytest.mark.root]


@pytest.fixture
def lan() -> Iterator[Lan]:
    with Lan() as made:
        yield made


def test_twelve_container_networks_on_both_sides_are_in_nobodys_way(lan: Lan) -> None:
    one, two = lan.namespace("one"), lan.namespace("two")
    containers(one, 12)
    containers(two, 12)
    lan.cable(one, two, "eth0", ("192.168.1.10/24", "192.168.1.20/24"))
    one.ip("route add default via 192.168.1.20")
    first, second = lan.machine(one).start(), lan.machine(two).start()
    wait_for("the two to be connected", first.sessions, within=5)
    told = first.rpc("daemon.info")["addresses"]
    assert [each.rpartition(":")[0] for each in told] == ["192.168.1.10"]
    assert second.sessions()[0]["path"] == "lan"
    says = said(first, second.name)
    assert (says.doctor, "same network" in says.why) == ({}, True)


def test_an_invite_of_a_machine_with_containers_leads_there(lan: Lan) -> None:
    one, two = lan.namespace("one"), lan.namespace("two")
    containers(one, 5)
    lan.cable(one, two, "eth0", ("192.168.1.10/24", "192.168.1.20/24"))
    first = lan.machine(one, "--no-mdns").start()
    second = lan.machine(two, "--no-mdns", "--topic", "another").start()
    second.rpc("peers.connect", code=first.rpc("peers.invite")["code"])
    wait_for("the two to be connected", second.sessions)


def test_containers_that_come_and_go_are_no_change_of_the_network(lan: Lan) -> None:
    one, two = lan.namespace("one"), lan.namespace("two")
    lan.cable(one, two, "eth0", ("192.168.1.10/24", "192.168.1.20/24"))
    first = lan.machine(one).start()
    quiet = first.log().count("the network changed")
    containers(one, 2)
    time.sleep(1.0)
    for number in (17, 18):
        one.ip(f"link del veth{number}")
        one.ip(f"link del br-{number:012x}")
    time.sleep(1.0)
    assert first.log().count("the network changed") == quiet
    assert [each.rpartition(":")[0] for each in first.rpc("daemon.info")["addresses"]] == [
        "192.168.1.10"
    ]
    one.ip("addr add 192.168.1.11/24 dev eth0")
    wait_for("a real change", lambda: first.log().count("the network changed") > quiet)


def test_a_bound_interface_is_waited_for_and_its_addresses_followed(lan: Lan) -> None:
    one, two = lan.namespace("one"), lan.namespace("two")
    lan.cable(one, two, "eth0", ("192.168.1.10/24", "192.168.1.20/24"))
    control = ("--control", "10.8.0.1:3030", "--control", "tun0:3031")
    first = lan.machine(one, "--bind", "tun0", "--port", "4040", *control).start()
    second = lan.machine(two).start()
    assert first.finding("bind")[0] == "failed"
    assert "10.8.0.1:3030" in first.finding("control")[1]
    says = said(first)
    assert says.addresses == []
    assert says.netcheck.startswith("network.bind names tun0, which this machine does not have")
    assert says.status == says.netcheck
    assert says.doctor.keys() == {"bind", "control", "mDNS"}
    lan.cable(one, two, "tun0", ("10.8.0.1/24", "10.8.0.2/24"))
    wait_for("the two to be connected", second.sessions)
    assert second.sessions()[0]["address"] == "10.8.0.1:4040"
    says = said(first, second.name)
    assert "bind" not in says.all
    assert "same network" in says.why
    wait_for("the control port", lambda: one.listens(3030, "tcp") and one.listens(3031, "tcp"))
    assert first.finding("control") == ("", "")
    one.ip("addr del 10.8.0.1/24 dev tun0")
    one.ip("addr add 10.8.0.77/24 dev tun0")
    wait_for(
        "the session at the new address",
        lambda: [p for p in second.sessions() if p["address"] == "10.8.0.77:4040"],
        within=30,
    )
    assert first.rpc("daemon.info")["addresses"] == ["10.8.0.77:4040"]
    # The control port that names the interface has followed; the other one names an address.
    asked = ("curl", "-s", "-o", "/dev/null", "-m", "3", "-w", "%{http_code}")
    wait_for(
        "the control port at the new address",
        lambda: two.run(*asked, "http://10.8.0.77:3031/", check=False) == "200",
    )
    assert "http://10.8.0.77:3031" in first.rpc("daemon.info")["controls"]
    assert "http://10.8.0.1:3031" not in first.rpc("daemon.info")["controls"]
    one.ip("link del tun0")
    wait_for("doctor to miss it", lambda: "tun0:3031" in first.finding("control")[1])
    wait_for("the silence", lambda: "not answered" in said(first, second.name).why, poll=0.5)
    says = said(first, second.name)
    assert says.doctor.keys() == {"bind", "control", "mDNS"}
    assert "network.bind names tun0" in says.netcheck


def test_a_bridge_of_containers_can_be_bound_and_waited_for_as_well(lan: Lan) -> None:
    one = lan.namespace("one")
    machine = lan.machine(one, "--bind", "br-000000000011", "--port", "4040", "--no-mdns").start()
    assert said(machine).doctor.keys() == {"bind"}
    containers(one, 1)
    wait_for("its address", lambda: said(machine).addresses == ["172.17.0.1:4040"])
    says = said(machine)
    assert (says.doctor.keys() - {"internet"}, "bind" in says.all) == (set(), False)


def test_with_an_interface_bound_nothing_leaves_by_another_one(lan: Lan) -> None:
    """Not even to where only another route leads."""
    one, two = lan.namespace("one"), lan.namespace("two")
    lan.cable(one, two, "eth0", ("192.168.1.10/24", "192.168.1.20/24"))
    lan.cable(one, two, "tun0", ("10.8.0.1/24", "10.8.0.2/24"))
    one.ip("route add default via 192.168.1.20")
    lan.broker(two, 1883)
    one.nft("""
        table inet watch { chain out {
            type filter hook output priority 0;
            oifname "eth0" meta l4proto { tcp, udp } counter
            }
        }
    """)
    flags = ("--bind", "tun0", "--mqtt-server", "mqtt://192.168.1.20:1883")
    first = lan.machine(one, *flags, "--mqtt-server", "mqtt://10.8.0.2:1883").start()
    lan.machine(two, "--mqtt-server", "mqtt://127.0.0.1:1883").start()
    wait_for("the two to be connected", first.sessions, within=30)
    time.sleep(3.0)
    assert "packets 0" in one.run("nft", "list", "table", "inet", "watch")


def test_mdns_keeps_to_what_is_bound(lan: Lan) -> None:
    one, two = lan.namespace("one"), lan.namespace("two")
    lan.cable(one, two, "eth0", ("192.168.1.10/24", "192.168.1.20/24"))
    lan.cable(one, two, "tun0", ("10.8.0.1/24", "10.8.0.2/24"))
    one.nft("""
        table inet watch { chain out {
            type filter hook output priority 0;
            oifname "eth0" udp dport 5353 counter
            }
        }
    """)
    first = lan.machine(one, "--bind", "10.8.0.1", "--port", "4040").start()
    second = lan.machine(two).start()
    wait_for("the two to be connected", second.sessions)
    assert str(second.sessions()[0]["address"]).startswith("10.8.0.1:")
    assert "packets 0" in one.run("nft", "list", "table", "inet", "watch")
    says = said(first, second.name)
    assert (says.addresses, says.doctor) == (["10.8.0.1:4040"], {})
    one.ip("addr del 10.8.0.1/24 dev tun0")
    one.ip("addr add 10.8.0.77/24 dev tun0")
    wait_for("doctor to miss it", lambda: "bind" in said(first).doctor)
    says = said(first)
    assert says.addresses == []
    assert "does not have 10.8.0.1, named in network.bind" in says.doctor["bind"]
    assert "an interface's name follows its addresses" in says.doctor["bind"]
    assert "network.bind names 10.8.0.1" in says.netcheck
    one.ip("addr add 10.8.0.1/24 dev tun0")
    wait_for("it to be well again", lambda: not said(first, second.name).doctor)
    wait_for("the session", lambda: "same network" in said(first, second.name).why, within=30)


def test_lan_only_and_what_is_excluded(lan: Lan) -> None:
    one, two = lan.namespace("one"), lan.namespace("two")
    lan.cable(one, two, "eth0", ("192.168.1.10/24", "192.168.1.20/24"))
    lan.cable(one, two, "eth1", ("203.0.113.1/24", "203.0.113.2/24"))
    config = lan.root / "one.toml"
    config.write_text('[network]\nexclude = ["eth0"]\nlan_only = true\n')
    one.ip("route add default via 203.0.113.2")
    first = lan.machine(one, "--config", str(config), "--mqtt-server", "mqtt://203.0.113.2").start()
    second = lan.machine(two).start()
    wait_for("the two to be connected", second.sessions)
    assert str(second.sessions()[0]["address"]).startswith("203.0.113.1:")
    assert first.rpc("daemon.info")["discovery"]["mqtt"] == []
    assert first.finding("LAN only")[0] == "ok"
    says = said(first, second.name)
    assert says.doctor == {}
    assert (
        says.netcheck == "Only peers on the local network are met, as lan_only in hdpd.toml says."
    )
    name = second.name
    second.stop()
    wait_for("the end of the session", lambda: not first.sessions())
    says = said(first, name)
    assert "lan_only" in says.why
    assert "forward" not in says.why


def test_a_peer_with_a_fixed_address_and_one_that_is_forwarded_by_hand(lan: Lan) -> None:
    """Without a broker, mDNS, or an invite; and what is announced is in invites."""
    one, two = lan.namespace("one"), lan.namespace("two")
    lan.cable(one, two, "eth0", ("192.168.1.10/24", "192.168.1.20/24"))
    config = lan.root / "one.toml"
    config.write_text('[network]\nannounce = ["203.0.113.5:41000", "here.invalid:4040"]\n')
    first = lan.machine(one, "--no-mdns", "--port", "4040", "--config", str(config)).start()
    wait_for("its address", lambda: "203.0.113.5:41000" in first.rpc("daemon.info")["addresses"])
    assert "203.0.113.5:41000" in first.rpc("nat.report")["sentence"]
    other = lan.root / "two.toml"
    nobody = Identity.from_seed(bytes(32)).peer_id.text
    other.write_text(
        f'[peers."{first.peer_id}"]\naddress = "192.168.1.10:4040"\n'
        f'[peers."{nobody}"]\naddress = "there.invalid:4040"\n'
    )
    second = lan.machine(two, "--no-mdns", "--config", str(other)).start()
    wait_for("the two to be connected", second.sessions, within=30)
    wait_for("doctor to say so", lambda: "names" in said(first).doctor)
    assert "here.invalid:4040 in network.announce leads to no" in said(first).doctor["names"]
    wait_for("doctor to say so", lambda: "names" in said(second).doctor)
    assert f"there.invalid:4040 in peers.{nobody}.address" in said(second).doctor["names"]
