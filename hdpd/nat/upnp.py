"""UPnP: finds the internet gateway on the LAN and lets a child process talk with it.

The library for UPnP, with the HTTP client that it brings, would keep 10 MB in memory for two calls
an hour; and XML from whatever is on the LAN is better read elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape

from hdpd.config import HostPort
from hdpd.errors import ProtocolError, TimedOut
from hdpd.identity.addresses import check_port, parse_ip
from hdpd.nat.gateway import LIFETIME_S, Granted
from hdpd.nat.report import MappingProtocol
from hdpd.nat.upnp_jobs import Job, Outcome
from hdpd.nat.upnp_process import Child

SSDP_V4 = HostPort("239.255.255.250", 1900)
SSDP_V6 = HostPort("ff02::c", 1900)
DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:{version}"
# Seconds between the questions; a device answers at any time within MX seconds.
SEARCH_S = (0.3, 0.7, 1.2)
MX = 1
IDLE_S = 5.0  # a process that was started and then not needed is ended
UNMAP_S = 1.5
CHECK_S = 1.5
MAX_ANSWER_BYTES = 16_384


class UpnpWay:
    """UPnP IGD, version 1 or 2, at the gateway; for IPv6 it opens the firewall, which gateways do
    only for the address that asks it.
    """

    protocol: MappingProtocol = "upnp"

    def __init__(self, own: str, gateway: str, interface: str) -> None:
        self._own = own
        self._gateway = gateway
        self._interface = interface
        self._location: str | None = None
        self._mapped: Outcome | None = None
        self._child: Child | None = None  # started and not used yet
        self._closing: asyncio.Future[None] | None = None

    async def is_spoken(self) -> bool:
        self._location = await find_gateway(self._own, self._gateway, self._interface)
        if self._location is not None and self._child is None:
            # It needs a second to load the library, in which the other protocols may stay silent.
            self._child = Child()
            asyncio.get_running_loop().call_later(IDLE_S, self._stop, self._child)
        return self._location is not None

    async def map(self, port: int, suggested: HostPort | None) -> Granted:
        if self._location is None and not await self.is_spoken():
            raise TimedOut("the router does not answer")
        assert self._location is not None
        wanted = suggested.port if suggested else port
        child, self._child = self._child or Child(), None
        outcome = await child.run(Job(self._location, self._own, port, wanted, LIFETIME_S))
        if outcome.error is not None:
            raise ProtocolError(outcome.error)
        external = HostPort(str(parse_ip(outcome.host)), check_port(outcome.port))
        self._mapped = outcome
        # A mapping without an end, where the router knows no other, is looked after all the same.
        return Granted(external, outcome.lifetime or LIFETIME_S)

    async def check(self, port: int, granted: Granted) -> Granted:
        """Asks for the entry itself; where it is gone, or the router answers elsewhere now, the
        router is looked for anew at the next `map`.
        """
        mapped = self._mapped
        assert mapped is not None
        try:
            async with asyncio.timeout(CHECK_S):
                answer = await _call(mapped.control_url, check_request(mapped), self._own)
        except (OSError, TimeoutError, ValueError):
            self._location = None
            raise TimedOut("the router does not answer") from None
        if not _is_ours(answer, mapped, self._own):
            self._location = None
            raise ProtocolError("it has forgotten the mapping")
        return granted

    async def unmap(self) -> None:
        if self._child is not None:
            await self._child.close()
        mapped = self._mapped
        if mapped is None or self._location is None:
            return
        if urlsplit(mapped.control_url).hostname != urlsplit(self._location).hostname:
            return
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(UNMAP_S):
                await _call(mapped.control_url, unmap_request(mapped), self._own)

    def _stop(self, child: Child) -> None:
        if self._child is child:
            self._child = None
            self._closing = asyncio.ensure_future(child.close())


class _Search(asyncio.DatagramProtocol):
    def __init__(self, own: str, gateway: str) -> None:
        self.found: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._own = own
        self._gateway = gateway

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        # Whoever answers must be the gateway itself, and say where on it: nobody else on the LAN
        # can make us fetch things.
        location = parse_search_answer(data)
        if location is None or self.found.done() or not self._is_gateway(addr[0]):
            return
        if urlsplit(location).hostname == addr[0]:
            self.found.set_result(location)

    def _is_gateway(self, host: str) -> bool:
        """By IPv6 the route has the gateway's link-local address, and it answers with another."""
        if ":" not in host:
            return host == self._gateway
        return ipaddress.ip_address(host) in ipaddress.ip_network(f"{self._own}/64", strict=False)


def parse_search_answer(datagram: bytes) -> str | None:
    """The LOCATION of an answer to a search for gateways; None when it is something else."""
    lines = datagram[:2048].decode("ascii", "replace").split("\r\n")
    if not lines[0].startswith("HTTP/1.1 200") or "InternetGatewayDevice" not in "".join(lines):
        return None
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == "location" and value.strip().startswith("http://"):
            return value.strip()
    return None


async def find_gateway(own: str, gateway: str, interface: str) -> str | None:
    """Where the description of the UPnP device at `gateway` is, asked from our address `own` on
    `interface`; None when it does not answer within 2.2 s.
    """
    group = SSDP_V6 if ":" in own else SSDP_V4
    try:
        opened, target = _multicast_socket(own, group, interface)
    except OSError:
        return None
    loop = asyncio.get_running_loop()
    transport, search = await loop.create_datagram_endpoint(
        lambda: _Search(own, gateway), sock=opened
    )
    try:
        for pause in SEARCH_S:
            for version in (1, 2):
                transport.sendto(_search_request(group, version), target)
            done, _ = await asyncio.wait([search.found], timeout=pause)
            if done:
                return search.found.result()
        return None
    finally:
        search.found.cancel()
        transport.close()


def _multicast_socket(
    own: str, group: HostPort, interface: str
) -> tuple[socket.socket, tuple[str, int] | tuple[str, int, int, int]]:
    """A socket on our address whose multicasts leave there, and the group's address; OSError."""
    is_ipv6 = ":" in own
    opened = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.bind((own, 0))
        if not is_ipv6:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
            return opened, (group.host, group.port)
        index = socket.if_nametoindex(interface)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    except OSError:
        opened.close()
        raise
    return opened, (group.host, group.port, 0, index)


def _search_request(group: HostPort, version: int) -> bytes:
    return (
        "M-SEARCH * HTTP/1.1\r\n"
        f"HOST: {group}\r\n"
        'MAN: "ssdp:discover"\r\n'
        f"MX: {MX}\r\n"
        f"ST: {DEVICE.format(version=version)}\r\n\r\n"
    ).encode()


def unmap_request(mapped: Outcome) -> bytes:
    """The HTTP request that ends a mapping. It is written here, in full, because at the end of the
    program there is no time to start another one.
    """
    if mapped.pinhole is None:
        return _request(mapped, "DeletePortMapping", _entry(mapped))
    return _request(mapped, "DeletePinhole", f"<UniqueID>{mapped.pinhole}</UniqueID>")


def check_request(mapped: Outcome) -> bytes:
    """The HTTP request that asks for a mapping, or prolongs a hole in the firewall; a program for
    it each minute would cost a second of the processor.
    """
    if mapped.pinhole is None:
        return _request(mapped, "GetSpecificPortMappingEntry", _entry(mapped))
    lease = f"<UniqueID>{mapped.pinhole}</UniqueID><NewLeaseTime>{LIFETIME_S}</NewLeaseTime>"
    return _request(mapped, "UpdatePinhole", lease)


def _is_ours(answer: bytes, mapped: Outcome, own: str) -> bool:
    status, _, rest = answer.partition(b"\r\n")
    if b" 200" not in status:
        return False
    return mapped.pinhole is not None or f">{own}<".encode() in rest


def _entry(mapped: Outcome) -> str:
    return (
        "<NewRemoteHost></NewRemoteHost>"
        f"<NewExternalPort>{mapped.port}</NewExternalPort><NewProtocol>UDP</NewProtocol>"
    )


def _request(mapped: Outcome, name: str, arguments: str) -> bytes:
    service = escape(mapped.service, {'"': "&quot;", "\r": "", "\n": ""})
    body = (
        '<?xml version="1.0"?>'
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f'<u:{name} xmlns:u="{service}">{arguments}</u:{name}></s:Body></s:Envelope>'
    ).encode()
    url = urlsplit(mapped.control_url)
    target = url.path + (f"?{url.query}" if url.query else "")
    head = (
        f"POST {quote(target, safe='/?&=%')} HTTP/1.1\r\n"
        f"Host: {url.netloc}\r\n"
        'Content-Type: text/xml; charset="utf-8"\r\n'
        f'SOAPAction: "{service}#{name}"\r\n'
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


async def _call(url: str, request: bytes, own: str) -> bytes:
    """Sends the request from our address `own`; the answer, as far as it is of a sane length."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or 80, local_addr=(own, 0)
    )
    try:
        writer.write(request)
        await writer.drain()
        answer = b""
        while len(answer) < MAX_ANSWER_BYTES and (more := await reader.read(4096)):
            answer += more
        return answer
    finally:
        writer.close()
