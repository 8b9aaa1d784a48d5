"""Names for people: an adjective and an animal from a peer's key.

A name is never an identity. Two peers can have the same one, so every lookup is by id, and the
lists may grow in another version without breaking anything but habit.
"""

from __future__ import annotations

import hashlib

from hdpd.identity import contexts
from hdpd.identity.adjectives import ADJECTIVES
from hdpd.identity.animals import ANIMALS
from hdpd.identity.keys import PeerId


def name_of(peer_id: PeerId) -> str:
    """The peer's readable name, such as `MellowChinchilla`."""
    digest = hashlib.sha256(contexts.NAME_HASH + b"\0" + peer_id.raw).digest()
    # 64 bits each make the bias of the remainder too small to ever see.
    adjective = ADJECTIVES[int.from_bytes(digest[0:8]) % len(ADJECTIVES)]
    animal = ANIMALS[int.from_bytes(digest[8:16]) % len(ANIMALS)]
    return adjective + animal
