"""What the owner is shown of the peers. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from hdpd.discovery.records import NatKind
from hdpd.errors import HdpdError
from hdpd.identity.keys import PeerId
from hdpd.peers.states import Word
from hdpd.peers.tries import Try

PathKind = Literal["lan", "direct", "punched", "mapped", "ipv6"]


class PeerStatus(Struct, frozen=True):
    """Times are in seconds since the epoch, `rtt` in seconds; `topics` are those in common, `error`
    is why it is not connected.
    """

    id: PeerId
    name: str
    state: Word
    address: str | None
    path: PathKind | None
    found_by: tuple[str, ...]
    topics: tuple[str, ...]
    rtt: float | None
    connected_since: float | None
    last_connected: float | None
    error: HdpdError | None


class PeerExplained(PeerStatus, frozen=True):
    """With all that was tried, the oldest first, the reason in words, and what could be changed,
    the best first. `peer_nat` is known once the peer has answered a request to punch.
    """

    own_nat: NatKind
    peer_nat: NatKind | None
    reason: str
    advice: tuple[str, ...]
    tries: tuple[Try, ...]


class PeerFound(Struct, frozen=True):
    """Somebody new, or known at another topic or address."""

    peer: PeerStatus


class PeerConnected(Struct, frozen=True):
    """A session stands."""

    peer: PeerStatus


class PeerChanged(Struct, frozen=True):
    """The session goes on at another address, or with other topics in common."""

    peer: PeerStatus


class PeerDisconnected(Struct, frozen=True):
    """The session has ended."""

    peer: PeerStatus


News = PeerFound | PeerConnected | PeerChanged | PeerDisconnected
