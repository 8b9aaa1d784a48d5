"""Which addresses mean something in the whole internet, and which are near one another. Pure."""

from __future__ import annotations

import ipaddress
from typing import Final

# Addresses of which many machines have the same: behind a router (RFC 1918), behind a carrier's NAT
# (RFC 6598), on one link (RFC 3927, 4193, 4291). Documentation addresses count as public ones, so
# that a laboratory can have an internet.
_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
        *("127.0.0.0/8", "192.0.0.0/24", "::1/128", "fc00::/7", "fe80::/10"),
    )
)


def is_public(host: str) -> bool:
    """Whether an address names one machine in the whole internet."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    return not any(ip.version == network.version and ip in network for network in _NOT_PUBLIC)


def network_of(host: str) -> str:
    """The /24 or /48 that an address is in; whoever has one address there may well have others."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    prefix = 24 if ip.version == 4 else 48
    return str(ipaddress.ip_network(f"{ip}/{prefix}", strict=False))
