"""The addresses of this machine's network interfaces, and what can be reached without a router."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from hdpd.link import netlink

_HEADER_BYTES = {4: 28, 6: 48}  # of IP and UDP together
_TEMPORARY, _DAD_FAILED, _DEPRECATED, _TENTATIVE, _OPTIMISTIC = 0x01, 0x08, 0x20, 0x40, 0x04
# Of virtual machines and clusters, whose drivers do not say what they are.
_GUESTS_NAMES = re.compile(r"vmnet\d+|vboxnet\d+|kube-ipvs\d+|(ve|vt)-.*")
_ENDS_AT_GUESTS = ("veth", "tun")


@dataclass(frozen=True)
class InterfaceAddress:
    """One address of one interface. `host` has no zone.

    `of_guests`: the interface leads to containers or virtual machines of this machine alone: a
    bridge to which no hardware belongs, or the near end of what leads to one of them.
    `temporary`, `deprecated` and `tentative` are as in RFC 8981 and RFC 4862.
    """

    interface: str
    host: str
    prefix: int
    mtu: int
    of_guests: bool = False
    temporary: bool = False
    deprecated: bool = False
    tentative: bool = False

    @cached_property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        return ipaddress.ip_address(self.host)

    @cached_property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        return ipaddress.ip_network(f"{self.host}/{self.prefix}", strict=False)


def interface_addresses() -> tuple[InterfaceAddress, ...]:
    """All unicast addresses of all interfaces, loopback and link-local ones too. Empty where the
    kernel does not tell.
    """
    try:
        links, addresses = netlink.links(), netlink.addresses()
    except OSError:
        return ()
    return combine(links, addresses)


def combine(
    links: Iterable[netlink.Link], addresses: Iterable[netlink.Address]
) -> tuple[InterfaceAddress, ...]:
    """The addresses with what their interfaces tell, in the order of names."""
    by_index = {link.index: link for link in links}
    told = list(addresses)
    global_at = {each.index for each in told if not _is_link_local(each.host)}
    found = []
    for each in told:
        link = by_index.get(each.index)
        if link is None:
            continue  # it came between the two questions
        found.append(
            InterfaceAddress(
                link.name,
                each.host,
                each.prefix,
                link.mtu,
                of_guests=_is_of_guests(link, by_index, has_global=each.index in global_at),
                temporary=bool(each.flags & _TEMPORARY) and ":" in each.host,
                deprecated=bool(each.flags & _DEPRECATED),
                tentative=bool(each.flags & (_TENTATIVE | _DAD_FAILED))
                and not each.flags & _OPTIMISTIC,
            )
        )
    return tuple(sorted(found, key=lambda address: (address.interface, address.host)))


def _is_of_guests(link: netlink.Link, links: dict[int, netlink.Link], *, has_global: bool) -> bool:
    if _GUESTS_NAMES.fullmatch(link.name):
        return True
    if link.kind == "bridge":
        ports = [each for each in links.values() if each.master == link.index]
        return all(port.kind in (*_ENDS_AT_GUESTS, "dummy") for port in ports)
    return link.kind in _ENDS_AT_GUESTS and not has_global


def _is_link_local(host: str) -> bool:
    return host.startswith(("fe80:", "169.254."))


def is_own(host: str, addresses: Iterable[InterfaceAddress]) -> bool:
    """Whether `host` is an address of this machine, which is reached by the loopback interface."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    return any(ip == address.ip for address in addresses)


def link_to(host: str, addresses: Iterable[InterfaceAddress]) -> InterfaceAddress | None:
    """Our address on the link that leads to `host` without a router, the one of the smallest
    network; None behind a router.
    """
    literal, _, zone = host.partition("%")
    ip = ipaddress.ip_address(literal)
    fitting = [
        each
        for each in addresses
        if ip.version == each.network.version
        and ip in each.network
        and (not zone or zone.isdigit() or zone == each.interface)
    ]
    return max(fitting, key=lambda each: (each.prefix, not each.of_guests), default=None)


def on_link_payload_bytes(host: str, addresses: Iterable[InterfaceAddress]) -> int | None:
    """How large a UDP payload our interface on the direct link to `host` takes; None behind a
    router.
    """
    addresses = tuple(addresses)
    version = 6 if ":" in host else 4
    if is_own(host, addresses):
        loopback = next((each for each in addresses if each.ip.is_loopback), None)
        if loopback is not None:
            return loopback.mtu - _HEADER_BYTES[version]
    link = link_to(host, addresses)
    return None if link is None else link.mtu - _HEADER_BYTES[version]
