"""STUN binding requests and their answers (RFC 8489, RFC 5780), with aioice's codec. Pure."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hdpd.config import HostPort
from hdpd.errors import ProtocolError
from hdpd.identity.addresses import check_port, parse_ip
from hdpd.lean import submodule

if TYPE_CHECKING:
    from aioice import stun
else:
    stun = submodule("aioice", "stun")

FIRST_BYTES: Final = range(4)  # the two top bits of a STUN message are zero (RFC 9443)
TRANSACTION_ID_BYTES: Final = 12
# Answers of known servers have about 100 bytes; what is longer is not worth parsing.
MAX_MESSAGE_BYTES: Final = 1024
# What the server is asked to answer from (RFC 5780, section 7.2).
SAME: Final = 0
OTHER_PORT: Final = 2
OTHER_ADDRESS_AND_PORT: Final = 6


class BindingAnswer(Struct, frozen=True):
    """`mapped`: the address that the server saw. `other`: its second address and port, where it
    has one and so can answer from there.
    """

    mapped: HostPort
    other: HostPort | None


def binding_request(transaction_id: bytes, answer_from: int = SAME) -> bytes:
    """A request; the id is 12 random bytes, never used twice."""
    message = stun.Message(
        stun.Method.BINDING,
        stun.Class.REQUEST,
        transaction_id,
        {"CHANGE-REQUEST": answer_from} if answer_from else None,
    )
    return bytes(message)


def transaction_id_of(datagram: bytes) -> bytes | None:
    """The id of a STUN message, answered or not; None when it is too short or long for one."""
    if not 20 <= len(datagram) <= MAX_MESSAGE_BYTES:
        return None
    if datagram[4:8] != stun.COOKIE.to_bytes(4):
        return None
    return datagram[8:20]


def parse_answer(datagram: bytes) -> BindingAnswer:
    """The only way in; raises ProtocolError for anything but a success with an address."""
    if transaction_id_of(datagram) is None:
        raise ProtocolError("a STUN message is not of a known size")
    try:
        message = stun.parse_message(datagram)
    except (ValueError, struct.error) as error:
        raise ProtocolError("a STUN message cannot be read") from error
    if message.message_method != stun.Method.BINDING:
        raise ProtocolError("a STUN message is not about a binding")
    if message.message_class == stun.Class.ERROR:
        raise ProtocolError(f"the STUN server refuses with error {message.error_code}")
    if message.message_class != stun.Class.RESPONSE:
        raise ProtocolError("a STUN message is no answer")
    attributes = message.attributes
    mapped = attributes.get("XOR-MAPPED-ADDRESS") or attributes.get("MAPPED-ADDRESS")
    if mapped is None:
        raise ProtocolError("a STUN answer tells no address")
    other = attributes.get("OTHER-ADDRESS") or attributes.get("CHANGED-ADDRESS")
    return BindingAnswer(_address(mapped), _other(other))


def _address(told: tuple[str, int]) -> HostPort:
    host, port = told
    return HostPort(str(parse_ip(host)), check_port(port))


def _other(told: tuple[str, int] | None) -> HostPort | None:
    try:
        return _address(told) if told else None
    except ProtocolError:  # a server without a second address says 0.0.0.0
        return None
