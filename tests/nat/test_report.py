"""The pure side of the NAT report: what answers mean, whom to believe, what to tell others."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from hdpd.config import HostPort
from hdpd.discovery.records import MAX_CANDIDATES, Candidate
from hdpd.identity.keys import PeerId
from hdpd.nat.candidates import best_first
from hdpd.nat.classify import Observation, filtering_of, mapping_of
from hdpd.nat.observed import LIFETIME_S, MAX_PEERS, ObservedAddresses
from hdpd.nat.report import NatReport, PortMapping, StunAnswer
from hdpd.nat.routes import DefaultRoute, parse_ipv4, parse_ipv6
from hdpd.nat.scopes import is_public, network_of

HERE = HostPort("192.168.1.10", 3031)
SEEN = HostPort("198.51.100.7", 3031)
ELSEWHERE = HostPort("198.51.100.7", 40_000)
ONE, OTHER = HostPort("203.0.113.2", 3478), HostPort("203.0.113.3", 3478)


def peer(number: int) -> PeerId:
    return PeerId(number.to_bytes(32))


# What answers mean.


@pytest.mark.parametrize(
    ("seen", "mapping"),
    [
        ([], "unknown"),
        ([(ONE, SEEN)], "unknown"),
        ([(ONE, SEEN), (ONE, SEEN)], "unknown"),
        ([(ONE, SEEN), (OTHER, SEEN)], "easy"),
        ([(ONE, SEEN), (HostPort(ONE.host, 3479), SEEN)], "easy"),
        ([(ONE, SEEN), (OTHER, ELSEWHERE)], "hard"),
        ([(ONE, SEEN), (OTHER, HostPort("198.51.100.8", 3031))], "hard"),
        ([(ONE, HERE)], "none"),
        ([(ONE, HERE), (OTHER, HERE)], "none"),
    ],
)
def test_the_mapping_is_told_by_comparing(
    seen: list[tuple[HostPort, HostPort]], mapping: str
) -> None:
    assert mapping_of([Observation(by, mapped) for by, mapped in seen], [HERE]) == mapping


def test_filtering_is_told_by_who_gets_in() -> None:
    assert filtering_of(from_elsewhere=True, from_other_port=True) == "none"
    assert filtering_of(from_elsewhere=True, from_other_port=False) == "none"
    assert filtering_of(from_elsewhere=False, from_other_port=True) == "address"
    assert filtering_of(from_elsewhere=False, from_other_port=False) == "port"


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("198.51.100.7", True),
        ("2001:db8::1", True),
        ("192.168.1.1", False),
        ("100.64.0.2", False),
        ("fe80::1%eth0", False),
        ("fd00::2", False),
    ],
)
def test_which_addresses_are_public(host: str, public: bool) -> None:
    assert is_public(host) == public


def test_networks_are_24_and_48_bits() -> None:
    assert network_of("203.0.113.2") == network_of("203.0.113.99")
    assert network_of("203.0.113.2") != network_of("203.0.114.2")
    assert network_of("2001:db8:0:1::1") == network_of("2001:db8:0:2::1")
    assert network_of("2001:db8:1::1") != network_of("2001:db8:2::1")


# Whom to believe.


def test_one_peer_alone_is_not_believed() -> None:
    observed = ObservedAddresses()
    observed.claim(peer(1), "203.0.113.10", SEEN.host, SEEN.port, 0.0)
    assert observed.confirmed([], 0.0) == ()
    assert observed.confirmed([ELSEWHERE], 0.0) == ()
    assert observed.confirmed([SEEN], 0.0) == (SEEN,)


def test_neighbours_of_one_network_are_one_witness() -> None:
    observed = ObservedAddresses()
    observed.claim(peer(1), "203.0.113.10", SEEN.host, SEEN.port, 0.0)
    observed.claim(peer(2), "203.0.113.11", SEEN.host, SEEN.port, 0.0)
    assert observed.confirmed([], 0.0) == ()
    observed.claim(peer(3), "192.0.2.1", SEEN.host, SEEN.port, 0.0)
    assert observed.confirmed([], 0.0) == (SEEN,)


def test_a_peer_has_one_claim_and_it_ends() -> None:
    observed = ObservedAddresses()
    observed.claim(peer(1), "203.0.113.10", SEEN.host, SEEN.port, 0.0)
    observed.claim(peer(2), "192.0.2.1", SEEN.host, SEEN.port, 0.0)
    observed.claim(peer(1), "203.0.113.10", ELSEWHERE.host, ELSEWHERE.port, 1.0)
    assert observed.confirmed([], 1.0) == ()
    assert observed.confirmed([SEEN], LIFETIME_S + 2) == ()
    observed.forget_all()
    assert observed.confirmed([SEEN, ELSEWHERE], 1.0) == ()


def test_nonsense_is_no_claim_and_claims_are_bounded() -> None:
    observed = ObservedAddresses()
    observed.claim(peer(1), "203.0.113.10", "224.0.0.1", 5, 0.0)
    observed.claim(peer(1), "203.0.113.10", "no address", 5, 0.0)
    observed.claim(peer(1), "203.0.113.10", SEEN.host, 70_000, 0.0)
    assert observed.agree_with(SEEN) == ()
    for number in range(MAX_PEERS + 5):
        observed.claim(peer(number), "203.0.113.10", SEEN.host, SEEN.port, 0.0)
    assert len(observed.agree_with(SEEN)) == MAX_PEERS


# What to tell others.


def test_the_first_candidates_are_of_each_sort() -> None:
    local = [
        Candidate("192.168.1.10", 3031, "local"),
        Candidate("10.0.0.1", 3031, "local"),
        Candidate("2001:db8::5", 3031, "local"),
    ]
    mapped = HostPort("198.51.100.7", 4000)
    found = best_first(local, [SEEN], [ELSEWHERE], [mapped])
    assert [(each.host, each.kind) for each in found] == [
        ("192.168.1.10", "local"),
        ("198.51.100.7", "mapped"),
        ("198.51.100.7", "stun"),
        ("2001:db8::5", "local"),
        ("10.0.0.1", "local"),
        ("198.51.100.7", "observed"),
    ]


def test_candidates_are_bounded_distinct_and_make_sense() -> None:
    local = [Candidate(f"10.0.0.{n}", 3031, "local") for n in range(1, 20)]
    found = best_first(local, [HostPort("10.0.0.1", 3031)], [SEEN], [SEEN])
    assert len(found) == MAX_CANDIDATES
    assert [each.kind for each in found].count("mapped") == 1
    assert len({(each.host, each.port) for each in found}) == MAX_CANDIDATES
    assert best_first([], [HostPort("127.0.0.1", 5)], [], []) == ()


# What it means.

EASY = NatReport(
    port=3031,
    online=True,
    stun_asked=True,
    udp_works=True,
    mapping="easy",
    filtering="port",
    public_ipv4=SEEN,
    stun=(StunAnswer("stun.example.org:3478", ONE, SEEN, 0.01),),
)
MAPPED = PortMapping("pcp", ipv6=False, state="mapped", external=SEEN)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (NatReport(), "no way to the internet"),
        (NatReport(online=True), "not answered yet"),
        (NatReport(online=True, stun_asked=None), "STUN is switched off"),
        (
            NatReport(online=True, stun_asked=True, udp_works=False),
            "UDP to the internet is blocked",
        ),
        (EASY, "easy to get through"),
        (replace(EASY, lan_only=True), "as lan_only in hdpd.toml says"),
        (replace(EASY, has_address=False), "No network interface"),
        (replace(EASY, has_address=False, missing=("tun0",)), "network.bind names tun0"),
        (replace(EASY, old=True), "as it was before: The router is easy"),
        (replace(EASY, mapping="unknown", asking=True), "is being found out"),
        (replace(EASY, mapping="hard"), "forwards UDP port 3031"),
        (replace(EASY, mapping="hard", public_ipv6=HostPort("2001:db8::5", 1)), "By IPv6, which"),
        (replace(EASY, public_ipv6=HostPort("2001:db8::5", 3031)), "IPv6 works, too"),
        (replace(EASY, mapping="none", filtering="none"), "public address of its own"),
        (replace(EASY, mapping="none"), "firewall lets in answers only"),
        (replace(EASY, mapping="unknown"), "not known yet"),
        (replace(EASY, public_ipv4=None, public_ipv6=SEEN), "IPv6 works, IPv4 does not"),
        (replace(EASY, mapping="hard", port_mappings=(MAPPED,)), "The router forwards"),
        (replace(EASY, port_mappings=(MAPPED,), behind_carrier=True), "NAT of the provider"),
    ],
)
def test_the_sentence_says_what_it_means(report: NatReport, words: str) -> None:
    assert words in report.sentence


def test_what_leads_nowhere_is_not_called_a_router_that_is_easy_or_asks_for_a_port() -> None:
    for report in (
        replace(EASY, lan_only=True),
        replace(EASY, has_address=False),
        replace(EASY, online=False),
    ):
        assert "router" not in report.sentence
    hole = replace(MAPPED, ipv6=True, external=HostPort("2001:db8::5", 3031))
    assert "everybody can connect" not in replace(EASY, port_mappings=(hole,)).sentence


def test_a_forwarded_port_behind_a_carrier_is_not_called_reachable() -> None:
    report = replace(EASY, port_mappings=(MAPPED,), behind_carrier=True)
    assert "everybody can connect" not in report.sentence


# Routes.

ROUTE = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0101A8C0	0003	0	0	100	00000000	0	0	0
ppp0	00000000	00000000	0001	0	0	0	00000000	0	0	0
eth0	0001A8C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
"""
ZERO = "0" * 32
ROUTE6 = f"""\
20010db8000000010000000000000000 40 {ZERO} 00 {ZERO} 00000100 00000001 00000000 00000001     eth0
{ZERO} 00 {ZERO} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200       lo
"""


def test_default_routes_are_read() -> None:
    assert parse_ipv4(ROUTE) == [
        DefaultRoute("eth0", "192.168.1.1", 100, 4),
        DefaultRoute("ppp0", None, 0, 4),
    ]
    assert parse_ipv6(ROUTE6) == [DefaultRoute("eth0", "fe80::1%eth0", 1024, 6)]
