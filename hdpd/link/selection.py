"""Which addresses of this machine are used, which are told, and who may be reached from them. Pure.

`bind` names addresses or interfaces to use alone, `exclude` interfaces (`*` and `?` as in a shell)
and networks to leave out, `lan_only` keeps to the networks at hand. All three hold alike for what
is listened on, told to others, dialled and let in.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from hdpd.link.interfaces import InterfaceAddress, is_own, link_to

Address = tuple[str, int]
ALL_V4, ALL_V6 = "0.0.0.0", "::"  # noqa: S104 (compared)
_BRIDGES_OF_RUNTIMES = re.compile(
    r"docker\d+|docker_gwbridge|br-[0-9a-f]{12}|(podman|cni|virbr|lxcbr|lxdbr|incusbr|waydroid)[-\w]*"
)
_LEADING_NOWHERE = ("lo", "dummy")  # interfaces that carry addresses for the others
# What a machine at home or at work is in; RFC 1918, 3927, 4193, 4291.
_LOCAL_NETWORKS = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"),
        *("fc00::/7", "fe80::/10", "::1/128"),
    )
)


class Binding(NamedTuple):
    """A socket to have: on `host` (None: all addresses), of which everything leaves by `interface`
    where that is named.
    """

    host: str | None
    interface: str | None = None


def is_address(text: str) -> bool:
    """Whether an entry of `bind` is an IP literal; all others are names of interfaces."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class Selection(Struct, frozen=True):
    """What the owner chose, as in hdpd.toml."""

    bind: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    lan_only: bool = False

    def bindings(self, addresses: Iterable[InterfaceAddress]) -> tuple[Binding, ...]:
        """The sockets to have now. Addresses are bound whether the machine has them yet or not."""
        if not self.bind:
            return (Binding(None),)
        here = tuple(addresses)
        found: dict[str | None, Binding] = {}
        for entry in self.bind:
            if is_address(entry):
                at = next((each.interface for each in here if each.host == entry), None)
                leads_out = at is not None and not at.startswith(_LEADING_NOWHERE)
                found.setdefault(entry, Binding(entry, at if leads_out else None))
            else:
                for each in here:
                    if each.interface == entry and _is_bindable(each):
                        found.setdefault(each.host, Binding(each.host, entry))
        return tuple(found.values())

    def missing(self, addresses: Iterable[InterfaceAddress]) -> tuple[str, ...]:
        """The entries of `bind` that this machine does not have now."""
        here = tuple(addresses)
        hosts = {each.host for each in here if not each.tentative}
        names = {each.interface for each in here if _is_bindable(each)}
        return tuple(
            entry
            for entry in self.bind
            if entry not in names and entry not in hosts and not _is_always_there(entry)
        )

    def interface_only(self) -> str | None:
        """The one interface by which everything leaves, brokers' connections too, when nothing but
        its name is bound.
        """
        if len(self.bind) == 1 and not is_address(self.bind[0]):
            return self.bind[0]
        return None

    def usable(self, addresses: Iterable[InterfaceAddress]) -> tuple[InterfaceAddress, ...]:
        """Those of this machine's addresses that are used at all."""
        return tuple(
            each
            for each in addresses
            if not self.excludes(each) and (not self.bind or self._binds(each))
        )

    def _binds(self, address: InterfaceAddress) -> bool:
        for entry in self.bind:
            if entry in (address.host, address.interface):
                return True
            if entry in (ALL_V4, ALL_V6) and (entry == ALL_V4) == (address.ip.version == 4):
                return True
        return False

    def excludes(self, address: InterfaceAddress) -> bool:
        """Whether this address of ours is left out."""
        return any(
            fnmatch.fnmatchcase(address.interface, each)
            if not is_network(each)
            else _is_in(address.ip, each)
            for each in self.exclude
        )

    def may_reach(self, host: str, addresses: Sequence[InterfaceAddress]) -> bool:
        """Whether `host`, an IP literal, may be dialled and let in."""
        if not self.exclude and not self.lan_only:
            return True
        ip = ipaddress.ip_address(host.partition("%")[0])
        if any(_is_in(ip, each) for each in self.exclude if is_network(each)):
            return False
        link = link_to(host, addresses)
        if link is not None and not is_own(host, addresses):
            return not self.excludes(link)
        return not self.lan_only or link is not None or _is_local(ip)

    def dialable(
        self, told: Iterable[Address], addresses: Sequence[InterfaceAddress]
    ) -> tuple[list[Address], list[Address]]:
        """Of the addresses that a peer told, those on a link of ours, and those behind routers.

        A network of containers counts only where no other link leads to the peer: its numbers are
        the same on many machines, and the peer's own bridge is as likely meant.
        """
        near: list[Address] = []
        guests: list[Address] = []
        far: list[Address] = []
        for address in told:
            if not self.may_reach(address[0], addresses):
                continue
            link = link_to(address[0], addresses)
            (far if link is None else guests if link.of_guests else near).append(address)
        return near or guests, far


def is_network(text: str) -> bool:
    """Whether an entry of `exclude` is a network or an address; all others are interfaces."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def leads_inside(address: InterfaceAddress, ways_out: Collection[str]) -> bool:
    """Whether only containers and virtual machines of this machine are there. A bridge with the
    default route is the LAN's own, as in a container that has one, unless its name is one that
    container runtimes give: then a container is the router, and others do not see that network.
    """
    is_runtimes = _BRIDGES_OF_RUNTIMES.fullmatch(address.interface) is not None
    return address.of_guests and (is_runtimes or address.interface not in ways_out)


def told_first(
    addresses: Iterable[InterfaceAddress], ways_out: Collection[str]
) -> list[InterfaceAddress]:
    """The addresses that others can use, the best first: those of the interfaces with a default
    route (`ways_out`, in the order of preference), then other ones, then those of containers'
    networks, then loopback. Of IPv6, stable ones before temporary ones, deprecated ones only where
    their interface has no other, tentative ones never.
    """
    order = {name: number for number, name in enumerate(dict.fromkeys(ways_out))}
    usable = [each for each in addresses if not each.tentative]
    preferred = {
        (each.interface, each.ip.version, each.ip.is_link_local)
        for each in usable
        if not each.deprecated
    }

    def rank(each: InterfaceAddress) -> tuple[bool, bool, int, int, bool]:
        return (
            each.ip.is_loopback,
            leads_inside(each, order),
            order.get(each.interface, len(order)),
            each.ip.version,
            each.temporary,
        )

    return sorted(
        (
            each
            for each in usable
            if not each.deprecated
            or (each.interface, each.ip.version, each.ip.is_link_local) not in preferred
        ),
        key=rank,
    )


def _is_bindable(address: InterfaceAddress) -> bool:
    return not address.tentative and not (address.ip.is_link_local and address.ip.version == 6)


def _is_always_there(entry: str) -> bool:
    return is_address(entry) and (
        ipaddress.ip_address(entry).is_loopback or ipaddress.ip_address(entry).is_unspecified
    )


def _is_in(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str) -> bool:
    parsed = ipaddress.ip_network(network, strict=False)
    return parsed.version == ip.version and ip in parsed


def _is_local(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return any(ip.version == each.version and ip in each for each in _LOCAL_NETWORKS)
