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
from hdpd.link.sockets import UdpSocket
from hdpd.nat.candidates import best_first, local_candidates
from hdpd.nat.classify import Observation, mapping_of
from hdpd.nat.observed import ObservedAddresses
from hdpd.nat.pcp import NONCE_BYTES
from hdpd.nat.port_mapper import PortMapper
from hdpd.nat.report import Mapping, NatReport
from hdpd.nat.scopes import is_public
from hdpd.nat.stun_watch import StunWatch
from hdpd.nat.watch import NetworkWatch

Emit = Callable[[str, dict[str, object]], None]

log = logging.getLogger(__name__)

FIRST_REPORT_S = 1.5


class Nat:
    """`on_candidates_changed` is called when what others should be told has changed,
    `on_network_changed` when addresses or routes of this machine did.
    """

    def __init__(self, endpoint: Endpoint, config: Config, emit: Emit) -> None:
        self.on_candidates_changed: Callable[[], None] = lambda: None
        self.on_network_changed: Callable[[], None] = lambda: None
        self._endpoint = endpoint
        self._config = config
        self._emit = emit
        self._observed = ObservedAddresses()
        self._watch = NetworkWatch(self._network_changed)
        self._stun = StunWatch(endpoint, config.stun_servers, self._update)
        # The same after a restart, so that a router knows us again; tells nothing of the key.
        nonce = derive_key(endpoint.identity.seed, PCP_NONCE, NONCE_BYTES)
        self._mapper = PortMapper(nonce, self._update) if config.port_mapping else None
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
        self._begin()
        self._stun.start()

    async def close(self) -> None:
        """Removes the port mappings, within two seconds."""
        self._watch.close()
        await asyncio.gather(
            self._stun.close(), *([self._mapper.close()] if self._mapper is not None else [])
        )

    def report(self) -> NatReport:
        """What is known now."""
        return self._report

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

    def _network_changed(self) -> None:
        log.info("the network changed")
        self.network_changed()
        self._look()
        self.on_network_changed()

    def _begin(self) -> None:
        self._stun.network_changed(self._own_addresses())
        self._map_port()

    def _map_port(self) -> None:
        if self._mapper is not None:
            hosts = [each.host for each in self._local_candidates()]
            self._mapper.map(self._watch.network, hosts, self._endpoint.ports[0])

    # Putting it together.

    def _own_addresses(self) -> list[HostPort]:
        return [HostPort(each.host, each.port) for each in self._local_candidates()]

    def _local_candidates(self) -> tuple[Candidate, ...]:
        hosts = self._endpoint.bound_hosts or (None,)
        bound = list(zip(hosts, self._endpoint.ports, strict=True))
        return local_candidates(self._watch.network.addresses, bound)

    def _update(self) -> None:
        """Something was found out: tells whom it concerns when it makes a difference."""
        candidates, report = self._candidates, self._report
        self._look()
        if self._candidates != candidates:
            self.on_candidates_changed()
        before, now = report.public_ipv4, self._report.public_ipv4
        if before is not None and now is not None and before.host != now.host:
            self._map_port()  # the router has another address now, of which the mapping tells
        if self._report != report:
            self._emit("nat.changed", self._report.to_json())
        if self._report.mapping != report.mapping:
            log.info("%s", self._report.sentence)

    def _look(self) -> None:
        findings = self._stun.findings
        mappings = self._mapper.mappings if self._mapper is not None else ()
        seen = {version: [o.mapped for o in findings.seen(version)] for version in (4, 6)}
        # Behind a hard NAT each server sees another port, of which none is better than the first.
        stun = tuple({each.host: each for each in reversed(seen[4] + seen[6])}.values())[-3:]
        observed = self._observed.confirmed(stun, self._loop.time())
        mapped = [m.external for m in mappings if m.external is not None]
        public = next(iter(seen[4]), None)
        self._candidates = best_first(self._local_candidates(), stun, observed, mapped)
        self._report = NatReport(
            port=self._endpoint.ports[0],
            online=bool(self._watch.network.routes or findings.observations),
            stun_asked=self._stun.asked if self._config.stun_servers else None,
            udp_works=self._udp_works(),
            mapping=self._mapping(),
            filtering=findings.filtering,
            hairpin=findings.hairpin,
            public_ipv4=public,
            public_ipv6=next(iter(seen[6]), None),
            behind_carrier=_behind_carrier(mapped, public),
            port_mappings=mappings,
            stun=tuple(findings.answers),
        )
        if self._report.mapping != "unknown" or self._stun.asked or not self._config.stun_servers:
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
