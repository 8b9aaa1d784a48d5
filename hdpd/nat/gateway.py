"""Asking the router for a mapping by PCP and NAT-PMP: the shell around the two codecs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar

from msgspec import Struct

from hdpd.config import HostPort
from hdpd.errors import ProtocolError, TimedOut
from hdpd.nat import natpmp, pcp
from hdpd.nat.report import MappingProtocol

T = TypeVar("T")

# Seconds between sending, again, and giving up. The RFCs are more patient (from 0.25 s or 3 s up to
# minutes), but a router that does not answer in a second on the LAN does not speak the protocol.
RETRANSMIT_S = (0.1, 0.25, 0.65)
LIFETIME_S = 3600  # asked for; renewed at half of what is granted
WAITING_ANSWERS = 8  # from the router alone, since the socket is connected


class Granted(Struct, frozen=True):
    """The router forwards `external` to us for `lifetime` seconds."""

    external: HostPort
    lifetime: float


class Way(Protocol):
    """One protocol towards one router, for one port of ours."""

    protocol: MappingProtocol

    async def is_spoken(self) -> bool:
        """Whether the router answers at all; within a few seconds."""

    async def map(self, port: int, suggested: HostPort | None) -> Granted:
        """Maps or renews; raises ProtocolError or TimedOut."""

    async def check(self, port: int, granted: Granted) -> Granted:
        """Whether what was granted still stands, and until when; as cheap as a datagram or a small
        request. Raises as `map`.
        """

    async def unmap(self) -> None:
        """Ends what `map` made, as far as that succeeds within two seconds, and all else that was
        begun; nothing where nothing was.
        """


class _Answers(asyncio.DatagramProtocol):
    """What arrives on a socket, bounded."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(WAITING_ANSWERS)

    def datagram_received(self, data: bytes, addr: object) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self.queue.put_nowait(data)


async def _ask(
    own: str, gateway: HostPort, request: bytes, parse: Callable[[bytes], T | None]
) -> T:
    """The first answer that `parse` knows; what it raises is raised.

    Raises:
        TimedOut: nothing came within a second, or there is no way to the router.
    """
    async with _connected(own, gateway) as (transport, queue):
        for pause in RETRANSMIT_S:
            transport.sendto(request)
            try:
                async with asyncio.timeout(pause):
                    while True:
                        found = parse(await queue.get())
                        if found is not None:
                            return found
            except TimeoutError:
                continue
    raise TimedOut("the router does not answer")


@contextlib.asynccontextmanager
async def _connected(
    own: str, gateway: HostPort
) -> AsyncIterator[tuple[asyncio.DatagramTransport, asyncio.Queue[bytes]]]:
    opened = socket.socket(socket.AF_INET6 if ":" in own else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.bind((own, 0))
        # Resolves nothing: both are literals, and only this knows the zone of fe80::1%eth0.
        target = socket.getaddrinfo(
            gateway.host, gateway.port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )[0][4]
        opened.connect(target)
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
            _Answers, sock=opened
        )
    except OSError as error:
        opened.close()
        raise TimedOut(f"no way to the router: {error.strerror}") from None
    try:
        yield transport, protocol.queue
    finally:
        transport.close()


class PcpWay:
    """PCP. The nonce has to be the same after a restart, else the router keeps our own mapping of
    before for somebody else's. For IPv6 this opens the firewall and nothing is translated.
    """

    protocol: MappingProtocol = "pcp"

    def __init__(self, own: str, gateway: str, nonce: bytes) -> None:
        self._own = own
        self._server = HostPort(gateway, pcp.SERVER_PORT)
        self._nonce = nonce
        self._port = 0
        self._epoch, self._heard_at = 0, 0.0

    async def is_spoken(self) -> bool:
        try:
            return await _ask(
                self._own, self._server, pcp.announce_request(self._own), pcp.is_answer
            )
        except TimedOut:
            return False

    async def map(self, port: int, suggested: HostPort | None) -> Granted:
        unspecified = HostPort("::" if ":" in self._own else "0.0.0.0", port)  # noqa: S104
        request = pcp.map_request(
            self._nonce, self._own, port, suggested or unspecified, LIFETIME_S
        )
        mapping = await self._ask(request, port)
        self._port = port
        self._epoch, self._heard_at = mapping.epoch, asyncio.get_running_loop().time()
        return Granted(mapping.external, mapping.lifetime)

    async def check(self, port: int, granted: Granted) -> Granted:
        """Asking for it again is the cheapest question, and mends what it finds broken. But some
        routers do not end a hole in the firewall any more that was asked for twice (miniupnpd
        2.3): there its epoch time tells whether it still knows of it.
        """
        if ":" not in self._own:
            return await self.map(port, granted.external)
        epoch = await _ask(
            self._own, self._server, pcp.announce_request(self._own), pcp.parse_epoch
        )
        now = asyncio.get_running_loop().time()
        if pcp.has_restarted(self._epoch, epoch, now - self._heard_at):
            return await self.map(port, granted.external)
        self._epoch, self._heard_at = epoch, now
        return granted

    async def unmap(self) -> None:
        if not self._port:
            return
        anything = HostPort("::" if ":" in self._own else "0.0.0.0", 0)  # noqa: S104
        request = pcp.map_request(self._nonce, self._own, self._port, anything, 0)
        with contextlib.suppress(ProtocolError, TimedOut):
            await self._ask(request, self._port)

    async def _ask(self, request: bytes, port: int) -> pcp.PcpMapping:
        return await _ask(
            self._own,
            self._server,
            request,
            lambda datagram: pcp.parse_map_answer(datagram, self._nonce, port),
        )


class PmpWay:
    """NAT-PMP, the predecessor of PCP, for IPv4."""

    protocol: MappingProtocol = "nat-pmp"

    def __init__(self, own: str, gateway: str) -> None:
        self._own = own
        self._server = HostPort(gateway, natpmp.SERVER_PORT)
        self._port = 0

    async def is_spoken(self) -> bool:
        try:
            await self._external_address()
        except ProtocolError:
            return True  # it refuses, and `map` will tell why
        except TimedOut:
            return False
        return True

    async def map(self, port: int, suggested: HostPort | None) -> Granted:
        host = await self._external_address()
        wanted = suggested.port if suggested else port
        mapping = await self._ask(natpmp.map_request(port, wanted, LIFETIME_S), port)
        self._port = port
        return Granted(HostPort(host, mapping.external_port), mapping.lifetime)

    async def check(self, port: int, granted: Granted) -> Granted:
        """Asking for it again is the cheapest question, and mends what it finds broken."""
        return await self.map(port, granted.external)

    async def unmap(self) -> None:
        if not self._port:
            return
        with contextlib.suppress(ProtocolError, TimedOut):
            await self._ask(natpmp.map_request(self._port, 0, 0), self._port)

    async def _external_address(self) -> str:
        return await _ask(
            self._own,
            self._server,
            natpmp.EXTERNAL_ADDRESS_REQUEST,
            natpmp.parse_address_answer,
        )

    async def _ask(self, request: bytes, port: int) -> natpmp.PmpMapping:
        return await _ask(
            self._own,
            self._server,
            request,
            lambda datagram: natpmp.parse_map_answer(datagram, port),
        )
