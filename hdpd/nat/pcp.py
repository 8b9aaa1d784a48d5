"""The Port Control Protocol (RFC 6887), as far as mapping one UDP port needs it. Pure.

The same messages open a pinhole in an IPv6 firewall: the external address is then the internal one.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

from msgspec import Struct

from hdpd.config import HostPort
from hdpd.errors import ProtocolError
from hdpd.identity.addresses import check_port, parse_ip

SERVER_PORT: Final = 5351
NONCE_BYTES: Final = 12
MAX_MESSAGE_BYTES: Final = 1100  # section 7
_VERSION: Final = 2
_ANNOUNCE: Final = 0
_MAP: Final = 1
_RESPONSE: Final = 0x80
_UDP: Final = 17
_HEADER: Final = struct.Struct("!BBBBII12x")  # of a response
_MAP_BODY: Final = struct.Struct("!12sB3xHH16s")
_SUCCESS: Final = 0

# Section 7.4, in words.
_REFUSALS: Final = {
    1: "it speaks another version of PCP",
    2: "it does not allow this",
    3: "it cannot read the request",
    4: "it cannot map ports",
    7: "it has a problem with its network",
    8: "it has no room for another mapping",
    9: "it cannot map UDP",
    10: "this machine has too many mappings",
    11: "it cannot give that external port",
    12: "another NAT is on the way to it",
}


class PcpMapping(Struct, frozen=True):
    """What the router agreed to, for `lifetime` seconds."""

    external: HostPort
    lifetime: int
    epoch: int
    """Seconds since the router began to keep what it knows now."""


def announce_request(own: str) -> bytes:
    """Asks for nothing but an answer (section 14.1)."""
    return struct.pack("!BBHI", _VERSION, _ANNOUNCE, 0, 0) + _as_ipv6(own)


def is_answer(datagram: bytes) -> bool | None:
    """Whether an answer is of this version of PCP; None when the datagram is no answer."""
    if len(datagram) < 4 or not datagram[1] & _RESPONSE:
        return None
    return datagram[0] == _VERSION


def map_request(
    nonce: bytes, own: str, internal_port: int, suggested: HostPort, lifetime: int
) -> bytes:
    """Asks to map `internal_port` of `own`, the address that the request is sent from; a lifetime
    of 0 ends the mapping that was made with the same nonce.
    """
    header = struct.pack("!BBHI", _VERSION, _MAP, 0, lifetime) + _as_ipv6(own)
    body = _MAP_BODY.pack(nonce, _UDP, internal_port, suggested.port, _as_ipv6(suggested.host))
    return header + body


def parse_map_answer(datagram: bytes, nonce: bytes, internal_port: int) -> PcpMapping | None:
    """The answer to a request with that nonce; None when the datagram is something else.

    Raises ProtocolError when the router refuses, for the reason in the message.
    """
    if not _HEADER.size + _MAP_BODY.size <= len(datagram) <= MAX_MESSAGE_BYTES:
        return None
    if datagram[:2] != bytes([_VERSION, _RESPONSE | _MAP]):
        return None
    _, _, _, result, lifetime, epoch = _HEADER.unpack_from(datagram)
    theirs, protocol, internal, port, address = _MAP_BODY.unpack_from(datagram, _HEADER.size)
    if (theirs, protocol, internal) != (nonce, _UDP, internal_port):
        return None
    if result != _SUCCESS:
        raise ProtocolError(_REFUSALS.get(result, f"it refuses with result {result}"))
    return PcpMapping(HostPort(str(parse_ip(address)), check_port(port)), lifetime, epoch)


def parse_epoch(datagram: bytes) -> int | None:
    """The epoch time in the answer to `announce_request`; None when it is something else."""
    if len(datagram) < _HEADER.size or datagram[:2] != bytes([_VERSION, _RESPONSE | _ANNOUNCE]):
        return None
    _, _, _, _, _, epoch = _HEADER.unpack_from(datagram)
    return int(epoch)


def has_restarted(before: int, now: int, elapsed: float) -> bool:
    """Whether a router has lost what it knew, by its epoch times and the seconds between them here
    (section 8.5).
    """
    theirs = now - before
    return theirs < -1 or theirs + 2 < elapsed - elapsed / 16 or elapsed + 2 < theirs - theirs / 16


def _as_ipv6(host: str) -> bytes:
    ip = ipaddress.ip_address(host)
    return ip.packed if ip.version == 6 else b"\0" * 10 + b"\xff\xff" + ip.packed
