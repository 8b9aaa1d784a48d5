"""The NAT report: what stands between this peer and the internet, and what that means. Pure.

The words are those of RFC 4787, in people's language: a mapping is *easy* when it is the same for
every destination (endpoint-independent), *hard* when each destination gets another port.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from hdpd.config import HostPort
from hdpd.nat.scopes import is_public

Mapping = Literal["unknown", "none", "easy", "hard"]
# Who may send to a mapping: anybody, whoever has the address of one that was sent to, or only
# that address and port.
Filtering = Literal["unknown", "none", "address", "port"]
MappingProtocol = Literal["pcp", "nat-pmp", "upnp"]
MappingState = Literal["asking", "absent", "answers", "mapped", "refused"]


class PortMapping(Struct, frozen=True):
    """What one protocol for port mapping came to, for IPv4, or for a hole in the IPv6 firewall.

    `external` is there when it is `mapped`.

    `answers`: the router speaks it, but the port is mapped by a better protocol already. `error`
    says for people why it was refused.
    """

    protocol: MappingProtocol
    ipv6: bool
    state: MappingState
    external: HostPort | None = None
    error: str | None = None


class StunAnswer(Struct, frozen=True):
    """What one STUN server said, or why it said nothing. `rtt` is in seconds."""

    server: str
    address: HostPort | None
    mapped: HostPort | None = None
    rtt: float | None = None
    error: str | None = None


class NatReport(Struct, frozen=True):
    """Everything known about the way to the internet; None and `unknown` where it is not known.

    `online`: there is a route to somewhere. `stun_asked`: the STUN servers had their time to
    answer; None when they are switched off. `udp_works` is about the internet, not the local
    network. `mapping`, `filtering` and `hairpin` are of the IPv4 NAT. `behind_carrier` says that
    the router itself is behind another NAT. `port` is the UDP port for peers. `announced` is what
    the owner lets others be told, besides. `lan_only` is as in hdpd.toml, `missing` what its `bind`
    names and this machine does not have. `has_address`: there is an address that others can use.

    `asking`: the STUN servers are being asked; `old`: what they said is from before the network
    changed.
    """

    port: int = 0
    online: bool = False
    stun_asked: bool | None = False
    udp_works: bool | None = None
    mapping: Mapping = "unknown"
    filtering: Filtering = "unknown"
    hairpin: bool | None = None
    public_ipv4: HostPort | None = None
    public_ipv6: HostPort | None = None
    behind_carrier: bool | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    stun: tuple[StunAnswer, ...] = ()
    announced: tuple[HostPort, ...] = ()
    lan_only: bool = False
    missing: tuple[str, ...] = ()
    has_address: bool = True
    asking: bool = False
    old: bool = False

    @property
    def mapped(self) -> tuple[HostPort, ...]:
        """The addresses at which a router forwards to this peer."""
        return tuple(m.external for m in self.port_mappings if m.external is not None)

    @property
    def nowhere(self) -> str | None:
        """Why nobody on the internet can be met, whatever its routers are like."""
        if not self.has_address:
            if self.missing:
                return (
                    f"network.bind names {', '.join(self.missing)}, which this machine does not "
                    "have now: nobody can be met until it does."
                )
            return (
                "No network interface that hdpd uses has an address: only peers on this machine "
                "can be met."
            )
        if self.lan_only:
            return "Only peers on the local network are met, as lan_only in hdpd.toml says."
        if not self.online:
            return (
                "This machine has no way to the internet; peers on the local network are found "
                "all the same."
            )
        return None

    @property
    def sentence(self) -> str:
        """What it means for the user."""
        return " ".join(_sentences(self))


class NatChanged(Struct, frozen=True):
    """Something else is known about the way to the internet."""

    report: NatReport


def _sentences(report: NatReport) -> Iterator[str]:
    nowhere = report.nowhere
    if nowhere is None and report.old and not _forwarded(report):
        yield "The network has changed and is being looked at anew; as it was before:"
    yield nowhere or _way_in(report)
    if report.announced and report.has_address:
        told = ", ".join(map(str, report.announced))
        yield f"Others are told {told}, as hdpd.toml says; whether that leads here is not known."
    if nowhere is not None or not report.udp_works or report.public_ipv4 is None:
        return
    if report.mapping == "none" and report.filtering in ("address", "port"):
        yield (
            "A firewall lets in answers only, which is enough in nearly all cases; opening "
            f"UDP port {report.port} helps the others."
        )
    if report.behind_carrier:
        yield "The router is itself behind a NAT of the provider."
    if report.public_ipv6 is not None:
        if report.mapping == "hard" and not _forwarded(report):
            yield "By IPv6, which works here, everybody who has it can connect."
        else:
            yield "IPv6 works, too."


def _forwarded(report: NatReport) -> HostPort | None:
    """Where everybody comes in: a hole in the IPv6 firewall is for those with IPv6 alone."""
    if report.behind_carrier:
        return None
    public = (each for each in report.mapped if ":" not in each.host and is_public(each.host))
    return next(public, None)


def _way_in(report: NatReport) -> str:
    if (forwarded := _forwarded(report)) is not None:
        return f"The router forwards {forwarded} to this machine: everybody can connect."
    if report.udp_works:
        if report.public_ipv4 is not None:
            if report.mapping == "unknown" and report.asking:
                return "UDP works; what kind of router is on the way is being found out."
            return _MAPPING_WORDS[report.mapping].format(port=report.port)
        return "IPv6 works, IPv4 does not: everybody who has IPv6 can connect, others cannot."
    if report.stun_asked is None:
        return (
            "STUN is switched off, so that the way to the internet is not known; peers on the "
            "local network are found all the same."
        )
    if not report.stun_asked:
        return "The STUN servers have not answered yet."
    return (
        "No STUN server answers: UDP to the internet is blocked here, or there is no internet. "
        "Only peers on the local network can be expected to connect."
    )


_MAPPING_WORDS: dict[Mapping, str] = {
    "none": "This machine has a public address of its own: everybody can connect directly.",
    "easy": "The router is easy to get through: direct connections work with nearly everybody, "
    "and nothing needs to be set up.",
    "hard": "The router is hard to get through, because it uses another port for each "
    "destination: connecting can take up to half a minute, and peers behind a router of the same "
    "kind cannot be reached unless one of you forwards UDP port {port} (or switches on UPnP, "
    "NAT-PMP or PCP in the router) or both have IPv6.",
    "unknown": "UDP works; what kind of router is on the way is not known yet, as only one STUN "
    "server answered.",
}
