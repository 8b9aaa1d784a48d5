"""The slots of mDNS adverts: members recognise each other, everybody else sees random bytes."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.discovery.advert import SLOTS, open_slots, seal_slots
from hdpd.errors import ProtocolError
from hdpd.identity.keys import PeerId
from hdpd.identity.topics import Topic

ANNA = PeerId(b"a" * 32)
TOPICS = [Topic.from_master(f"topic {number}", bytes([number]) * 32) for number in range(12)]


@given(st.sets(st.integers(0, 11), max_size=SLOTS), st.sets(st.integers(0, 11)))
def test_exactly_the_common_topics_are_found(advertised: set[int], ours: set[int]) -> None:
    entries = seal_slots(ANNA, [TOPICS[number] for number in advertised], os.urandom)
    found = open_slots(entries, [TOPICS[number] for number in ours])
    common = {TOPICS[number].public_id for number in advertised & ours}
    assert {peer: set(topics) for peer, topics in found.items()} == (
        {ANNA: common} if common else {}
    )


def test_neither_number_nor_order_of_topics_shows() -> None:
    shapes = set()
    for count in range(SLOTS + 1):
        entries = seal_slots(ANNA, TOPICS[:count], os.urandom)
        shapes.add(tuple((key, len(value)) for key, value in entries.items()))
        assert list(entries.values())[1:] == sorted(list(entries.values())[1:])
    assert len(shapes) == 1


def test_two_adverts_of_one_peer_have_nothing_in_common() -> None:
    first = seal_slots(ANNA, TOPICS[:3], os.urandom)
    second = seal_slots(ANNA, TOPICS[:3], os.urandom)
    assert not set(first.values()) & set(second.values())


def test_the_entries_fit_into_txt_strings() -> None:
    for key, value in seal_slots(ANNA, TOPICS[:1], os.urandom).items():
        assert len(key) + 1 + len(value) <= 255


def test_more_topics_than_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="8 slots"):
        seal_slots(ANNA, TOPICS, os.urandom)


@pytest.mark.parametrize("key", [b"n", b"0", b"7"])
@pytest.mark.parametrize("value", [None, b"", b"x" * 200])
def test_adverts_of_the_wrong_form_are_refused(key: bytes, value: bytes | None) -> None:
    entries = seal_slots(ANNA, TOPICS[:1], os.urandom) | {key: value}
    with pytest.raises(ProtocolError):
        open_slots(entries, TOPICS)


def test_other_entries_are_ignored() -> None:
    entries = seal_slots(ANNA, TOPICS[:1], os.urandom) | {b"8": b"", b"later": None}
    assert open_slots(entries, TOPICS) == {ANNA: (TOPICS[0].public_id,)}
