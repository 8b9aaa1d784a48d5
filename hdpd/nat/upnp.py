"""UPnP: finds the internet gateway on the LAN and lets a child process talk with it.

The library for UPnP, with the HTTP client that it brings, would double what hdpd keeps in memory
for a few calls an hour; and XML from whatever is on the LAN is better read elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

import hdpd
from hdpd.config import HostPort
from hdpd.errors import ProtocolError, TimedOut
from hdpd.identity.addresses import check_port, parse_ip
from hdpd.nat.gateway import LIFETIME_S, Granted
from hdpd.nat.report import MappingProtocol
from hdpd.nat.upnp_jobs import Job, Outcome

SSDP = HostPort("239.255.255.250", 1900)
DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:{version}"
# Seconds between the questions; a device answers at any time within MX seconds.
SEARCH_S = (0.3, 0.7, 1.2)
MX = 1
CHILD_S = 10.0
UNMAP_S = 1.5
MAX_OUTCOME_BYTES = 16 * 1024


class UpnpWay:
    """UPnP IGD, version 1 or 2, at the gateway; for IPv6 it opens the firewall."""

    protocol: MappingProtocol = "upnp"

    def __init__(self, own: str, gateway: str, search_from: str) -> None:
        """`search_from` is our IPv4 address on the LAN of the gateway, whose IPv4 address or IPv6
        address `gateway` is.
        """
        self._own = own
        self._search_from = search_from
        self._gateway = gateway
        self._location: str | None = None
        self._mapped: Job | None = None

    async def is_spoken(self) -> bool:
        self._location = await find_gateway(self._search_from, self._gateway)
        return self._location is not None

    async def map(self, port: int, suggested: HostPort | None) -> Granted:
        if self._location is None and not await self.is_spoken():
            raise TimedOut("the router does not answer")
        assert self._location is not None
        wanted = suggested.port if suggested else port
        job = Job("map", self._location, self._own, port, wanted, LIFETIME_S)
        outcome = await _run_child(job, CHILD_S)
        if outcome.error is not None:
            raise ProtocolError(outcome.error)
        external = HostPort(str(parse_ip(outcome.host)), check_port(outcome.port))
        self._mapped = msgspec.structs.replace(
            job, operation="unmap", external_port=external.port, pinhole=outcome.pinhole
        )
        # A mapping without an end, where the router knows no other, is looked after all the same.
        return Granted(external, outcome.lifetime or LIFETIME_S)

    async def unmap(self) -> None:
        if self._mapped is not None:
            with contextlib.suppress(ProtocolError, TimedOut):
                await _run_child(self._mapped, UNMAP_S)


class _Search(asyncio.DatagramProtocol):
    def __init__(self, gateway: str) -> None:
        self.found: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._gateway = gateway

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        location = parse_search_answer(data)
        # Whoever answers must be the gateway itself, and say where on it: nobody else on the LAN
        # can make us fetch things.
        if location is None or addr[0] != self._gateway or self.found.done():
            return
        if urlsplit(location).hostname == addr[0]:
            self.found.set_result(location)


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


async def find_gateway(own: str, gateway: str) -> str | None:
    """Where the description of the UPnP device at `gateway` is, asked from our address `own`; None
    when it does not answer within 2.2 s.
    """
    loop = asyncio.get_running_loop()
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
        opened.bind((own, 0))
    except OSError:
        opened.close()
        return None
    transport, search = await loop.create_datagram_endpoint(lambda: _Search(gateway), sock=opened)
    try:
        for pause in SEARCH_S:
            for version in (1, 2):
                transport.sendto(_search_request(version), (SSDP.host, SSDP.port))
            done, _ = await asyncio.wait([search.found], timeout=pause)
            if done:
                return search.found.result()
        return None
    finally:
        search.found.cancel()
        transport.close()


def _search_request(version: int) -> bytes:
    return (
        "M-SEARCH * HTTP/1.1\r\n"
        f"HOST: {SSDP}\r\n"
        'MAN: "ssdp:discover"\r\n'
        f"MX: {MX}\r\n"
        f"ST: {DEVICE.format(version=version)}\r\n\r\n"
    ).encode()


async def _run_child(job: Job, timeout: float) -> Outcome:
    """What `hdpd.nat.upnp_child` says about the job; raises TimedOut, ProtocolError."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "hdpd.nat.upnp_child"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(),
            limit=MAX_OUTCOME_BYTES,
        )
    except OSError as error:
        raise ProtocolError(f"no process can be started: {error.strerror}") from None
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(timeout):
            process.stdin.write(msgspec.json.encode(job))
            process.stdin.close()
            answer = await process.stdout.readline()
        return msgspec.json.decode(answer, type=Outcome)
    except TimeoutError:
        raise TimedOut("the router does not answer in time") from None
    except (msgspec.DecodeError, ValueError):
        raise ProtocolError("the router's answers make no sense") from None
    finally:
        if process.returncode is None:
            # Not `process.kill`, which may collect the exit status before asyncio does.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        await process.wait()


def _environment() -> dict[str, str]:
    """Ours, and where this hdpd is, which need not be installed."""
    home = str(Path(hdpd.__file__).parent.parent)
    path = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
