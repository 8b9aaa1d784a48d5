"""Looks up host names in threads that may hang, without making anybody wait for them.

Without internet a look-up can take minutes, and the threads of asyncio's pool would hold up the
end of the program for as long. These are daemons, one for each name at most.
"""

from __future__ import annotations

import asyncio
import socket
import threading

from hdpd.config import HostPort

TIMEOUT_S = 5.0
MAX_ADDRESSES = 4  # of one name

_Addresses = tuple[HostPort, ...]


class Resolver:
    """Remembers the last good answer for each name, for when the next look-up fails."""

    def __init__(self) -> None:
        self._pending: dict[HostPort, asyncio.Future[_Addresses]] = {}
        self._known: dict[HostPort, _Addresses] = {}
        self._loop = asyncio.get_running_loop()

    async def resolve(self, server: HostPort) -> _Addresses:
        """At most 4 addresses of both families; empty when there are none within 5 s."""
        if _is_literal(server.host):
            return (server,)
        if server not in self._pending:
            self._pending[server] = self._loop.create_future()
            threading.Thread(
                target=self._look_up, args=(server,), name=f"resolve-{server.host}", daemon=True
            ).start()
        await asyncio.wait([self._pending[server]], timeout=TIMEOUT_S)
        return self._known.get(server, ())

    def _look_up(self, server: HostPort) -> None:
        try:
            found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError):
            found = []
        addresses = tuple(dict.fromkeys(HostPort(str(each[4][0]), server.port) for each in found))
        try:
            self._loop.call_soon_threadsafe(self._found, server, addresses)
        except RuntimeError:  # the loop is closed: the program ends
            return

    def _found(self, server: HostPort, addresses: _Addresses) -> None:
        if addresses:
            self._known[server] = _first_of_each_family(addresses)
        self._pending.pop(server).set_result(addresses)


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
