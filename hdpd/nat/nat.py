"""Nat: finds out how this peer can be reached, and keeps the router's door open.

The shell around the report, the candidates and the port mappings. Nothing here is waited for at
start: what is found out later is announced when it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from hdpd.config import Config, HostPort
from hdpd.discovery.records import Candidate
from hdpd.identity.contexts import PCP_NONCE
from hdpd.identity.keys import PeerId, derive_key
from hdpd.link.endpoint import Endpoint
from hdpd.link.interfaces import InterfaceAddress
from hdpd.link.selection import told_first
from hdpd.link.sockets import UdpSocket
from hdpd.nat.announced import Announced
from hdpd.nat.announcements import Announcements
from hdpd.nat.candidates import best_first, local_candidates
from hdpd.nat.classify import Observation, mapping_of
from hdpd.nat.observed import ObservedAddresses
from hdpd.nat.pcp import NONCE_BYTES
from hdpd.nat.port_mapper import VERIFY_S, PortMapper
from hdpd.nat.report import Mapping, NatChanged, NatReport
from hdpd.nat.scopes import is_public
from hdpd.nat.stun_watch import StunWatch
from hdpd.nat.watch import Network, NetworkWatch

Emit = Callable[[NatChanged], None]

log = logging.getLogger(__name__)

FIRST_REPORT_S = 1.5


class Nat:
    """`on_candidates_changed` is called when what others should be told has changed,
    `on_network_changed` when addresses or routes of this machine did, `on_inside_changed` also
    when only its containers' did.
    """

    def __init__(self, endpoint: Endpoint, config: Config, emit: Emit) -> None:
        self.on_candidates_changed: Callable[[], None] = lambda: None
        self.on_network_changed: Callable[[], None] = lambda: None
        self.on_inside_changed: Callable[[], None] = lambda: None
        self._endpoint = endpoint
        self._config = config
        self._emit = emit
        self._observed = ObservedAddresses()
        self._stun_servers = () if config.lan_only else config.stun_servers
        self._watch = NetworkWatch(self._network_changed, self._inside_changed)
        self._stun = StunWatch(endpoint, self._stun_servers, self._update)
        maps = config.port_mapping and not config.lan_only
        # The same after a restart, so that a router knows us again; tells nothing of the key.
        nonce = derive_key(endpoint.identity.seed, PCP_NONCE, NONCE_BYTES)
        self._mapper = PortMapper(nonce, self._update) if maps else None
        self._announcements = Announcements(self._mapper.announced) if self._mapper else None
        self._announced = Announced(() if config.lan_only else config.announce, self._update)
        self._loop = asyncio.get_running_loop()
        self._report = NatReport()
        self._reported = asyncio.Event()  # what can be known at once is known
        self._candidates: tuple[Candidate, ...] = ()

    def look(self) -> None:
        """Takes in what is known without asking anybody: the addresses of this machine. For the
        moment when the endpoint has its ports.
        """
        self._watch.look()
        self._look()

    async def start(self) -> None:
        """Begins to find out; returns at once."""
        self._watch.start()
        if self._announcements is not None:
            self._announcements.start()
        self._announced.start()
        self._begin()
        self._stun.start()

    async def close(self) -> None:
        """Removes the port mappings, within two seconds."""
        self._watch.close()
        if self._announcements is not None:
            self._announcements.close()
        await asyncio.gather(
            self._announced.close(),
            self._stun.close(),
            *([self._mapper.close()] if self._mapper is not None else []),
        )

    def report(self) -> NatReport:
        """What is known now."""
        return self._report

    async def verify(self) -> None:
        """Looks whether what is said to be forwarded still is; takes two seconds at most."""
        if self._mapper is not None:
            await self._mapper.verify()

    async def fresh_report(self) -> NatReport:
        """What is known after a look at what is said to be forwarded, and at a network that has
        changed; within two seconds. What takes longer is told as old.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(VERIFY_S), asyncio.TaskGroup() as looks:
                looks.create_task(self._stun.settled.wait())
                looks.create_task(self.verify())
        return self._report

    def unresolved(self) -> tuple[HostPort, ...]:
        """The names in `announce` that lead nowhere now."""
        return self._announced.unresolved

    def candidates(self) -> tuple[Candidate, ...]:
        """At most 12 addresses of this peer: local, stun, observed (confirmed) and mapped."""
        return self._candidates

    def hops(self) -> int:
        """With how many hops to live a packet passes our NATs, and gets little further."""
        return self._stun.hops

    async def candidates_of(self, opened: UdpSocket) -> tuple[Candidate, ...]:
        """Where a new socket of ours can be reached; takes 2.5 s at most, and mostly a round trip.

        Waits for the first report: without it the peer would be told too little to punch.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_REPORT_S):
                await self._reported.wait()
        hosts = [each.host for each in self._local_candidates()]
        own = [Candidate(host, opened.port, "local") for host in dict.fromkeys(hosts)]
        mapped = [each for each in self._candidates if each.kind == "mapped"]
        seen = await self._stun.ask_through(opened)
        told = [] if seen is None else [Candidate(seen.host, seen.port, "stun")]
        addresses = {(each.host, each.port): each for each in (*told, *mapped, *own)}
        return tuple(addresses.values())

    def observed(self, peer_id: PeerId, peer_host: str, host: str, port: int) -> None:
        """The connected peer `peer_id`, reached at `peer_host`, sees us as `host` and `port`."""
        self._observed.claim(peer_id, peer_host, host, port, self._loop.time())
        self._update()

    def network_changed(self) -> None:
        """The router changed or the machine slept, as far as the caller can tell: finds out anew
        what only others can tell. Changes of this machine's addresses are noticed without it.
        """
        self._observed.forget_all()
        self._begin()

    @property
    def network(self) -> Network:
        """Those of this machine's addresses and ways out that are used."""
        return self._watch.network.within(self._endpoint.selection)

    def addresses(self) -> tuple[InterfaceAddress, ...]:
        """Those of this machine that others can use, link-local ones too, the best first."""
        network = self.network
        return tuple(told_first(network.addresses, network.ways_out))

    def _inside_changed(self) -> None:
        """Something came or went, perhaps among containers only."""
        self._endpoint.interfaces_changed(self._watch.network.addresses)
        # For what is bound in there; after `_network_changed`, which tells of all else.
        self._loop.call_soon(self._update)
        self.on_inside_changed()

    def _network_changed(self) -> None:
        log.info("the network changed")
        before = self._report
        self.network_changed()
        self._look()
        self._tell(before)
        self.on_network_changed()

    def _begin(self) -> None:
        self._announced.look_again()
        leads_out = bool(self.network.routes)
        self._stun.network_changed(self._own_addresses(), leads_out=leads_out)
        self._map_port()

    def _map_port(self) -> None:
        if self._mapper is not None:
            hosts = [each.host for each in self._local_candidates()]
            self._mapper.map(self.network, hosts, self._endpoint.port)

    # Putting it together.

    def _own_addresses(self) -> list[HostPort]:
        return [HostPort(each.host, each.port) for each in self._local_candidates()]

    def _local_candidates(self) -> tuple[Candidate, ...]:
        is_bound = bool(self._endpoint.selection.bind)
        hosts = self._endpoint.bound_hosts if is_bound else (None,)
        bound = [(host, self._endpoint.port) for host in hosts]
        network = self.network
        return local_candidates(network.addresses, bound, network.ways_out)

    def _update(self) -> None:
        """Something was found out: tells whom it concerns when it makes a difference."""
        candidates, report = self._candidates, self._report
        self._look()
        if self._candidates != candidates:
            self.on_candidates_changed()
        before, now = report.public_ipv4, self._report.public_ipv4
        if before is not None and now is not None and before.host != now.host:
            self._map_port()  # the router has another address now, of which the mapping tells
        self._tell(report)

    def _tell(self, before: NatReport) -> None:
        if self._report != before:
            self._emit(NatChanged(self._report))
        if self._report.mapping != before.mapping:
            log.info("%s", self._report.sentence)

    def _look(self) -> None:
        findings, network = self._stun.findings, self.network
        mappings = self._mapper.mappings if self._mapper is not None else ()
        seen = {version: [o.mapped for o in findings.seen(version)] for version in (4, 6)}
        # Behind a hard NAT each server sees another port, of which none is better than the first.
        stun = tuple({each.host: each for each in reversed(seen[4] + seen[6])}.values())[-3:]
        observed = self._observed.confirmed(stun, self._loop.time())
        mapped = [m.external for m in mappings if m.external is not None]
        public = next(iter(seen[4]), None)
        forwarded = [*self._announced.addresses, *mapped]
        self._candidates = best_first(self._local_candidates(), stun, observed, forwarded)
        self._report = NatReport(
            port=self._endpoint.port,
            online=bool(network.routes or findings.observations),
            stun_asked=self._stun.asked if self._stun_servers else None,
            udp_works=self._udp_works(),
            mapping=self._mapping(),
            filtering=findings.filtering,
            hairpin=findings.hairpin,
            public_ipv4=public,
            public_ipv6=next(iter(seen[6]), None),
            behind_carrier=_behind_carrier(mapped, public),
            port_mappings=mappings,
            stun=tuple(findings.answers),
            announced=self._announced.addresses,
            lan_only=self._config.lan_only,
            missing=self._endpoint.missing,
            has_address=any(not each.ip.is_loopback for each in network.addresses),
            asking=self._stun.asking,
            old=self._stun.old,
        )
        if self._report.mapping != "unknown" or self._stun.asked or not self._stun_servers:
            self._reported.set()

    def _udp_works(self) -> bool | None:
        if self._stun.findings.observations:
            return True
        return False if self._stun.asked else None

    def _mapping(self) -> Mapping:
        """As the STUN servers see it; where only one answered, peers may be the second witness."""
        seen = self._stun.findings.seen(4)
        mapping = mapping_of(seen, self._own_addresses())
        if mapping != "unknown" or not seen:
            return mapping
        peers = self._observed.agree_with(seen[0].mapped)
        witnesses = [Observation(HostPort(host, 0), seen[0].mapped) for host in peers]
        return mapping_of([*seen, *witnesses], self._own_addresses())


def _behind_carrier(mapped: list[HostPort], public: HostPort | None) -> bool | None:
    """Whether the router's own address is not the one that the internet sees."""
    routers = [each for each in mapped if ":" not in each.host]
    if not routers:
        return None
    if public is None:
        return True if not is_public(routers[0].host) else None
    return routers[0].host != public.host
