"""Names of peers: well-formed, spread evenly, and rarely the same for two of a hundred friends."""

from __future__ import annotations

import hashlib
import re
from collections import Counter

import pytest

from hdpd.identity.adjectives import ADJECTIVES
from hdpd.identity.animals import ANIMALS
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of


def peer(number: int) -> PeerId:
    return PeerId(hashlib.sha256(number.to_bytes(8)).digest())


@pytest.mark.parametrize("words", [ADJECTIVES, ANIMALS])
def test_words_are_single_capitalised_and_all_different(words: tuple[str, ...]) -> None:
    assert all(re.fullmatch(r"[A-Z][a-z]{1,12}", word) for word in words)
    assert list(words) == sorted(set(words))


def test_the_lists_share_no_word() -> None:
    assert not set(ADJECTIVES) & set(ANIMALS)


def test_a_hundred_friends_clash_in_less_than_two_percent() -> None:
    names = len(ADJECTIVES) * len(ANIMALS)
    all_different = 1.0
    for taken in range(100):
        all_different *= 1 - taken / names
    assert 1 - all_different < 0.02


def test_a_name_is_an_adjective_and_an_animal() -> None:
    first, second = re.fullmatch(r"([A-Z][a-z]+)([A-Z][a-z]+)", name_of(peer(1))).groups()  # type: ignore[union-attr]
    assert first in ADJECTIVES
    assert second in ANIMALS


def test_names_spread_over_all_words() -> None:
    parts = Counter(
        part
        for number in range(20_000)
        for part in re.findall("[A-Z][a-z]+", name_of(peer(number)))
    )
    assert set(parts) == set(ADJECTIVES) | set(ANIMALS)
    assert max(parts.values()) < 3 * 20_000 / min(len(ADJECTIVES), len(ANIMALS))
