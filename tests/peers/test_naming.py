"""Finding the peer that somebody means."""

from __future__ import annotations

import pytest

from hdpd.errors import PeerAmbiguous, PeerNotFound
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.peers.naming import resolve_peer
from tests.link.helpers import identity

PEERS = [identity(number).peer_id for number in range(30)]
ONE = PEERS[7]


@pytest.mark.parametrize(
    "text",
    [
        ONE.text,
        ONE.text.upper(),
        name_of(ONE),
        name_of(ONE).lower(),
        f"  {name_of(ONE)}\n",
        name_of(ONE)[:-1],
        ONE.text[:10],
    ],
)
def test_a_peer_is_found_by_name_id_or_their_beginning(text: str) -> None:
    assert resolve_peer(text, PEERS) == ONE


@pytest.mark.parametrize("text", ["", "  ", "NoSuchPeer", ONE.text + "a", "../x", "a", "ab", "\0"])
def test_what_means_nobody(text: str) -> None:
    with pytest.raises(PeerNotFound, match="hdpctl peers"):
        resolve_peer(text, PEERS)


def test_nobody_is_known() -> None:
    with pytest.raises(PeerNotFound):
        resolve_peer(ONE.text, [])


def test_an_ambiguous_beginning_is_refused_with_the_ids() -> None:
    by_beginning: dict[str, list[PeerId]] = {}
    for number in range(2000):
        peer = identity(number).peer_id
        by_beginning.setdefault(peer.text[:3], []).append(peer)
    beginning, several = max(by_beginning.items(), key=lambda item: len(item[1]))
    with pytest.raises(PeerAmbiguous) as raised:
        resolve_peer(beginning, several)
    assert all(peer.text in str(raised.value) for peer in several)


def test_two_of_one_name_are_told_apart_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdpd.peers.naming.name_of", lambda peer: "PersianChinchilla")
    with pytest.raises(PeerAmbiguous):
        resolve_peer("PersianChinchilla", PEERS)
    assert resolve_peer(ONE.text, PEERS) == ONE


def test_an_exact_name_goes_before_longer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {ONE: "RedFox", PEERS[8]: "RedFoxhound"}
    monkeypatch.setattr("hdpd.peers.naming.name_of", names.__getitem__)
    assert resolve_peer("redfox", names) == ONE
    assert resolve_peer("redfoxh", names) == PEERS[8]
