"""How many routers a packet must pass to be through all NATs of ours: a traceroute of few steps.

A packet with too few hops to live is answered by the router where it died (ICMP time exceeded).
While those routers have private addresses, we are still behind a NAT; a public one is beyond it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

from hdpd.nat.scopes import is_public

log = logging.getLogger(__name__)

HOME_HOPS = 2  # through the router at home, and no further than the next one
MAX_HOPS = 6  # a carrier's NAT that is farther away is opened by packets that get to the peer
ANSWER_S = 0.4
_IP_RECVERR = 11  # linux/in.h
_MSG_ERRQUEUE = 0x2000
_EXTENDED_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err, linux/errqueue.h
_PORT = 33434  # where traceroute sends to, and nobody listens


async def hops_through_nat(host: str) -> int:
    """With how many hops to live a packet towards the IPv4 address `host` passes our NATs and dies
    soon after. Routers that say nothing count as beyond them. Takes 0.4 s a step at most.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            probe.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            for hops in range(HOME_HOPS, MAX_HOPS):
                router = await _router_at(probe, host, hops)
                if router is None or is_public(router):
                    return hops
    except OSError as error:
        log.debug("looking for the depth of the NAT: %s", error)
    return HOME_HOPS


async def _router_at(probe: socket.socket, host: str, hops: int) -> str | None:
    """The address of the router that is so many hops away, when it tells."""
    probe.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
    probe.sendto(b"", (host, _PORT + hops))
    loop = asyncio.get_running_loop()
    end = loop.time() + ANSWER_S
    while loop.time() < end:
        await asyncio.sleep(0.02)
        try:
            _, ancillary, _, _ = probe.recvmsg(512, 512, _MSG_ERRQUEUE)
        except BlockingIOError:
            continue
        for level, kind, data in ancillary:
            if level == socket.IPPROTO_IP and kind == _IP_RECVERR:
                return _offender(data)
    return None


def _offender(data: bytes) -> str | None:
    """The address behind a struct sock_extended_err, which is a struct sockaddr_in."""
    offender = data[_EXTENDED_ERROR.size :]
    if len(offender) < 8 or struct.unpack_from("=H", offender)[0] != socket.AF_INET:
        return None
    return socket.inet_ntoa(offender[4:8])
