"""Punch packets: small datagrams that only two peers can make, and that count once. Pure.

A packet is byte 7 (ping) or 8 (pong; RFC 9443 leaves both free), the punch's 8-byte tag, an 8-byte
counter, an 8-byte nonce and 16 bytes of HMAC-SHA-256. Key and tag come by HKDF from the X25519
secret of the two peers, both ids, the topic and both nonces of this punch, so that nothing of an
earlier punch is good for another one.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from msgspec import Struct

from hdpd.errors import ProtocolError
from hdpd.identity import contexts
from hdpd.identity.keys import Identity, PeerId, derive_key

PUNCH_PING: Final = 0x07
PUNCH_PONG: Final = 0x08
TAG_BYTES: Final = 8
COUNTER_BYTES: Final = 8
NONCE_BYTES: Final = 8
MAC_BYTES: Final = 16
PACKET_BYTES: Final = 1 + TAG_BYTES + COUNTER_BYTES + NONCE_BYTES + MAC_BYTES
# Of what one punch sends in its life, so that no packet is too late: a birthday run sends 3,000.
REPLAY_WINDOW: Final = 4096

_NONCE_AT: Final = 1 + TAG_BYTES + COUNTER_BYTES
_MAC_AT: Final = _NONCE_AT + NONCE_BYTES


def punch_tag(datagram: bytes) -> bytes | None:
    """The tag of a punch packet, or None when the datagram is none."""
    if len(datagram) != PACKET_BYTES or datagram[0] not in (PUNCH_PING, PUNCH_PONG):
        return None
    return bytes(datagram[1 : 1 + TAG_BYTES])


class Packet(Struct, frozen=True):
    """What an authentic packet says. A pong's `nonce` is that of the ping it answers."""

    is_ping: bool
    nonce: bytes


@dataclass(frozen=True, slots=True)
class PunchKeys:
    """What both peers know and nobody else: `tag` finds the punch, `key` proves its packets."""

    tag: bytes
    key: bytes = field(repr=False)
    is_low: bool  # whether ours is the lower peer id, which says who speaks in a MAC

    @classmethod
    def derive(
        cls,
        identity: Identity,
        peer_id: PeerId,
        exchange_public: bytes,
        topic_id: bytes,
        nonces: tuple[bytes, bytes],
    ) -> PunchKeys:
        """The keys of one punch; `nonces` are ours and the peer's, from the punch requests.

        Raises:
            ProtocolError: the peer's X25519 key is one that gives everybody the same secret.
        """
        own, peer = (identity.peer_id.raw, nonces[0]), (peer_id.raw, nonces[1])
        (low_id, low_nonce), (high_id, high_nonce) = sorted((own, peer))
        try:
            public = X25519PublicKey.from_public_bytes(exchange_public)
            secret = identity.exchange_key.exchange(public)
        except ValueError:
            raise ProtocolError("the peer's X25519 key is not a usable one") from None
        about = low_id + high_id + topic_id + low_nonce + high_nonce
        return cls(
            tag=derive_key(secret, contexts.PUNCH_TAG + b"\0" + about, TAG_BYTES),
            key=derive_key(secret, contexts.PUNCH_KEY + b"\0" + about),
            is_low=own[0] == low_id,
        )

    def mac(self, *, by_low: bool, message: bytes) -> bytes:
        role = b"low\0" if by_low else b"high\0"
        return hmac.digest(self.key, role + message, "sha256")[:MAC_BYTES]


class PacketCodec:
    """Makes our packets and reads the peer's, each of them once."""

    def __init__(self, keys: PunchKeys) -> None:
        self._keys = keys
        self._next_counter = 0
        self._highest = -1
        self._seen = 0  # bit n: counter `highest - n` was received

    def ping(self, nonce: bytes) -> bytes:
        """`nonce` is 8 random bytes."""
        return self._make(PUNCH_PING, nonce)

    def pong(self, nonce: bytes) -> bytes:
        """The answer to the ping with that nonce."""
        return self._make(PUNCH_PONG, nonce)

    def _make(self, kind: int, nonce: bytes) -> bytes:
        counter = self._next_counter.to_bytes(COUNTER_BYTES)
        self._next_counter += 1
        head = bytes([kind]) + self._keys.tag + counter + nonce
        return head + self._keys.mac(by_low=self._keys.is_low, message=head)

    def read(self, datagram: bytes) -> Packet | None:
        """The packet, or None when it is not the peer's, or was received before."""
        if punch_tag(datagram) != self._keys.tag:
            return None
        expected = self._keys.mac(by_low=not self._keys.is_low, message=datagram[:_MAC_AT])
        if not hmac.compare_digest(expected, datagram[_MAC_AT:]):
            return None
        if not self._is_new(int.from_bytes(datagram[1 + TAG_BYTES : _NONCE_AT])):
            return None
        return Packet(datagram[0] == PUNCH_PING, bytes(datagram[_NONCE_AT:_MAC_AT]))

    def _is_new(self, counter: int) -> bool:
        """The replay window of RFC 4303, section 3.4.3."""
        if counter > self._highest:
            moved = min(counter - self._highest, REPLAY_WINDOW)
            self._seen = (self._seen << moved | 1) & ((1 << REPLAY_WINDOW) - 1)
            self._highest = counter
            return True
        age = self._highest - counter
        if age >= REPLAY_WINDOW or self._seen >> age & 1:
            return False
        self._seen |= 1 << age
        return True
