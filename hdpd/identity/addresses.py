"""IP addresses of others: the one guard for those in records, invites and adverts, and which of
them are perhaps one person's.
"""

from __future__ import annotations

import ipaddress

from hdpd.errors import ProtocolError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


def parse_ip(host: str | bytes) -> IpAddress:
    """The unicast address of a literal, or of its 4 or 16 bytes; IPv4 inside IPv6 is unpacked.

    Raises ProtocolError for what is no address, for zones, and for addresses to which nobody may
    be made to send: unspecified, multicast, broadcast and reserved ones.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise ProtocolError("an address is not an IPv4 or IPv6 literal") from error
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise ProtocolError("an address with a zone means nothing on another machine")
        address = address.ipv4_mapped or address
    if address.is_unspecified or address.is_multicast or address == _BROADCAST:
        raise ProtocolError(f"{address} is not the address of one machine")
    if isinstance(address, ipaddress.IPv4Address) and (
        address.is_reserved or address.packed[0] == 0
    ):
        raise ProtocolError(f"{address} is not the address of one machine")
    return address


def check_port(port: object) -> int:
    """`port` when it is a UDP port number that can be sent to; raises ProtocolError otherwise."""
    if type(port) is not int or not 0 < port < 65536:
        raise ProtocolError("a port is a number from 1 to 65535")
    return port


def household_of(host: str) -> str:
    """The /64 of an IPv6 address, of which every household has one; an IPv4 address is one, and so
    is whatever is no address.
    """
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def source_of(host: str) -> str:
    """All that one person may have by the thousand: a household, and the /24 of a public IPv4
    address, which providers of machines give to one customer.
    """
    household = household_of(host)
    if ":" in household or not ipaddress.IPv4Address(household).is_global:
        return household
    return str(ipaddress.ip_network((household, 24), strict=False))
