"""Invite codes: a private topic, a peer to meet there and where it may be reached, as text.

The layout after the prefix `hdp1`, in base32 (RFC 4648) without padding: peer id (32 bytes), topic
secret (16), expiry (4, seconds since the epoch, big-endian), up to 4 addresses (each a byte 4 or
6, the address in 4 or 16 bytes, the port in 2), and the first 4 bytes of a SHA-256 over
all of that. Base32 survives chat programs that wrap lines, change case or add dashes.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from hdpd.errors import InviteExpired, InviteInvalid, ProtocolError
from hdpd.identity import contexts
from hdpd.identity.addresses import check_port, parse_ip
from hdpd.identity.keys import KEY_BYTES, PeerId
from hdpd.identity.topics import SECRET_BYTES, new_name

PREFIX: Final = "hdp1"
MAX_ADDRESSES: Final = 4
LIFETIME_S: Final = 7 * 24 * 3600

_CHECKSUM_BYTES: Final = 4
_FIXED_BYTES: Final = KEY_BYTES + SECRET_BYTES + 4
# The longest code has 212 characters; the rest is room for line breaks, quote marks and dashes.
_MAX_CHARS: Final = 1024
_MISTYPED: Final = "this invite code is mistyped or incomplete; copy the whole code once more"


@dataclass(frozen=True, slots=True)
class Invite:
    """What an invite code says. `secret` makes the topic's name; `expires` is in Unix seconds."""

    peer_id: PeerId
    secret: bytes = field(repr=False)
    addresses: tuple[tuple[str, int], ...]
    expires: int

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise ProtocolError(f"the secret of an invite is {SECRET_BYTES} bytes")
        if len(self.addresses) > MAX_ADDRESSES:
            raise ProtocolError(f"an invite holds at most {MAX_ADDRESSES} addresses")
        if not 0 <= self.expires < 2**32:
            raise ProtocolError("the expiry of an invite is out of range")
        for host, port in self.addresses:
            check_port(port)
            if str(parse_ip(host)) != host:
                raise ProtocolError(f"{host} is not written in its shortest form")

    @property
    def topic_name(self) -> str:
        """The name of the private topic, as made by `topics.new_name`."""
        return new_name(self.secret)

    def encode(self) -> str:
        """The code: `hdp1` and up to 208 characters of a-z and 2-7."""
        body = self.peer_id.raw + self.secret + self.expires.to_bytes(4)
        for host, port in self.addresses:
            address = parse_ip(host)
            body += bytes([address.version]) + address.packed + port.to_bytes(2)
        return PREFIX + _base32(body + _checksum(body))


def parse(code: str, now: float) -> Invite:
    """The invite in `code`, whatever white space, dashes and case it came with.

    Raises InviteInvalid when it is no code or not the one that was made, and InviteExpired when
    it is the right one, too late.
    """
    if len(code) > _MAX_CHARS:
        raise InviteInvalid("this is too long to be an invite code; paste the code alone")
    text = "".join(filter(_is_significant, code)).lower()
    if not text.startswith(PREFIX):
        raise InviteInvalid(f"this is no invite code; one starts with {PREFIX}")
    body = _checked_body(text.removeprefix(PREFIX))
    try:
        invite = _decode(body)
    except ProtocolError as error:
        raise InviteInvalid(f"this invite code cannot be used: {error}") from error
    if invite.expires <= now:
        raise InviteExpired("this invite code has expired; ask for a new one")
    return invite


def _is_significant(character: str) -> bool:
    # Cf holds the soft hyphen and the zero-width characters that chat programs add.
    return not character.isspace() and unicodedata.category(character) not in ("Cf", "Pd")


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def _checksum(body: bytes) -> bytes:
    digest = hashlib.sha256(contexts.INVITE_CHECKSUM + b"\0" + body).digest()
    return digest[:_CHECKSUM_BYTES]


def _checked_body(text: str) -> bytes:
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError as error:
        raise InviteInvalid(_MISTYPED) from error
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    # The last character has unused bits, which a checksum over the bytes does not see.
    if _base32(data) != text or len(body) < _FIXED_BYTES or checksum != _checksum(body):
        raise InviteInvalid(_MISTYPED)
    return body


def _decode(body: bytes) -> Invite:
    addresses = []
    rest = body[_FIXED_BYTES:]
    while rest:
        end = {4: 5, 6: 17}.get(rest[0])
        if end is None or len(rest) < end + 2:
            raise ProtocolError("its addresses are of a kind that this version does not know")
        port = int.from_bytes(rest[end : end + 2])
        addresses.append((str(parse_ip(rest[1:end])), port))
        rest = rest[end + 2 :]
    return Invite(
        peer_id=PeerId(body[:KEY_BYTES]),
        secret=body[KEY_BYTES : KEY_BYTES + SECRET_BYTES],
        addresses=tuple(addresses),
        expires=int.from_bytes(body[_FIXED_BYTES - 4 : _FIXED_BYTES]),
    )
