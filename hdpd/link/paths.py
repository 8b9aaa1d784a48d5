"""Path probes: which address a connection's datagrams go to, moved only by proof. Pure.

A path is (socket, remote address). When packets of a connection come from elsewhere, a probe is
sent there; only a pong that echoes our nonce under the connection's path key moves the path, so
that neither forged nor replayed packets can aim a transfer at somebody else.

A probe is byte 5 (ping) or 6 (pong), the connection's 8-byte tag, an 8-byte nonce, and 16 bytes
of HMAC-SHA-256 under the path key over the sender's role, the byte and the nonce; behind them any
padding, which shows that the path carries a datagram so large. Key and tag come
by HKDF from the two nonces of the hello, which only the two ends of the TLS connection saw.
"""

from __future__ import annotations

import hmac
from collections.abc import Hashable
from typing import Literal

from msgspec import Struct

from hdpd.identity import contexts
from hdpd.identity.keys import derive_key
from hdpd.link.demux import PATH_PING, PATH_PONG
from hdpd.recent import Recent

Role = Literal["client", "server"]
TAG_BYTES = 8
NONCE_BYTES = 8
MAC_BYTES = 16
PROBE_BYTES = 1 + TAG_BYTES + NONCE_BYTES + MAC_BYTES
PROBE_INTERVAL_S = 0.2  # for each connection, so that a forger cannot make us send more
PROBE_LIFETIME_S = 3.0
PATH_ALIVE_S = 2.0
FOLLOW_S = 0.3  # what overtook something on another path comes within that, on a local network
MAX_SIZES = 64  # of those that look for the largest size; rounds of a dozen
MAX_PENDING = 8  # nonces waiting for a pong; the oldest is forgotten


def stays(role: Role, silence: float, *, near: bool, other_near: bool) -> bool:
    """Whether a connection stays on its path, heard `silence` seconds ago, when its peer turns up
    on another one; `near` are paths on the local network.

    A path that lives there is not given up for one through routers. Of two such paths the client
    keeps the one that it has, and the server follows when the client has left the old one: were
    both to follow what they hear, two that are on different paths would change places for ever.
    """
    if not near:
        return False
    is_choice_of_ours = role == "client" or not other_near
    return silence < (PATH_ALIVE_S if is_choice_of_ours else FOLLOW_S)


def probe_tag(datagram: bytes) -> bytes | None:
    """The tag of a path probe, padded or not; None when the datagram is none."""
    if len(datagram) < PROBE_BYTES or datagram[0] not in (PATH_PING, PATH_PONG):
        return None
    return datagram[1 : 1 + TAG_BYTES]


class Reply(Struct, frozen=True):
    """What to do about a probe: datagrams to send back, and whether the path moves there; and of
    which size a ping of ours was that came through.
    """

    datagrams: tuple[bytes, ...] = ()
    moved: bool = False
    carried: int | None = None


class PathProbes:
    """The probes of one connection, from the end of its hello on."""

    def __init__(self, role: Role, client_nonce: bytes, server_nonce: bytes) -> None:
        secret = client_nonce + server_nonce
        self._key = derive_key(secret, contexts.PATH_KEY)
        self.tag = derive_key(secret, contexts.PATH_TAG, TAG_BYTES)
        self._role = role
        self._peer_role: Role = "server" if role == "client" else "client"
        self._pending = Recent[bytes, tuple[Hashable, float]](MAX_PENDING)
        self._sizes = Recent[bytes, tuple[Hashable, float, int]](MAX_SIZES)
        self._last_ping = float("-inf")

    def _make(self, kind: int, nonce: bytes) -> bytes:
        return bytes([kind]) + self.tag + nonce + self._mac(self._role, kind, nonce)

    def _mac(self, role: Role, kind: int, nonce: bytes) -> bytes:
        message = role.encode() + bytes([kind]) + nonce
        return hmac.digest(self._key, message, "sha256")[:MAC_BYTES]

    def ping(self, path: Hashable, nonce: bytes, now: float) -> bytes | None:
        """A ping to send on `path`, or None when the last one was sent a moment ago."""
        if now - self._last_ping < PROBE_INTERVAL_S:
            return None
        self._last_ping = now
        self._pending.put(nonce, (path, now))
        return self._make(PATH_PING, nonce)

    def size_ping(self, path: Hashable, nonce: bytes, size: int, now: float) -> bytes:
        """A ping that is padded to `size`, to see whether `path` carries that."""
        self._sizes.put(nonce, (path, now, size))
        return self._make(PATH_PING, nonce).ljust(size, b"\0")

    def receive(
        self, datagram: bytes, path: Hashable, current: Hashable, nonce: bytes, now: float
    ) -> Reply:
        """Answers a probe that came on `path`; `nonce` is 8 random bytes for a ping of our own.

        A valid ping from elsewhere than the current path is answered and asked back; only a
        valid pong to a ping that went to the same path moves the connection there.
        """
        kind = datagram[0]
        theirs = datagram[1 + TAG_BYTES : 1 + TAG_BYTES + NONCE_BYTES]
        mac = datagram[1 + TAG_BYTES + NONCE_BYTES : PROBE_BYTES]
        if not hmac.compare_digest(mac, self._mac(self._peer_role, kind, theirs)):
            return Reply()
        if kind == PATH_PING:
            pong = self._make(PATH_PONG, theirs)
            ping = self.ping(path, nonce, now) if path != current else None
            return Reply((pong, ping) if ping else (pong,))
        sized = self._sizes.pop(theirs)
        if sized is not None:
            is_good = sized[0] == path and now - sized[1] <= PROBE_LIFETIME_S
            return Reply(carried=sized[2]) if is_good else Reply()
        asked = self._pending.pop(theirs)
        if asked is None or asked[0] != path or now - asked[1] > PROBE_LIFETIME_S:
            return Reply()
        return Reply(moved=path != current)
