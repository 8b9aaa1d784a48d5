"""`hdpctl netcheck`: what is between this machine and the internet, in people's words."""

from __future__ import annotations

from typing import Any

import click

from hdpctl import show
from hdpctl.params import Session, examples, json_option, pass_session

MAPPING = {
    "none": "none; this machine has a public address of its own",
    "easy": "easy; the router shows the same address and port to everybody",
    "hard": "hard; the router takes another port for each destination",
    "unknown": "not known",
}
FILTERING = {
    "none": "none; everybody may send to that address and port",
    "address": "by address; whoever was sent to may send, from any port",
    "port": "by address and port; only who was sent to may send",
    "unknown": "not known; no STUN server here can tell",
}
PROTOCOLS = {"pcp": "PCP", "nat-pmp": "NAT-PMP", "upnp": "UPnP"}


@click.command(epilog=examples("hdpctl netcheck --json | jq -r .mapping"))
@json_option
@pass_session
def netcheck(session: Session) -> None:
    """Show how this hdpd can be reached from the internet.

    What the router does, whether UDP and IPv6 work, which protocols for port mapping answer, what
    the STUN servers see, and first of all what that means.
    """
    report = session.client.call("nat.report")
    if session.json:
        return show.json_document(report)
    for text in describe(report):
        show.line(text)
    return None


def describe(report: dict[str, Any]) -> list[str]:
    """The lines for a report."""
    fields = [
        ("UDP", _yes(report.get("udp_works"), "works", "does not get through")),
        ("IPv4", str(report.get("public_ipv4") or "no public address seen")),
        ("IPv6", str(report.get("public_ipv6") or "no public address seen")),
        ("NAT", MAPPING.get(str(report.get("mapping")), str(report.get("mapping")))),
        ("filtering", FILTERING.get(str(report.get("filtering")), str(report.get("filtering")))),
        ("hairpin", _yes(report.get("hairpin"), "yes", "no")),
    ]
    if report.get("behind_carrier"):
        fields.append(("carrier", "the router is itself behind a NAT of the provider"))
    fields += [("forwarding", text) for text in _forwarding(report.get("port_mappings") or [])]
    fields += [("STUN", _stun(answer)) for answer in report.get("stun") or []]
    return [str(report.get("sentence") or ""), *(f"  {name:<10} {text}" for name, text in fields)]


def _yes(value: object, yes: str, no: str) -> str:
    return "not known" if value is None else yes if value else no


def _forwarding(mappings: list[dict[str, Any]]) -> list[str]:
    if not mappings:
        return ["not asked for"]
    return [_mapping(mapping) for mapping in mappings]


def _mapping(mapping: dict[str, Any]) -> str:
    name = PROTOCOLS.get(str(mapping.get("protocol")), str(mapping.get("protocol")))
    if mapping.get("ipv6"):
        name += " for IPv6"
    words = {
        "asking": "is being asked for",
        "absent": "the router does not speak it",
        "answers": "the router speaks it; not needed",
        "mapped": f"the router forwards {mapping.get('external')} to this hdpd",
        "refused": f"the router refuses: {mapping.get('error')}",
    }
    return f"{name}: {words.get(str(mapping.get('state')), mapping.get('state'))}"


def _stun(answer: dict[str, Any]) -> str:
    server, rtt = answer.get("server"), answer.get("rtt")
    if answer.get("mapped") is None:
        return f"{server}: {answer.get('error') or 'no answer'}"
    took = f", {rtt * 1000:.0f} ms" if isinstance(rtt, (int, float)) else ""
    return f"{server} sees {answer['mapped']}{took}"
