"""mDNS (RFC 6762) and DNS-SD (RFC 6763) on the local network; the only file that knows zeroconf.

The advert is `RANDOM._hdp._udp.local.` on the host `RANDOM.local.`, with this machine's addresses,
the UDP port and the slots of `advert.py`. Its labels are random and new at each start and each
change of the network, so they need no probing (RFC 6762, 8.1 lets one skip it where uniqueness is
otherwise certain): an advert is out within milliseconds and complete in its first packet.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from msgspec import Struct
from zeroconf import (
    IPVersion,
    NonUniqueNameException,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from hdpd.discovery.advert import SLOTS, open_slots, seal_slots
from hdpd.discovery.records import Candidate
from hdpd.discovery.status import MdnsStatus
from hdpd.errors import ProtocolError
from hdpd.identity.keys import PeerId
from hdpd.identity.topics import Topic
from hdpd.link.interfaces import InterfaceAddress, interface_addresses
from hdpd.recent import Recent
from hdpd.tasks import keep_running

SERVICE_TYPE: Final = "_hdp._udp.local."

# How often the interfaces are looked at, which takes a fraction of a millisecond.
POLL_S: Final = 5.0
# With more than eight topics, each advert shows the next eight.
ROTATION_S: Final = 10.0
RESOLVE_MS: Final = 3000
GOODBYE_S: Final = 1.0

# Anybody on the network can make up adverts. One costs about 1 KiB here; the oldest go first.
MAX_ADVERTS: Final = 1024
MAX_RESOLVING: Final = 32
MAX_ADDRESSES: Final = 12
# The kernel lets a socket hear 20 groups (igmp_max_memberships); the best places come first.
MAX_PLACES: Final = 20

_LABEL_BYTES: Final = 8

log = logging.getLogger(__name__)


class MdnsSighting(Struct, frozen=True):
    """A peer on this network, the public ids of our topics for which it is there, and where."""

    peer_id: PeerId
    topic_ids: tuple[bytes, ...]
    candidates: tuple[Candidate, ...]


class Mdns:
    """Advertises this peer and reports others; works as soon and as long as any interface does."""

    def __init__(
        self,
        peer_id: PeerId,
        on_seen: Callable[[MdnsSighting], None],
        random_bytes: Callable[[int], bytes] = os.urandom,
        addresses: Callable[[], Sequence[InterfaceAddress]] = interface_addresses,
    ) -> None:
        """`addresses` gives those of this machine to be found at, the best first; nothing is sent
        or heard elsewhere.
        """
        self._peer_id = peer_id
        self._on_seen = on_seen
        self._random_bytes = random_bytes
        self._interface_addresses = addresses
        self._topics: tuple[Topic, ...] = ()
        self._port = 0
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._advert: AsyncServiceInfo | None = None
        self._addresses: tuple[InterfaceAddress, ...] = ()
        self._rotation = 0
        self._adverts = Recent[str, AsyncServiceInfo](MAX_ADVERTS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._resolving = 0
        self._lock = asyncio.Lock()
        self._error: str | None = None

    async def start(self, port: int) -> None:
        """Browses and advertises the UDP `port`; without any interface, as soon as there is one."""
        self._port = port
        # Its warnings are tracebacks about interfaces without multicast, which are nothing unusual.
        logging.getLogger("zeroconf").setLevel(logging.ERROR)
        await self.network_changed()
        self._tasks.add(keep_running(self._poll, "mDNS addresses"))
        self._tasks.add(keep_running(self._rotate, "mDNS slots"))

    def set_topics(self, topics: tuple[Topic, ...]) -> None:
        """Advertises for these topics from now on, and looks again at what was seen before."""
        self._topics = topics
        self._rotation = 0
        self._spawn(self._readvertise())
        for name in list(self._adverts):
            self._look(name)

    async def network_changed(self) -> None:
        """Follows the interfaces as they are now, under new labels. Never raises."""
        await self._follow(afresh=True)

    def inside_changed(self) -> None:
        """Follows containers' networks that came or went; for all others nothing has changed."""
        if self._own_addresses() != self._addresses:
            self._spawn(self._follow(afresh=self._moved()))

    async def _follow(self, *, afresh: bool) -> None:
        async with self._lock:
            self._addresses = self._own_addresses()
            try:
                if afresh or self._advert is None:
                    await self._withdraw()
                    await self._listen()
                    await self._advertise()
                else:
                    await self._listen()
                    await self._update_advert()
                self._error = None
            # zeroconf raises RuntimeError when the last interface vanishes at the wrong moment.
            except (OSError, RuntimeError, NonUniqueNameException) as error:
                before, self._error = self._error, getattr(error, "strerror", None) or str(error)
                if self._error != before:
                    log.info("mDNS does not work now and is tried again: %s", self._error)

    def status(self) -> MdnsStatus:
        """Whether others can see us, and we them."""
        return MdnsStatus(
            advertised=self._advert is not None, adverts=len(self._adverts), error=self._error
        )

    async def close(self) -> None:
        """Says goodbye and frees the sockets."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._lock:
            await self._withdraw()
            if self._browser is not None:
                await self._browser.async_cancel()
                self._browser = None
            if self._zeroconf is not None:
                await self._zeroconf.async_close()
                self._zeroconf = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Advertising

    async def _listen(self) -> None:
        """Sockets on every interface, and a browser, before the first advert goes out."""
        if not self._addresses:
            raise OSError("no network interface that hdpd uses has an address")
        if self._zeroconf is None:
            zeroconf = AsyncZeroconf(interfaces=self._places(), ip_version=IPVersion.All)
            await zeroconf.zeroconf.async_wait_for_start()
            self._zeroconf = zeroconf
            self._browser = AsyncServiceBrowser(
                zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._changed]
            )
        else:
            await self._zeroconf.async_update_interfaces(self._places())

    def _places(self) -> list[str | int | tuple[tuple[str, int, int], int]]:
        """As zeroconf wants them: an IPv4 address, or the number of an interface for IPv6."""
        places: dict[str | int | tuple[tuple[str, int, int], int], None] = {}
        for each in self._addresses:
            if each.ip.version == 4:
                places[each.host] = None
            else:
                with suppress(OSError):  # it has just gone
                    places[socket.if_nametoindex(each.interface)] = None
        return list(places)[:MAX_PLACES]

    def _own_addresses(self) -> tuple[InterfaceAddress, ...]:
        """Loopback ones only where there are no others."""
        addresses = tuple(self._interface_addresses())
        return tuple(each for each in addresses if not each.ip.is_loopback) or addresses

    async def _advertise(self) -> None:
        if self._zeroconf is None:
            return
        label = self._random_bytes(_LABEL_BYTES).hex()
        self._advert = self._new_advert(f"{label}.{SERVICE_TYPE}", self._random_host())
        # The awaitable that this returns is done when all repetitions have been sent.
        register = self._zeroconf.async_register_service
        self._repeat(await register(self._advert, cooperating_responders=True))

    async def _readvertise(self) -> None:
        """The same advert with new slots."""
        async with self._lock:
            await self._update_advert()

    async def _update_advert(self) -> None:
        if self._zeroconf is None or self._advert is None or self._advert.server is None:
            return
        self._advert = self._new_advert(self._advert.name, self._advert.server)
        self._repeat(await self._zeroconf.async_update_service(self._advert))

    async def _withdraw(self) -> None:
        if self._zeroconf is None or self._advert is None:
            return
        goodbye = await self._zeroconf.async_unregister_service(self._advert)
        self._advert = None
        with suppress(TimeoutError):
            await asyncio.wait_for(goodbye, GOODBYE_S)

    def _repeat(self, broadcast: Any) -> None:
        self._tasks.add(broadcast)
        broadcast.add_done_callback(self._tasks.discard)

    def _random_host(self) -> str:
        return f"{self._random_bytes(_LABEL_BYTES).hex()}.local."

    def _new_advert(self, name: str, host: str) -> AsyncServiceInfo:
        count = len(self._topics)
        shown = [
            self._topics[(self._rotation + index) % count] for index in range(min(SLOTS, count))
        ]
        return AsyncServiceInfo(
            SERVICE_TYPE,
            name,
            port=self._port,
            properties=seal_slots(self._peer_id, shown, self._random_bytes),
            server=host,
            parsed_addresses=list(dict.fromkeys(a.host for a in self._addresses))[:MAX_ADDRESSES],
        )

    async def _rotate(self) -> None:
        while True:
            await asyncio.sleep(ROTATION_S)
            if len(self._topics) > SLOTS:
                self._rotation = (self._rotation + SLOTS) % len(self._topics)
                await self._readvertise()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            if self._error is not None or self._own_addresses() != self._addresses:
                await self._follow(afresh=self._error is not None or self._moved())

    def _moved(self) -> bool:
        """Whether more than containers' networks came or went."""
        before, now = self._addresses, self._own_addresses()
        return {a for a in before if not a.of_guests} != {a for a in now if not a.of_guests}

    # Seeing others

    def _changed(
        self,
        zeroconf: Zeroconf,
        service_type: str,
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        if self._advert is not None and name == self._advert.name:
            return
        if state_change is ServiceStateChange.Removed:
            self._adverts.pop(name)
            return
        advert = AsyncServiceInfo(service_type, name)
        if advert.load_from_cache(zeroconf):
            self._remember(name, advert)
        elif self._resolving < MAX_RESOLVING:
            self._spawn(self._resolve(zeroconf, name, advert))

    async def _resolve(self, zeroconf: Zeroconf, name: str, advert: AsyncServiceInfo) -> None:
        """Asks for what the packet did not hold."""
        self._resolving += 1
        try:
            if await advert.async_request(zeroconf, RESOLVE_MS):
                self._remember(name, advert)
        finally:
            self._resolving -= 1

    def _remember(self, name: str, advert: AsyncServiceInfo) -> None:
        self._adverts.put(name, advert)
        self._look(name)

    def _look(self, name: str) -> None:
        advert = self._adverts[name]
        try:
            found = open_slots(advert.properties, self._topics)
        except ProtocolError as error:
            log.debug("an mDNS advert is not acceptable: %s", error)
            return
        candidates = _candidates(advert)
        for peer_id, topic_ids in found.items():
            if candidates and (peer_id != self._peer_id or self._is_elsewhere(candidates)):
                self._on_seen(MdnsSighting(peer_id, topic_ids, candidates))

    def _is_elsewhere(self, candidates: tuple[Candidate, ...]) -> bool:
        """Whether an advert with our own peer id is of another machine, and none of our older
        ones.
        """
        own = {each.host for each in interface_addresses()}
        return all(each.host.partition("%")[0] not in own for each in candidates)


def _candidates(advert: AsyncServiceInfo) -> tuple[Candidate, ...]:
    """The acceptable addresses of an advert; loopback ones only where there are no others."""
    candidates = []
    for host in itertools.islice(advert.parsed_scoped_addresses(), MAX_ADDRESSES):
        with suppress(ProtocolError):
            candidates.append(Candidate(host, advert.port or 0, "local"))
    remote = [each for each in candidates if not _is_loopback(each.host)]
    return tuple(remote or candidates)


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback
