"""Finding the peer that somebody means by a name, a peer id or the beginning of one. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from hdpd.errors import PeerAmbiguous, PeerNotFound
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of

MIN_PREFIX = 3  # shorter beginnings are typing mistakes


def resolve_peer(text: str, known: Iterable[PeerId]) -> PeerId:
    """The one peer that `text` can mean; an exact name or id goes before a prefix.

    Raises:
        PeerNotFound: none.
        PeerAmbiguous: several; the message lists their ids.
    """
    wanted = text.strip()
    peers = list(known)
    lower = wanted.lower()
    exact = [peer for peer in peers if peer.text == lower or name_of(peer).lower() == lower]
    matches = exact or [
        peer
        for peer in peers
        if len(lower) >= MIN_PREFIX
        and (peer.text.startswith(lower) or name_of(peer).lower().startswith(lower))
    ]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise PeerNotFound(f"no known peer is called {wanted!r}; `hdpctl peers` lists them")
    listed = ", ".join(f"{name_of(peer)} {peer.text}" for peer in matches[:10])
    raise PeerAmbiguous(f"{wanted!r} can mean {len(matches)} peers; say which id: {listed}")
