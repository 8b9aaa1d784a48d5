"""The UPnP program: `python -m hdpd.nat.upnp_child`, the only user of the UPnP library.

It reads a job from standard input, calls the gateway, and writes the outcome. Only the host that
the job names is talked to, whatever the description says.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec
from async_upnp_client.aiohttp import AiohttpRequester
from async_upnp_client.client import UpnpAction, UpnpDevice
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.const import HttpRequest, HttpResponse
from async_upnp_client.exceptions import UpnpActionError, UpnpCommunicationError, UpnpError

from hdpd.nat.upnp_jobs import Job, Outcome

HTTP_TIMEOUT_S = 5
DESCRIPTION = "hdpd"
ANY_HOST = ""
MAX_MEMORY_BYTES = 1024**3  # of addresses, 60 MB of which are used: a huge answer ends the process

# UPnP IGD, WANIPConnection:2, section 2.5: worth another try, and how.
_CONFLICT = {718, 724, 727, 729}
_ONLY_PERMANENT = 725
_CONNECTIONS = ("WANIPConnection:2", "WANIPConnection:1", "WANPPPConnection:1")
_FIREWALLS = ("WANIPv6FirewallControl:1",)
_UDP = 17


class OneHostRequester(AiohttpRequester):
    """Talks to the host of `location` only."""

    def __init__(self, location: str) -> None:
        super().__init__(timeout=HTTP_TIMEOUT_S)
        self._host = urlsplit(location).hostname

    async def async_http_request(self, http_request: HttpRequest) -> HttpResponse:
        if urlsplit(http_request.url).hostname != self._host:
            raise UpnpCommunicationError("the description points to another host")
        return await super().async_http_request(http_request)


async def do(job: Job) -> Outcome:
    """Does the job; errors of the gateway are in the outcome."""
    try:
        factory = UpnpFactory(OneHostRequester(job.location), non_strict=True)
        device = await factory.async_create_device(job.location)
        if ":" in job.own:
            return await _pinhole(device, job)
        return await _mapping(device, job)
    except (UpnpError, TimeoutError, ValueError, KeyError) as error:
        return Outcome(error=_words(error))


async def _pinhole(device: UpnpDevice, job: Job) -> Outcome:
    add = _action(device, "AddPinhole", _FIREWALLS)
    result = await add.async_call(
        RemoteHost=ANY_HOST,
        RemotePort=0,
        InternalClient=job.own,
        InternalPort=job.port,
        Protocol=_UDP,
        LeaseTime=job.lifetime,
    )
    pinhole = int(result["UniqueID"])
    return _outcome(add, job.own, job.port, job.lifetime, pinhole)


def _outcome(
    action: UpnpAction, host: str, port: int, lifetime: int, pinhole: int | None = None
) -> Outcome:
    service = action.service
    return Outcome(host, port, lifetime, service.control_url, service.service_type, pinhole)


async def _mapping(device: UpnpDevice, job: Job) -> Outcome:
    """Not by the library's profile, which names 0.0.0.0 as remote host: routers want nothing."""
    status = await _action(device, "GetExternalIPAddress", _CONNECTIONS).async_call()
    host = str(status["NewExternalIPAddress"] or "")
    if not host:
        return Outcome(error="it has no external address")
    add = _action(device, "AddPortMapping", _CONNECTIONS)
    port, lifetime = await _add_mapping(add, job)
    return _outcome(add, host, port, lifetime)


async def _add_mapping(add: UpnpAction, job: Job) -> tuple[int, int]:
    """The external port and the lifetime that the router agreed to."""
    lifetime = job.lifetime
    ports = _ports(job)
    port = next(ports)
    while True:
        arguments: dict[str, Any] = {
            "NewRemoteHost": ANY_HOST,
            "NewExternalPort": port,
            "NewProtocol": "UDP",
            "NewInternalPort": job.port,
            "NewInternalClient": job.own,
            "NewEnabled": True,
            "NewPortMappingDescription": DESCRIPTION,
            "NewLeaseDuration": lifetime,
        }
        try:
            await add.async_call(**arguments)
        except UpnpActionError as error:
            if error.error_code == _ONLY_PERMANENT and lifetime:
                lifetime = 0
            elif error.error_code in _CONFLICT and (following := next(ports, None)) is not None:
                port = following
            else:
                raise
        else:
            return port, lifetime


def _ports(job: Job) -> Iterator[int]:
    """External ports to try: the wanted one, then others that every router of a home has free."""
    return iter([job.external_port, *(20_000 + (job.port * n) % 40_000 for n in (7, 11))])


def _action(device: UpnpDevice, name: str, kinds: Iterable[str]) -> UpnpAction:
    """An action of the first of these services; raises UpnpError when there is none."""
    for kind in kinds:
        for service in device.all_services:
            if service.service_type.endswith(kind) and service.has_action(name):
                return service.action(name)
    raise UpnpError("it offers no such thing")


def _words(error: Exception) -> str:
    if isinstance(error, UpnpActionError):
        said = f" ({error.error_desc})" if error.error_desc else ""
        return f"it refuses with error {error.error_code}{said}"
    if isinstance(error, (UpnpCommunicationError, TimeoutError)):
        return "it cannot be talked to"
    return str(error)[:200] or type(error).__name__


def main() -> int:
    """Runs the one job."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    job = msgspec.json.decode(sys.stdin.buffer.read(64 * 1024), type=Job)
    outcome = asyncio.run(do(job))
    sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
