"""`hdpctl netcheck`: the report in people's words."""

from __future__ import annotations

import json
from typing import Any

from hdpctl.commands.netcheck import describe
from hdpd.config import HostPort
from hdpd.control import results
from hdpd.control.encoding import encode, show
from hdpd.nat.report import NatReport, PortMapping, StunAnswer

SEEN = HostPort("198.51.100.7", 3031)


def shown(report: NatReport) -> dict[str, Any]:
    """What hdpctl gets of it."""
    return dict(json.loads(encode(show(results.NatReport, report))))


def test_a_full_report() -> None:
    report = NatReport(
        port=3031,
        online=True,
        stun_asked=True,
        udp_works=True,
        mapping="hard",
        filtering="port",
        hairpin=False,
        public_ipv4=SEEN,
        public_ipv6=HostPort("2001:db8::5", 3031),
        behind_carrier=True,
        port_mappings=(
            PortMapping("pcp", ipv6=False, state="absent"),
            PortMapping("nat-pmp", ipv6=False, state="refused", error="it does not allow this"),
            PortMapping("upnp", ipv6=True, state="mapped", external=HostPort("2001:db8::5", 3031)),
        ),
        stun=(
            StunAnswer("stun.example.org:3478", SEEN, SEEN, 0.0123),
            StunAnswer("stun.example.net:3478", None, error="unknown name"),
        ),
    )
    assert describe(shown(report)) == [
        report.sentence,
        "  UDP        works",
        "  IPv4       198.51.100.7:3031",
        "  IPv6       [2001:db8::5]:3031",
        "  NAT        hard; the router takes another port for each destination",
        "  filtering  by address and port; only who was sent to may send",
        "  hairpin    no",
        "  carrier    the router is itself behind a NAT of the provider",
        "  forwarding PCP: the router does not speak it",
        "  forwarding NAT-PMP: the router refuses: it does not allow this",
        "  forwarding UPnP for IPv6: the router forwards [2001:db8::5]:3031 to this hdpd",
        "  STUN       stun.example.org:3478 sees 198.51.100.7:3031, 12 ms",
        "  STUN       stun.example.net:3478: unknown name",
    ]


def test_what_is_not_known_is_not_made_up() -> None:
    lines = "\n".join(describe(shown(NatReport())))
    for words in ("UDP        not known", "IPv4       no public", "NAT        not known"):
        assert words in lines
    assert "forwarding not asked for" in lines
    assert describe({})  # a later hdpd may leave things out
