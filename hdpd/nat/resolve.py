"""Looks up host names in threads that may hang, without making anybody wait for them.

Without internet a look-up can take minutes. There is one at a time for each name.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import partial

from hdpd.config import HostPort
from hdpd.threads.blocking import BlockingCalls

TIMEOUT_S = 5.0
MAX_ADDRESSES = 4  # of one name

_Addresses = tuple[HostPort, ...]


class Resolver:
    """Remembers the last good answer for each name, for when the next look-up fails."""

    def __init__(self) -> None:
        self._calls: dict[HostPort, BlockingCalls] = {}
        self._known: dict[HostPort, _Addresses] = {}

    async def resolve(self, server: HostPort) -> _Addresses:
        """At most 4 addresses of both families; empty when there are none within 5 s."""
        if _is_literal(server.host):
            return (server,)
        if server not in self._calls:
            self._calls[server] = BlockingCalls(f"resolve-{server.host}", threads=1)
        found = partial(self._found, server)
        with suppress(TimeoutError):
            found(await self._calls[server].run(partial(_look_up, server), TIMEOUT_S, late=found))
        return self._known.get(server, ())

    def _found(self, server: HostPort, addresses: _Addresses) -> None:
        if addresses:
            self._known[server] = _first_of_each_family(addresses)


def _look_up(server: HostPort) -> _Addresses:
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(HostPort(str(each[4][0]), server.port) for each in found))


def _is_literal(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False


def _first_of_each_family(addresses: _Addresses) -> _Addresses:
    """Two of each: a name with two addresses can show an address-dependent mapping alone."""
    chosen: list[HostPort] = []
    for is_ipv6 in (False, True):
        family = [each for each in addresses if (":" in each.host) == is_ipv6]
        chosen += family[: MAX_ADDRESSES // 2]
    return tuple(chosen)
