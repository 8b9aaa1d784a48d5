"""The candidates of this peer: the addresses at which others may reach its UDP port. Pure.

Which of the interfaces' addresses are worth telling, and in which order.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence

from hdpd.config import HostPort
from hdpd.discovery.records import MAX_CANDIDATES, Candidate, CandidateKind
from hdpd.errors import ProtocolError
from hdpd.link.interfaces import InterfaceAddress
from hdpd.link.selection import ALL_V4, ALL_V6, leads_inside, told_first

# Privacy addresses (RFC 8981) pile up on an interface; the first ones say enough.
MAX_PER_INTERFACE_AND_FAMILY = 3
_ALL = (None, ALL_V4, ALL_V6)


def local_candidates(
    addresses: Iterable[InterfaceAddress],
    bound: Sequence[tuple[str | None, int]],
    ways_out: Collection[str] = (),
) -> tuple[Candidate, ...]:
    """At most 12 candidates for the sockets in `bound`: (host or None for all addresses, port).
    `ways_out` are the interfaces with a default route, the best first.

    Loopback is told only when there is nothing else or a socket is bound to it: then the other
    peer can only be on this machine. So are the addresses of containers' networks: they are the
    same on many machines, and mDNS tells them where they lead. Link-local addresses need a zone and
    are left to mDNS.
    """
    found: dict[tuple[str, int], Candidate] = {}
    counts: dict[tuple[str, int], int] = {}
    ranked = told_first((each for each in addresses if not each.ip.is_link_local), ways_out)
    usable = [each for each in ranked if not leads_inside(each, ways_out)]
    if all(each.ip.is_loopback for each in usable):
        usable = ranked
    only_loopback = all(each.ip.is_loopback for each in usable)
    for host, port in bound:
        for address in ranked if host not in _ALL else usable:
            if host in _ALL:
                if address.ip.is_loopback and not only_loopback:
                    continue
                if host is not None and ("." in host) != (address.ip.version == 4):
                    continue  # a socket bound to all of one family
            elif address.host != host:
                continue
            family = (address.interface, address.ip.version)
            if counts.get(family, 0) < MAX_PER_INTERFACE_AND_FAMILY * len(bound):
                counts[family] = counts.get(family, 0) + 1
                found.setdefault((address.host, port), Candidate(address.host, port, "local"))
    return tuple(found.values())[:MAX_CANDIDATES]


def best_first(
    local: Iterable[Candidate],
    stun: Iterable[HostPort],
    observed: Iterable[HostPort],
    mapped: Iterable[HostPort],
) -> tuple[Candidate, ...]:
    """At most 12 of all, one of each sort in turn, so that the first few (an invite has four) hold
    the LAN's, the router's and the IPv6 address; each address once.
    """
    local = list(local)
    sorts = (
        [each for each in local if ":" not in each.host],
        [*_candidates(mapped, "mapped")],
        [*_candidates(stun, "stun"), *_candidates(observed, "observed")],
        [each for each in local if ":" in each.host],
    )
    chosen: dict[tuple[str, int], Candidate] = {}
    for row in itertools.zip_longest(*sorts):
        for each in row:
            if each is not None:
                chosen.setdefault((each.host, each.port), each)
    return tuple(chosen.values())[:MAX_CANDIDATES]


def _candidates(addresses: Iterable[HostPort], kind: CandidateKind) -> Iterator[Candidate]:
    for address in addresses:
        # A server on this machine sees its loopback address, which is for nobody else.
        with contextlib.suppress(ProtocolError):
            yield Candidate(address.host, address.port, kind)
