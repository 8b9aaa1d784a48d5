"""The default routes of this machine, from /proc/net; the text is parsed without effects."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

_RTF_UP, _RTF_GATEWAY = 0x1, 0x2  # linux/route.h


class DefaultRoute(Struct, frozen=True):
    """A way to the internet. `gateway` is None where the link itself leads there."""

    interface: str
    gateway: str | None
    metric: int
    version: int


_Parser = Callable[[str], list[DefaultRoute]]


def default_routes() -> tuple[DefaultRoute, ...]:
    """The default routes of both families, the best of each first; empty without internet."""
    return (*_read("/proc/net/route", parse_ipv4), *_read("/proc/net/ipv6_route", parse_ipv6))


def _read(path: str, parse: _Parser) -> tuple[DefaultRoute, ...]:
    try:
        text = Path(path).read_text(encoding="ascii")
    except OSError:  # a family that the kernel lacks
        return ()
    return tuple(sorted(parse(text), key=lambda route: route.metric))


def parse_ipv4(text: str) -> list[DefaultRoute]:
    """The default routes in /proc/net/route, whose numbers are in the byte order of the machine."""
    routes = []
    for line in text.splitlines()[1:]:
        interface, destination, gateway, flags, _, _, metric, mask, *_ = line.split()
        if destination != "00000000" or mask != "00000000" or not int(flags, 16) & _RTF_UP:
            continue
        address = socket.inet_ntoa(struct.pack("=L", int(gateway, 16)))
        known = address if int(flags, 16) & _RTF_GATEWAY else None
        routes.append(DefaultRoute(interface, known, int(metric), 4))
    return routes


def parse_ipv6(text: str) -> list[DefaultRoute]:
    """The default routes in /proc/net/ipv6_route; a link-local gateway gets its zone."""
    routes = []
    for line in text.splitlines():
        destination, prefix, _, _, gateway, metric, _, _, flags, interface = line.split()
        is_default = int(destination, 16) == 0 and int(prefix, 16) == 0
        # The kernel's own entry that rejects everything is on lo.
        if not is_default or interface == "lo" or not int(flags, 16) & _RTF_UP:
            continue
        address = ipaddress.IPv6Address(bytes.fromhex(gateway))
        known = None
        if int(flags, 16) & _RTF_GATEWAY:
            known = f"{address}%{interface}" if address.is_link_local else str(address)
        routes.append(DefaultRoute(interface, known, int(metric, 16), 6))
    return routes
