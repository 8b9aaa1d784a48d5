"""Divides a limited rate between peers, and a peer's part between its streams. Pure.

A bucket for all and one for each peer say when the next bytes may go, and how many: slices of a few
hundredths of a second, so that the flow is smooth and a change of the rate is felt at once. Of the
peers that wait, the one that had least is served next (start-time fair queueing: bytes count, not
requests), and its streams take turns.
"""

from __future__ import annotations

import math

from msgspec import Struct, field

from hdpd.bucket import Bucket
from hdpd.identity.keys import PeerId

BURST_S = 0.1
"""What may be made up for when the clock comes late, or after a silence: never more than that."""

FORGET_S = 5.0
"""A peer that wanted nothing for so long owes nothing, and is as good as a new one."""


def _bucket(rate: int | None) -> Bucket:
    return Bucket(math.inf, math.inf) if rate is None else Bucket(rate, rate * BURST_S)


def _empty_bucket(rate: int | None, now: float) -> Bucket:
    bucket = _bucket(rate)
    if rate is not None:
        bucket.take(now, bucket.level(now))
    return bucket


class _Peer(Struct):
    bucket: Bucket
    served: float  # bytes so far, on the scale of `Shaper._served`
    seen_at: float
    wants: dict[int, int] = field(default_factory=dict)  # stream -> bytes, the next one first


class Grant(Struct, frozen=True):
    """So many bytes of the stream may go now."""

    stream: int
    size: int


class Shaper:
    """One direction. A stream is a number of the caller's choice, and waits at most once.

    It keeps as many peers as have streams, and those that had some in the last seconds.
    """

    def __init__(self, slice_seconds: float, min_slice: int) -> None:
        self._slice_seconds = slice_seconds
        self._min_slice = min_slice
        self._rate: int | None = None
        self._per_peer: int | None = None
        self._all = _bucket(None)
        self._peers: dict[PeerId, _Peer] = {}
        self._owners: dict[int, PeerId] = {}  # of the streams that wait
        self._served = 0.0  # what the peer that was served last had had by then

    @property
    def limited(self) -> bool:
        """Whether there is any limit at all."""
        return self._rate is not None or self._per_peer is not None

    @property
    def slice_bytes(self) -> int:
        """The most that is granted at once."""
        rates = [rate for rate in (self._rate, self._per_peer) if rate is not None]
        if not rates:
            raise AssertionError("without a limit there are no slices")
        return max(self._min_slice, int(min(rates) * self._slice_seconds))

    def set_rates(self, rate: int | None, per_peer: int | None, now: float) -> None:
        """Bytes per second for all peers together and for each one; None is no limit."""
        # Nothing is owed that was taken at another rate, and nothing was saved up.
        if rate != self._rate:
            self._rate, self._all = rate, _empty_bucket(rate, now)
        if per_peer != self._per_peer:
            self._per_peer = per_peer
            for peer in self._peers.values():
                peer.bucket = _empty_bucket(per_peer, now)
        for peer in self._peers.values():
            peer.served = self._served  # what was had under other limits gives no right to more

    def want(self, peer_id: PeerId, stream: int, size: int, now: float) -> None:
        """The stream waits for `size` bytes, of which it may be granted less."""
        peer = self._peers.get(peer_id)
        if peer is None:
            self._forget_idle(now)
            peer = _Peer(_bucket(self._per_peer), self._served, now)
            self._peers[peer_id] = peer
        if not peer.wants:
            # Time in which it wanted nothing is no claim to be served before the others.
            peer.served = max(peer.served, self._served)
        peer.seen_at = now
        peer.wants[stream] = size
        self._owners[stream] = peer_id

    def forget(self, stream: int) -> None:
        """The stream wants nothing any more; unknown ones are ignored."""
        peer_id = self._owners.pop(stream, None)
        if peer_id is not None:
            del self._peers[peer_id].wants[stream]

    def give_back(self, peer_id: PeerId, size: int, now: float) -> None:
        """So much of what was granted to the peer was not used; less than 0: so much more was."""
        self._all.take(now, -size)
        if peer := self._peers.get(peer_id):
            peer.bucket.take(now, -size)
            peer.served -= size

    def next_grant(self, now: float) -> Grant | None:
        """The next bytes that may go now, if any; to be called until there are none."""
        if self._all.ready_at() > now:
            return None
        ready = [p for p in self._peers.values() if p.wants and p.bucket.ready_at() <= now]
        if not ready:
            return None
        peer = min(ready, key=lambda peer: peer.served)
        stream, wanted = next(iter(peer.wants.items()))
        size = min(wanted, self.slice_bytes) if self.limited else wanted
        del peer.wants[stream], self._owners[stream]
        self._served = max(self._served, peer.served)
        peer.served += size
        peer.seen_at = now
        self._all.take(now, size)
        peer.bucket.take(now, size)
        return Grant(stream, size)

    def wake_at(self) -> float | None:
        """When `next_grant` has one again; None: nobody waits."""
        waiting = [peer.bucket.ready_at() for peer in self._peers.values() if peer.wants]
        return max(self._all.ready_at(), min(waiting)) if waiting else None

    def _forget_idle(self, now: float) -> None:
        self._peers = {
            peer_id: peer
            for peer_id, peer in self._peers.items()
            if peer.wants or now - peer.seen_at < FORGET_S or peer.bucket.ready_at() > now
        }
