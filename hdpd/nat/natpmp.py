"""The NAT Port Mapping Protocol (RFC 6886), as far as mapping one UDP port needs it. Pure."""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

from hdpd.errors import ProtocolError
from hdpd.identity.addresses import check_port, parse_ip

SERVER_PORT: Final = 5351
_VERSION: Final = 0
_EXTERNAL_ADDRESS: Final = 0
_MAP_UDP: Final = 1
_RESPONSE: Final = 0x80
_ADDRESS_ANSWER: Final = struct.Struct("!BBHI4s")
_MAP_ANSWER: Final = struct.Struct("!BBHIHHI")

# Section 3.5, in words.
_REFUSALS: Final = {
    1: "it speaks another version of NAT-PMP",
    2: "it does not allow this",
    3: "it has a problem with its network",
    4: "it has no room for another mapping",
    5: "it cannot map ports",
}

EXTERNAL_ADDRESS_REQUEST: Final = bytes([_VERSION, _EXTERNAL_ADDRESS])


class PmpMapping(Struct, frozen=True):
    """What the router agreed to, for `lifetime` seconds."""

    external_port: int
    lifetime: int


def map_request(internal_port: int, suggested_port: int, lifetime: int) -> bytes:
    """Asks to map a UDP port of the machine that sends this; a lifetime of 0 ends the mapping."""
    return struct.pack("!BBxxHHI", _VERSION, _MAP_UDP, internal_port, suggested_port, lifetime)


def parse_address_answer(datagram: bytes) -> str | None:
    """The router's external IPv4 address; None when the datagram is something else.

    Raises ProtocolError when the router refuses or has no address.
    """
    if not _is_answer(datagram, _EXTERNAL_ADDRESS):
        return None
    _check(datagram)
    if len(datagram) != _ADDRESS_ANSWER.size:
        raise ProtocolError("its answer is too short")
    return str(parse_ip(datagram[8:12]))


def parse_map_answer(datagram: bytes, internal_port: int) -> PmpMapping | None:
    """What was mapped for that port; None when the datagram is something else.

    Raises ProtocolError when the router refuses.
    """
    if not _is_answer(datagram, _MAP_UDP):
        return None
    _check(datagram)
    if len(datagram) != _MAP_ANSWER.size:
        raise ProtocolError("its answer is too short")
    _, _, _, _, internal, external, lifetime = _MAP_ANSWER.unpack(datagram)
    if internal != internal_port:
        return None
    return PmpMapping(check_port(external), lifetime)


def _is_answer(datagram: bytes, operation: int) -> bool:
    return len(datagram) >= 4 and datagram[:2] == bytes([_VERSION, _RESPONSE | operation])


def _check(datagram: bytes) -> None:
    """Raises ProtocolError for any result but success."""
    result = int.from_bytes(datagram[2:4])
    if result:
        raise ProtocolError(_REFUSALS.get(result, f"it refuses with result {result}"))
