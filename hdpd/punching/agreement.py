"""How two peers agree on a punch: each answers the other's fresh nonce before any packet. Pure.

A punch request names its target and carries a nonce of its sender; the answer carries the nonce of
the answering side and repeats the first one. A side begins when its own, young nonce came back in
a signed request: so an old request that somebody sends again makes nobody punch, whatever the
clocks say.

    A to B: nonce a
    B to A: nonce b, answers a          A begins
    A to B: nonce a, answers b          B begins
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from hdpd.discovery.records import PUNCH_NONCE_BYTES, Record
from hdpd.identity.keys import PeerId
from hdpd.recent import Recent

OFFER_S: Final = 10.0  # a nonce that was not answered by then is too old
REPEAT_S: Final = 1.0  # a request may be lost: brokers forward them with QoS 0
MAX_REPEATS: Final = 3
# Of one peer that has not begun a punch: answers to its requests, so that it cannot make us talk.
MIN_ANSWER_GAP_S: Final = 0.5
REST_S: Final = 3.0  # after a punch began, a new one with the same peer is not agreed on so soon
MAX_PEERS: Final = 256  # about 500 bytes each; the one not heard of for longest is forgotten


class Ask(Struct, frozen=True):
    """Send a punch request to `target` with these nonces."""

    target: PeerId
    topic_id: bytes
    nonce: bytes
    answers: bytes | None


class Begin(Struct, frozen=True):
    """Punch now with the sender of `record`; `nonces` are ours and the peer's."""

    record: Record
    nonces: tuple[bytes, bytes]


Command = Ask | Begin


class _Offer(Struct):
    """Our nonce for one peer and what became of it."""

    topic_id: bytes
    nonce: bytes
    made: float
    asked: float
    repeats: int = 0
    answered: bytes | None = None
    answered_at: float = float("-inf")
    began: float | None = None


class Agreements:
    """The offers to all peers. `random_bytes(n)` gives n random bytes."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._offers = Recent[PeerId, _Offer](MAX_PEERS)

    def propose(self, peer_id: PeerId, topic_id: bytes, now: float) -> list[Command]:
        """We want to punch with that peer; nothing while there is an offer to it that is young."""
        offer = self._offers.get(peer_id)
        if offer is not None and not self._is_old(offer, now):
            return []
        offer = self._offer(peer_id, topic_id, now)
        return [Ask(peer_id, topic_id, offer.nonce, None)]

    def _is_old(self, offer: _Offer, now: float) -> bool:
        if offer.began is not None:
            return now > offer.began + REST_S
        return now > offer.made + OFFER_S

    def _offer(self, peer_id: PeerId, topic_id: bytes, now: float) -> _Offer:
        nonce = self._random_bytes(PUNCH_NONCE_BYTES)
        offer = _Offer(topic_id, nonce, now, now)
        self._offers.put(peer_id, offer)
        return offer

    def receive(self, record: Record, now: float) -> list[Command]:
        """A punch request that is for us, its signature checked."""
        assert record.punch is not None
        peer_id, theirs = record.peer_id, record.punch.nonce
        offer = self._offers.get(peer_id)
        if offer is None or offer.topic_id != record.topic_id or self._is_old(offer, now):
            # An answer to an offer that is gone begins nothing, but neither is it a new request.
            if record.punch.answers is not None and offer is not None:
                return []
            offer = self._offer(peer_id, record.topic_id, now)
        commands: list[Command] = []
        if self._should_answer(offer, theirs, now):
            offer.answered, offer.answered_at = theirs, now
            commands.append(Ask(peer_id, offer.topic_id, offer.nonce, theirs))
        if record.punch.answers == offer.nonce and offer.began is None:
            offer.began = now
            commands.append(Begin(record, (offer.nonce, theirs)))
        return commands

    @staticmethod
    def _should_answer(offer: _Offer, theirs: bytes, now: float) -> bool:
        """Every nonce is answered, and once or twice again when its owner seems not to know it."""
        if now < offer.answered_at + MIN_ANSWER_GAP_S:
            return False
        if offer.answered == theirs:
            offer.repeats += 1
            return offer.repeats <= MAX_REPEATS
        return True

    def advance(self, now: float) -> list[Command]:
        """Repeats requests that nobody has answered; to be called about once a second."""
        commands: list[Command] = []
        for peer_id, offer in self._offers.items():
            if (
                offer.began is None
                and offer.repeats < MAX_REPEATS
                and offer.asked + REPEAT_S <= now <= offer.made + OFFER_S
            ):
                offer.repeats += 1
                offer.asked = now
                commands.append(Ask(peer_id, offer.topic_id, offer.nonce, offer.answered))
        return commands

    def forget(self, peer_id: PeerId) -> None:
        """The peer is connected, or not wanted any more."""
        self._offers.pop(peer_id)
