"""The candidates of this peer: the addresses at which others may reach its UDP port.

Which of the interfaces' addresses are worth telling, and in which order; pure but for the types.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hdpd.discovery.records import MAX_CANDIDATES, Candidate
from hdpd.link.interfaces import InterfaceAddress

# Privacy addresses (RFC 8981) pile up on an interface; the first ones say enough.
MAX_PER_INTERFACE_AND_FAMILY = 3


def _rank(address: InterfaceAddress) -> tuple[int, int]:
    """Ordinary addresses before loopback; IPv4 first, since every peer has it."""
    ip = address.ip
    return (int(ip.is_loopback), ip.version)


def local_candidates(
    addresses: Iterable[InterfaceAddress], bound: Sequence[tuple[str | None, int]]
) -> tuple[Candidate, ...]:
    """At most 12 candidates for the sockets in `bound`: (host or None for all addresses, port).

    Loopback is told only when there is nothing else or a socket is bound to it: then the other
    peer can only be on this machine. Link-local addresses need a zone and are left to mDNS.
    """
    found: dict[tuple[str, int], Candidate] = {}
    counts: dict[tuple[str, int], int] = {}
    usable = sorted((each for each in addresses if not each.ip.is_link_local), key=_rank)
    only_loopback = all(each.ip.is_loopback for each in usable)
    for host, port in bound:
        for address in usable:
            if host is None:
                if address.ip.is_loopback and not only_loopback:
                    continue
            elif address.host != host and host not in ("0.0.0.0", "::"):  # noqa: S104 (compared)
                continue
            family = (address.interface, address.ip.version)
            if counts.get(family, 0) < MAX_PER_INTERFACE_AND_FAMILY * len(bound):
                counts[family] = counts.get(family, 0) + 1
                found.setdefault((address.host, port), Candidate(address.host, port, "local"))
    return tuple(found.values())[:MAX_CANDIDATES]
