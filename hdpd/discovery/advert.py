"""What an mDNS advert says: the peer id, sealed for the members of each topic. Pure.

The TXT record holds `n`, a nonce of 12 bytes, and `0` to `7`, slots of 48 bytes: the peer id under
ChaCha20-Poly1305 with a topic's mDNS key, that nonce and a constant as associated data. Slots are
in random order and unused ones are random bytes, so that neither who nor how many topics shows.
Members find theirs by trying all, which is a few microseconds each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from hdpd.errors import ProtocolError
from hdpd.identity.contexts import MDNS_SLOT
from hdpd.identity.keys import KEY_BYTES, PeerId
from hdpd.identity.topics import Topic

SLOTS: Final = 8
NONCE_BYTES: Final = 12
SLOT_BYTES: Final = KEY_BYTES + 16
NONCE_KEY: Final = b"n"


def seal_slots(
    peer_id: PeerId, topics: Sequence[Topic], random_bytes: Callable[[int], bytes]
) -> dict[bytes, bytes]:
    """The TXT entries of an advert for at most SLOTS topics, with a new nonce."""
    if len(topics) > SLOTS:
        raise ValueError(f"an advert has {SLOTS} slots, not {len(topics)}")
    nonce = random_bytes(NONCE_BYTES)
    slots = [
        ChaCha20Poly1305(topic.mdns_key).encrypt(nonce, peer_id.raw, MDNS_SLOT) for topic in topics
    ]
    slots += [random_bytes(SLOT_BYTES) for _ in range(SLOTS - len(topics))]
    # Sealed slots look random, so sorting them is a random order.
    slots.sort()
    return {NONCE_KEY: nonce} | {b"%d" % index: slot for index, slot in enumerate(slots)}


def open_slots(
    entries: Mapping[bytes, bytes | None], topics: Iterable[Topic]
) -> dict[PeerId, tuple[bytes, ...]]:
    """The peers in an advert and the public ids of the topics for which each is there.

    Empty when the advert is for others. Raises ProtocolError when it is not of the right form.
    """
    nonce = entries.get(NONCE_KEY)
    slots = [entries.get(b"%d" % index) for index in range(SLOTS)]
    if nonce is None or len(nonce) != NONCE_BYTES:
        raise ProtocolError("an mDNS advert has no proper nonce")
    found: dict[PeerId, tuple[bytes, ...]] = {}
    for topic in topics:
        cipher = ChaCha20Poly1305(topic.mdns_key)
        for slot in slots:
            if slot is None or len(slot) != SLOT_BYTES:
                raise ProtocolError("an mDNS advert lacks a slot or has one of a wrong size")
            try:
                peer_id = PeerId(cipher.decrypt(nonce, slot, MDNS_SLOT))
            except InvalidTag:
                continue
            found[peer_id] = (*found.get(peer_id, ()), topic.public_id)
            break
    return found
