"""Knocks: a stranger who knows no topic gets not one byte back. Pure.

A knock is byte 4, a 16-byte nonce and 16 bytes of HMAC-SHA-256 under a topic's knock key over the
nonce and the target's peer id. Only from an address that knocked validly in the last 30 s is the
first packet of a connection looked at.
"""

from __future__ import annotations

import hmac
from collections.abc import Hashable, Iterable

from hdpd.bucket import Bucket
from hdpd.identity import contexts
from hdpd.identity.keys import PeerId
from hdpd.identity.topics import Topic
from hdpd.link.demux import KNOCK
from hdpd.recent import Recent

NONCE_BYTES = 16
MAC_BYTES = 16
KNOCK_BYTES = 1 + NONCE_BYTES + MAC_BYTES
OPEN_S = 30.0
MAX_OPEN_ADDRESSES = 1024  # 150 KB; the oldest knock is forgotten first
MAX_NONCES = 8192  # 1 MB; a replay older than the last 8192 knocks opens an address for 30 s again
# Each check costs about 2 µs for each topic; this is at most 4 % of one core under a flood.
MAX_CHECKS_PER_S = 20_000


def _mac(knock_key: bytes, nonce: bytes, target: PeerId) -> bytes:
    return hmac.digest(knock_key, contexts.KNOCK + b"\0" + nonce + target.raw, "sha256")[:MAC_BYTES]


def make_knock(topic: Topic, target: PeerId, nonce: bytes) -> bytes:
    """The datagram that opens `target` for our address; `nonce` is 16 random bytes."""
    return bytes([KNOCK]) + nonce + _mac(topic.knock_key, nonce, target)


class KnockGate:
    """Remembers which addresses may begin a connection."""

    def __init__(self, peer_id: PeerId) -> None:
        self._peer_id = peer_id
        self._topics: tuple[Topic, ...] = ()
        self._open = Recent[Hashable, float](MAX_OPEN_ADDRESSES)
        self._nonces = Recent[bytes, None](MAX_NONCES)
        self._checks = Bucket(MAX_CHECKS_PER_S, MAX_CHECKS_PER_S)
        self.refused = 0

    def set_topics(self, topics: Iterable[Topic]) -> None:
        self._topics = tuple(topics)

    def receive(self, datagram: bytes, address: Hashable, now: float) -> bool:
        """Whether it was a valid, fresh knock; the address is open for 30 s then."""
        nonce = datagram[1 : 1 + NONCE_BYTES]
        if (
            len(datagram) != KNOCK_BYTES
            or datagram[0] != KNOCK
            or nonce in self._nonces
            or not self._checks.allow(now, len(self._topics))
            or not self._is_valid(nonce, datagram[1 + NONCE_BYTES :])
        ):
            self.refused += 1
            return False
        self._nonces.put(nonce, None)
        self._open.put(address, now)
        return True

    def _is_valid(self, nonce: bytes, mac: bytes) -> bool:
        return any(
            hmac.compare_digest(_mac(topic.knock_key, nonce, self._peer_id), mac)
            for topic in self._topics
        )

    def is_open(self, address: Hashable, now: float) -> bool:
        knocked = self._open.get(address)
        return knocked is not None and now - knocked <= OPEN_S
