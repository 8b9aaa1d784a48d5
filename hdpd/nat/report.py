"""The NAT report: what stands between this peer and the internet, and what that means. Pure.

The words are those of RFC 4787, in people's language: a mapping is *easy* when it is the same for
every destination (endpoint-independent), *hard* when each destination gets another port.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hdpd.config import HostPort

Mapping = Literal["unknown", "none", "easy", "hard"]
# Who may send to a mapping: anybody, whoever has the address of one that was sent to, or only
# that address and port.
Filtering = Literal["unknown", "none", "address", "port"]
MappingProtocol = Literal["pcp", "nat-pmp", "upnp"]
MappingState = Literal["off", "asking", "absent", "answers", "mapped", "refused"]


@dataclass(frozen=True, slots=True)
class PortMapping:
    """What one protocol for port mapping came to. `external` is there when it is `mapped`.

    `answers`: the router speaks it, but the port is mapped by a better protocol already. `error`
    says for people why it was refused.
    """

    protocol: MappingProtocol
    state: MappingState
    external: HostPort | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StunAnswer:
    """What one STUN server said, or why it said nothing. `rtt` is in seconds."""

    server: str
    address: HostPort | None
    mapped: HostPort | None = None
    rtt: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class NatReport:
    """Everything known about the way to the internet; None and `unknown` where it is not known.

    `udp_works` is about the internet, not the local network. `mapping`, `filtering` and `hairpin`
    are of the IPv4 NAT. `shared_address` says that the router itself is behind a carrier's NAT.
    """

    udp_works: bool | None = None
    mapping: Mapping = "unknown"
    filtering: Filtering = "unknown"
    hairpin: bool | None = None
    public_ipv4: HostPort | None = None
    public_ipv6: HostPort | None = None
    shared_address: bool | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    stun: tuple[StunAnswer, ...] = ()

    @property
    def mapped(self) -> tuple[HostPort, ...]:
        """The addresses at which a router forwards to this peer."""
        return tuple(m.external for m in self.port_mappings if m.external is not None)
