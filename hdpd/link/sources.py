"""Where a peer comes from, as far as its address tells who may be one person. Pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

IPV4_BITS = 24  # what a provider of machines gives to one customer
IPV6_BITS = 64  # what every household has


def source_of(host: str) -> str:
    """The network whose addresses one person may have by the thousand: the /64 of an IPv6 address,
    the /24 of a public IPv4 address. In a private network each IPv4 address is a machine.
    """
    address = ip_address(host.partition("%")[0])
    if address.version == 4 and not address.is_global:
        return str(address)
    bits = IPV4_BITS if address.version == 4 else IPV6_BITS
    return str(ip_network((address, bits), strict=False))
