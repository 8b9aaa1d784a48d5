"""The book of known peers: where each was seen, where it was reached. Pure.

It is what lets old friends meet without any broker: at start its peers are dialled directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct, field

from hdpd.identity.keys import PeerId
from hdpd.peers.states import State

Address = tuple[str, int]

MAX_PEERS = 2000  # about 2 KB each; strangers that were never connected go first
MAX_ADDRESSES = 16  # for each peer: a full record of 12, and a few that worked before
FORGET_ADDRESS_S = 30 * 24 * 3600.0  # an address that has neither worked nor been told so long


class KnownAddress(Struct):
    """When an address was last told to us, and when it last worked; wall-clock seconds."""

    seen: float
    worked: float = 0.0


class KnownPeer(Struct):
    """What is remembered of one peer. `topics` holds public ids of topics it was met at."""

    peer_id: PeerId
    last_seen: float
    addresses: dict[Address, KnownAddress] = field(default_factory=dict)
    topics: set[bytes] = field(default_factory=set)
    found_by: list[str] = field(default_factory=list)
    last_connected: float = 0.0
    first_connected: float = 0.0
    state: State = State.IDLE  # changed by `Peer.happens` only; BLOCKED is all that is saved
    in_use: bool = False  # a session stands, so that nobody else may take its place

    @property
    def is_blocked(self) -> bool:
        return self.state is State.BLOCKED

    def addresses_to_dial(self) -> list[Address]:
        """Those that worked last come first, then those that were told last."""
        known = self.addresses.items()
        ordered = sorted(known, key=lambda each: (each[1].worked, each[1].seen), reverse=True)
        return [address for address, _ in ordered]


class Book:
    """All known peers. `take_changed` tells which to save, `on_forgotten` who has no entry now."""

    def __init__(self) -> None:
        self.on_forgotten: Callable[[PeerId], None] = lambda peer_id: None
        self._peers: dict[PeerId, KnownPeer] = {}
        self._changed: set[PeerId] = set()
        self._removed: set[PeerId] = set()

    def load(self, peers: Iterable[KnownPeer]) -> None:
        """Takes those that were saved; nothing of it is to be saved again."""
        self._peers.update((peer.peer_id, peer) for peer in peers)

    def __iter__(self) -> Iterator[KnownPeer]:
        return iter(self._peers.values())

    def get(self, peer_id: PeerId) -> KnownPeer | None:
        return self._peers.get(peer_id)

    def found(
        self,
        peer_id: PeerId,
        topic_id: bytes | None,
        found_by: str,
        addresses: Iterable[Address],
        now: float,
    ) -> bool:
        """Notes what a record, an advert or an invite said; whether anything of it is new."""
        peer = self._peers.get(peer_id)
        is_new = peer is None
        if peer is None:
            peer = self._add(peer_id, now)
        if found_by not in peer.found_by:
            peer.found_by.append(found_by)
        if topic_id is not None and topic_id not in peer.topics:
            peer.topics.add(topic_id)
            is_new = True
        for address in addresses:
            known = peer.addresses.get(address)
            if known is None:
                peer.addresses[address] = KnownAddress(now)
                is_new = True
            else:
                known.seen = now
        self._trim(peer, now)
        peer.last_seen = now
        self._changed.add(peer_id)
        return is_new

    def connected(
        self, peer_id: PeerId, address: Address, topics: Iterable[bytes], now: float
    ) -> None:
        """Notes that a session stands. A peer has one UDP port for all it does, so the address from
        which it dialled us is as good as one at which we dialled it.
        """
        self.found(peer_id, None, "known", [address], now)
        peer = self._peers[peer_id]
        # It may have been trimmed again, where the clock was set back and all others look newer.
        peer.addresses.setdefault(address, KnownAddress(now)).worked = now
        self._trim(peer, now)
        peer.topics.update(topics)
        peer.last_connected = now
        peer.first_connected = peer.first_connected or now

    def enter(self, peer_id: PeerId, now: float) -> KnownPeer:
        """The entry, which is made where there is none, and is saved the next time."""
        self._changed.add(peer_id)
        return self._peers.get(peer_id) or self._add(peer_id, now)

    def is_blocked(self, peer_id: PeerId) -> bool:
        peer = self._peers.get(peer_id)
        return peer is not None and peer.is_blocked

    def take_changed(self) -> tuple[list[KnownPeer], list[PeerId]]:
        """The peers to save and those to delete since the last call."""
        saved = [self._peers[peer_id] for peer_id in self._changed if peer_id in self._peers]
        removed = list(self._removed)
        self._changed.clear()
        self._removed.clear()
        return saved, removed

    def keep(self, peers: Iterable[KnownPeer], removed: Iterable[PeerId]) -> None:
        """Takes back what could not be saved, for the next time."""
        self._changed.update(peer.peer_id for peer in peers if peer.peer_id in self._peers)
        self._removed.update(peer_id for peer_id in removed if peer_id not in self._peers)

    def _add(self, peer_id: PeerId, now: float) -> KnownPeer:
        self._make_room()
        self._removed.discard(peer_id)
        peer = self._peers[peer_id] = KnownPeer(peer_id, now)
        return peer

    def _make_room(self) -> None:
        if len(self._peers) < MAX_PEERS:
            return
        victim = min(
            self._peers.values(),
            key=lambda peer: (peer.in_use, peer.is_blocked, peer.last_connected, peer.last_seen),
        ).peer_id
        del self._peers[victim]
        self._changed.discard(victim)
        self._removed.add(victim)
        self.on_forgotten(victim)

    @staticmethod
    def _trim(peer: KnownPeer, now: float) -> None:
        for address, known in list(peer.addresses.items()):
            if max(known.seen, known.worked) < now - FORGET_ADDRESS_S:
                del peer.addresses[address]
        if len(peer.addresses) <= MAX_ADDRESSES:
            return
        # Whoever knows a topic can advertise any peer on the local network, with made-up
        # addresses; those may not push out the one that worked last.
        oldest_first = sorted(
            peer.addresses, key=lambda a: max(peer.addresses[a].seen, peer.addresses[a].worked)
        )
        best = max(peer.addresses, key=lambda a: peer.addresses[a].worked)
        if peer.addresses[best].worked:
            oldest_first.remove(best)
        for address in oldest_first[: len(peer.addresses) - MAX_ADDRESSES]:
            del peer.addresses[address]
