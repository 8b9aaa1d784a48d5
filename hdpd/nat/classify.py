"""What answers of STUN servers and of peers say about the NAT between them and us. Pure.

RFC 4787 and RFC 5780 without their history: a mapping is told by asking two servers from one
socket, filtering by asking one server to answer from elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from hdpd.config import HostPort
from hdpd.nat.report import Filtering, Mapping
from hdpd.nat.scopes import network_of


class Observation(Struct, frozen=True):
    """Somebody at `by` saw our main socket as `mapped`."""

    by: HostPort
    mapped: HostPort


def mapping_of(observations: Sequence[Observation], local: Collection[HostPort]) -> Mapping:
    """What the NAT does to a socket whose own addresses are `local`.

    All observations must be of one family and made within a few seconds of one another.
    """
    seen = {each.mapped for each in observations}
    if not seen:
        return "unknown"
    if seen <= set(local):
        return "none"
    if len(seen) > 1:
        return "hard"
    # Nearly every hard NAT looks at the port as well, so that two ports of one server tell.
    return "easy" if len({each.by for each in observations}) > 1 else "unknown"


def filtering_of(from_elsewhere: bool, from_other_port: bool) -> Filtering:
    """By whether the answer of a server came from its other address, and from its other port."""
    if from_elsewhere:
        return "none"
    return "address" if from_other_port else "port"


def is_confirmed(address: HostPort, by_stun: Collection[HostPort], peers: Collection[str]) -> bool:
    """Whether an address that peers (by their own addresses) claim to see us at may be told on: a
    STUN server says the same, or peers of two networks (/24 or /48) do.

    One member alone could make all others knock at a victim's door.
    """
    return address in by_stun or len({network_of(host) for host in peers}) > 1
