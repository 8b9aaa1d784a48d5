"""What connected peers say about the address from which they see us. Pure.

Nothing that one peer says is passed on: an address is told to others only when a STUN server or a
peer of another network says the same (see `is_confirmed`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from msgspec import Struct

from hdpd.config import HostPort
from hdpd.errors import ProtocolError
from hdpd.identity.addresses import check_port, parse_ip
from hdpd.identity.keys import PeerId
from hdpd.nat.classify import is_confirmed
from hdpd.recent import Recent

MAX_PEERS: Final = 64  # one entry each, about 300 bytes; the one heard longest ago is forgotten
LIFETIME_S: Final = 3600.0


class _Claim(Struct, frozen=True):
    peer_host: str
    address: HostPort
    time: float


class ObservedAddresses:
    """The last claim of each peer."""

    def __init__(self) -> None:
        self._claims = Recent[PeerId, _Claim](MAX_PEERS)

    def claim(self, peer_id: PeerId, peer_host: str, host: str, port: int, now: float) -> None:
        """The peer, reached at `peer_host`, sees us there; nonsense is left out."""
        try:
            address = HostPort(str(parse_ip(host)), check_port(port))
        except ProtocolError:
            return
        self._claims.put(peer_id, _Claim(peer_host, address, now))

    def forget_all(self) -> None:
        """The network changed: what was seen from there is past."""
        self._claims.clear()

    def confirmed(self, by_stun: Collection[HostPort], now: float) -> tuple[HostPort, ...]:
        """The addresses that more than one of them vouches for."""
        claims = [each for each in self._claims.values() if now - each.time < LIFETIME_S]
        peers: dict[HostPort, set[str]] = {}
        for claim in claims:
            peers.setdefault(claim.address, set()).add(claim.peer_host)
        return tuple(a for a, hosts in peers.items() if is_confirmed(a, by_stun, hosts))

    def agree_with(self, address: HostPort) -> tuple[str, ...]:
        """The addresses of the peers that see us at `address`."""
        return tuple(c.peer_host for c in self._claims.values() if c.address == address)
