"""Keeps our UDP port mapped at the router, by the best protocol that it speaks.

PCP before NAT-PMP before UPnP: the first two are one datagram each way, and PCP knows IPv6. All are
asked at once, so that a router with the last one only does not wait for silence on the others.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Sequence

from hdpd.backoff import Backoff
from hdpd.config import HostPort
from hdpd.errors import HdpdError, TimedOut
from hdpd.nat.gateway import Granted, PcpWay, PmpWay, Way
from hdpd.nat.report import MappingState, PortMapping
from hdpd.nat.routes import DefaultRoute
from hdpd.nat.scopes import is_public
from hdpd.nat.upnp import UpnpWay
from hdpd.nat.watch import Network
from hdpd.tasks import keep_running

log = logging.getLogger(__name__)

# A router that restarted, came late or was set up to it has to be noticed within two minutes. An
# owner who is told of an open port relies on it; the questions cost a few datagrams on the LAN.
CHECK_S = 50.0  # of what is mapped
RETRY = Backoff(10.0, 80.0)  # where nothing is
VERIFY_S = 2.0  # for a look on request
FRESH_S = 0.5  # a look so long ago is as good as one now
SHORTEST_S = 20.0  # a router that grants a second only is not asked twice a second
UNMAP_S = 2.0
MAX_IPV6 = 2  # addresses that get a hole in the firewall


class PortMapper:
    """`mappings` says how far each protocol came; `on_change` is called when that changes."""

    def __init__(self, nonce: bytes, on_change: Callable[[], None]) -> None:
        """`nonce` is 12 bytes that stay the same for this peer, over restarts too."""
        self._nonce = nonce
        self._on_change = on_change
        self._doors: list[_Door] = []

    @property
    def mappings(self) -> tuple[PortMapping, ...]:
        return tuple(mapping for door in self._doors for mapping in door.mappings)

    def map(self, network: Network, hosts: Sequence[str], port: int) -> None:
        """Maps `port` at the routers of this network, on which we have the addresses `hosts`;
        again where it is mapped already.
        """
        wanted = self._wanted(network, hosts)
        for door in self._doors:
            if (door.own, door.route) in wanted:
                wanted.remove((door.own, door.route))
                door.try_now()
            else:
                door.stop()
        self._doors = [door for door in self._doors if not door.stopped]
        for own, route in wanted:
            assert route.gateway is not None
            ways: list[Way] = [PcpWay(own, route.gateway, self._nonce)]
            if ":" not in own:
                ways.append(PmpWay(own, route.gateway))
            ways.append(UpnpWay(own, route.gateway, route.interface))
            self._doors.append(_Door(own, route, port, ways, self._on_change))

    async def verify(self) -> None:
        """Looks whether what is said to be mapped still is; takes two seconds at most."""
        looks = [asyncio.create_task(door.verify()) for door in self._doors]
        if looks:
            await asyncio.wait(looks, timeout=VERIFY_S)
            for look in looks:
                look.cancel()
            await asyncio.gather(*looks, return_exceptions=True)

    def announced(self, router: str) -> None:
        """The router says that it has restarted (RFC 6886, 3.2.1; RFC 6887, 14.1)."""
        for door in self._doors:
            if door.route.gateway == router:
                door.try_now()

    @staticmethod
    def _wanted(network: Network, hosts: Sequence[str]) -> list[tuple[str, DefaultRoute]]:
        """Our addresses that are behind a router which could map them, each with the way there."""
        wanted: list[tuple[str, DefaultRoute]] = []
        route = network.route(4)
        if route is not None and route.gateway is not None:
            own = next((h for h in hosts if h == _source_towards(route.gateway)), "")
            if own and not is_public(own):
                wanted.append((own, route))
        route = network.route(6)
        if route is not None and route.gateway is not None:
            public = [each for each in hosts if ":" in each and is_public(each)]
            wanted += [(own, route) for own in public[:MAX_IPV6]]
        return wanted

    async def close(self) -> None:
        """Ends all mappings, as far as the routers answer within two seconds."""
        await asyncio.gather(*(door.close() for door in self._doors), return_exceptions=True)
        self._doors = []


class _Door:
    """The mapping for one address of ours at one router."""

    def __init__(
        self,
        own: str,
        route: DefaultRoute,
        port: int,
        ways: Sequence[Way],
        on_change: Callable[[], None],
    ) -> None:
        self.own = own
        self.route = route
        self.stopped = False
        self._port = port
        self._ways = ways
        self._on_change = on_change
        self._states = {way: PortMapping(way.protocol, ":" in own, "asking") for way in ways}
        self._mapped: Way | None = None
        self._again = asyncio.Event()
        self._looked = asyncio.Event()
        self._looked_at = float("-inf")
        self._loop = asyncio.get_running_loop()
        self._task = keep_running(self._run, "port mapping")

    @property
    def mappings(self) -> tuple[PortMapping, ...]:
        return tuple(self._states.values())

    def try_now(self) -> None:
        """The router may have changed: asks it again."""
        self._again.set()

    def stop(self) -> None:
        """We are not on that network any more; what was mapped there ends by itself."""
        self.stopped = True
        self._task.cancel()

    async def close(self) -> None:
        self.stop()
        await asyncio.gather(self._task, return_exceptions=True)
        async with asyncio.timeout(UNMAP_S):
            await asyncio.gather(*(way.unmap() for way in self._ways))

    async def verify(self) -> None:
        """Returns when it was looked whether the mapping stands."""
        if self._mapped is None or self._loop.time() - self._looked_at < FRESH_S:
            return
        self._looked.clear()
        self.try_now()
        await self._looked.wait()

    async def _run(self) -> None:
        failures = 0
        while True:
            self._again.clear()
            granted = await self._map()
            self._note_look()
            if granted is not None:
                failures = 0
                await self._keep(granted)
            elif not self._again.is_set():
                await self._pause(RETRY.delay(failures))
                failures += 1

    async def _keep(self, granted: Granted) -> None:
        """Returns when the mapping is lost."""
        assert self._mapped is not None
        kept: Granted | None = granted
        while kept is not None:
            # At half of its life, as the RFCs have it.
            half = self._loop.time() + max(kept.lifetime / 2, SHORTEST_S)
            while kept is not None and self._loop.time() < half:
                wait = min(CHECK_S, half - self._loop.time())
                await self._pause(wait * random.uniform(0.8, 1.0))  # noqa: S311 (spreads load)
                self._again.clear()
                kept = await self._try(self._mapped, self._mapped.check(self._port, kept))
                self._note_look()
            if kept is not None:
                kept = await self._try(self._mapped, self._mapped.map(self._port, kept.external))
        self._mapped = None

    def _note_look(self) -> None:
        self._looked_at = self._loop.time()
        self._looked.set()

    async def _map(self) -> Granted | None:
        """Tries the protocols in order, having asked all of them whether they are spoken."""
        loop = asyncio.get_running_loop()
        spoken = {way: loop.create_task(way.is_spoken()) for way in self._ways}
        granted: Granted | None = None
        try:
            for way, answer in spoken.items():
                if not await answer:
                    self._note(way, "absent")
                elif granted is not None:
                    self._note(way, "answers")
                else:
                    granted = await self._try(way, way.map(self._port, None))
        finally:
            for answer in spoken.values():
                answer.cancel()
            await asyncio.gather(*spoken.values(), return_exceptions=True)
        return granted

    async def _try(self, way: Way, asked: Awaitable[Granted]) -> Granted | None:
        try:
            granted = await asked
        except TimedOut:
            self._note(way, "absent")
            return None
        except HdpdError as error:
            log.info("the router did not map the port by %s: %s", way.protocol, error.message)
            self._note(way, "refused", error=error.message)
            return None
        self._mapped = way
        self._note(way, "mapped", granted.external)
        return granted

    def _note(
        self,
        way: Way,
        state: MappingState,
        external: HostPort | None = None,
        error: str | None = None,
    ) -> None:
        mapping = PortMapping(way.protocol, ":" in self.own, state, external, error)
        if self._states[way] == mapping:
            return
        if mapping.external is not None:
            log.info("the router forwards %s to us (%s)", mapping.external, way.protocol)
        self._states[way] = mapping
        self._on_change()

    async def _pause(self, seconds: float) -> None:
        """Sleeps until then or until `try_now`."""
        try:
            async with asyncio.timeout(seconds):
                await self._again.wait()
        except TimeoutError:
            return


def _source_towards(host: str) -> str:
    """The address of ours from which packets to `host` go; empty when there is no way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return ""
        own: str = probe.getsockname()[0]
        return own
