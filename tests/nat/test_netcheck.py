"""`hdpctl netcheck` behind each kind of NAT: what it says, what it maps, what it notices."""

from __future__ import annotations

import ipaddress
import json
import time
from typing import Any

import pytest

from hdpd.nat.port_mapper import FRESH_S
from tests.e2e.harness import Daemon
from tests.nat.conftest import needs_laboratory, needs_miniupnpd, quick
from tests.nat.lab import STUN, Internet, Site
from tests.nat.said import said
from tests.waiting import wait_for

pytestmark = needs_laboratory


def report(daemon: Daemon) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(daemon.ctl("netcheck", "--json"))
    return answer


def wait_report(daemon: Daemon, within: float = 20.0, **expected: object) -> dict[str, Any]:
    """The first report with these values."""

    def matches() -> dict[str, Any] | None:
        found = report(daemon)
        return found if found.items() >= expected.items() else None

    return wait_for(f"a report with {expected}", matches, within=within) or {}


def mapped(found: dict[str, Any], *, ipv6: bool = False) -> list[tuple[str, str]]:
    """Which protocols mapped which external address."""
    mappings = found["port_mappings"]
    return [
        (each["protocol"], each["external"])
        for each in mappings
        if each["state"] == "mapped" and each["ipv6"] == ipv6
    ]


@pytest.mark.parametrize(
    ("kind", "mapping", "filtering", "words"),
    [
        ("public", "none", "none", "public address of its own"),
        ("full-cone", "easy", "none", "easy to get through"),
        ("restricted", "easy", "address", "easy to get through"),
        pytest.param("easy", "easy", "port", "easy to get through", marks=quick),
        ("hard", "hard", "port", "hard to get through"),
        ("carrier", "easy", "port", "easy to get through"),
        ("hard-carrier", "hard", "port", "hard to get through"),
    ],
)
def test_the_kind_of_nat_is_told(
    internet: Internet, kind: str, mapping: str, filtering: str, words: str
) -> None:
    site = internet.site(kind)
    daemon = internet.daemon(site.host()).start()
    found = wait_report(daemon, mapping=mapping, filtering=filtering)
    assert found["udp_works"] is True
    assert found["public_ipv4"].startswith(site.public)
    assert words in found["sentence"]
    assert words in daemon.ctl("netcheck")
    assert found["sentence"] in daemon.ctl("status")


def test_where_udp_is_blocked_it_says_so(internet: Internet) -> None:
    daemon = internet.daemon(internet.site("no-udp").host()).start()
    found = wait_report(daemon, udp_works=False)
    assert "blocked" in found["sentence"]
    assert found["public_ipv4"] is None


def test_ipv6_alone_is_enough(internet: Internet) -> None:
    host = internet.site("ipv6").host()
    daemon = internet.daemon(host).start()
    found = wait_report(daemon, udp_works=True)
    assert found["public_ipv6"] == f"[{host.addresses[0]}]:3031"
    assert found["public_ipv4"] is None


def test_one_dead_server_of_two_and_none_at_all(internet: Internet) -> None:
    host = internet.site("easy").host()
    dead = internet.daemon(
        *(host, "--stun-server", "203.0.113.99:3478", "--stun-server", f"{STUN[0]}:3478")
    ).start()
    # The one that lives has a second address, which is as good as a second server.
    found = wait_report(dead, mapping="easy")
    wait_for("the dead server to be given up", lambda: len(report(dead)["stun"]) == 2)
    assert found["udp_works"] is True
    off = internet.daemon(host, "--stun-server", "none", "--port", "4000").start()
    assert "STUN is switched off" in report(off)["sentence"]


@needs_miniupnpd
@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        ("upnp", "upnp"),
        ("pmp", "pcp"),
        pytest.param("hard-mapped", "pcp", marks=quick),
    ],
)
def test_the_port_is_mapped_and_the_mapping_removed_at_stop(
    internet: Internet, kind: str, protocol: str
) -> None:
    site = internet.site(kind)
    daemon = internet.daemon(site.host()).start()
    external = f"{site.public}:3031"
    found = wait_for("a mapping", lambda: report(daemon) if mapped(report(daemon)) else None) or {}
    assert mapped(found) == [(protocol, external)]
    assert f"forwards {external}" in found["sentence"]
    assert external in daemon.rpc("daemon.info")["addresses"]
    assert "192.168.1.10" in forwarded(site)
    assert daemon.stop(within=5) == 0
    assert "192.168.1.10" not in forwarded(site)


def forwarded(site: Site) -> str:
    """The router's own rules for what comes in."""
    return site.router.run("nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd")


@needs_miniupnpd
@pytest.mark.parametrize(("kind", "protocol"), [("dual-pmp", "pcp"), ("dual-upnp", "upnp")])
def test_a_hole_in_the_ipv6_firewall(internet: Internet, kind: str, protocol: str) -> None:
    site = internet.site(kind)
    host = site.host()
    daemon = internet.daemon(host).start()
    address = next(each for each in host.addresses if ":" in each)
    in_rules = f"0x{int(ipaddress.ip_address(address)):x} "
    found = wait_for(
        "a hole", lambda: report(daemon) if mapped(report(daemon), ipv6=True) else None
    )
    assert mapped(found or {}, ipv6=True) == [(protocol, f"[{address}]:3031")]
    assert in_rules in holes(site)
    assert daemon.stop(within=5) == 0
    assert in_rules not in holes(site)


def holes(site: Site) -> str:
    """The router's own rules for what it lets through."""
    return site.router.run("nft", "list", "chain", "inet", "filter", "miniupnpd")


@needs_miniupnpd
def test_port_mapping_can_be_switched_off(internet: Internet) -> None:
    site = internet.site("pmp")
    daemon = internet.daemon(site.host(), "--no-port-mapping").start()
    found = wait_report(daemon, mapping="easy")
    assert found["port_mappings"] == []
    assert "192.168.1.10" not in forwarded(site)


def test_changes_of_addresses_and_routes_are_noticed(internet: Internet) -> None:
    site = internet.site("easy")
    host = site.host()
    daemon = internet.daemon(host).start()
    wait_report(daemon, mapping="easy", online=True)
    host.machine.ip("route del default")
    wait_report(daemon, within=2, online=False)
    says = said(daemon)
    assert "no way to the internet" in says.status
    assert "default route" in says.doctor["internet"]
    assert "port mapping" not in says.doctor
    host.machine.ip("route add default via 192.168.1.1")
    wait_report(daemon, within=8, mapping="easy")
    host.machine.ip("addr add 192.168.1.77/24 dev eth0")
    wait_for(
        "the new address to be told",
        lambda: "192.168.1.77:3031" in daemon.rpc("daemon.info")["addresses"],
        within=3,
    )


def test_a_new_public_address_is_noticed(internet: Internet) -> None:
    site = internet.site("easy")
    daemon = internet.daemon(site.host()).start()
    wait_report(daemon, mapping="easy")
    address = site.change_address()
    # The next keep-alive finds it, at the latest.
    wait_report(daemon, within=32, public_ipv4=f"{address}:3031")


@needs_miniupnpd
@pytest.mark.parametrize("kind", ["pmp", "upnp"])
def test_a_router_that_restarts_and_forgets_is_told_as_it_is_and_asked_again(
    internet: Internet, kind: str
) -> None:
    site = internet.site(kind)
    daemon = internet.daemon(site.host()).start()
    wait_for("the mapping", lambda: mapped(report(daemon)), within=30)
    site.stop_miniupnpd()
    time.sleep(FRESH_S)
    assert "forwards" not in daemon.rpc("daemon.info")["nat"]
    assert not mapped(report(daemon))
    says = said(daemon)
    assert "forwards nothing" in says.doctor["port mapping"]
    assert "forwards" not in says.netcheck + says.status
    site.start_miniupnpd()
    wait_for("the mapping again", lambda: "192.168.1.10" in forwarded(site), within=120, poll=1)
    wait_for("netcheck to say so", lambda: mapped(report(daemon)), within=10)
    says = said(daemon)
    assert says.doctor == {}
    assert "everybody can connect" in says.status


@needs_miniupnpd
def test_a_router_that_is_ready_later_than_hdpd_maps_all_the_same(internet: Internet) -> None:
    site = internet.site("hard-mapped")
    site.stop_miniupnpd()
    daemon = internet.daemon(site.host()).start()
    wait_report(daemon, mapping="hard")
    assert not mapped(report(daemon))
    wait_for("doctor to say so", lambda: "port mapping" in said(daemon).doctor)
    assert "forwards nothing" in said(daemon).doctor["port mapping"]
    site.start_miniupnpd()
    wait_for("the mapping", lambda: mapped(report(daemon)), within=120, poll=1)
