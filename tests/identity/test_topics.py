"""Topics: which names are one and the same, which are refused, which draw a warning."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.errors import TopicInvalid
from hdpd.identity.topics import Topic, derive_master, is_guessable, new_name, normalise


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("party", "party"),
        ("  place to meet\n", "place to meet"),
        ("Party", "Party"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u3000日本\u3000", "日本"),
        ("👪" * 64, "👪" * 64),
        ("x" * 256, "x" * 256),
    ],
)
def test_names_are_normalised(name: str, normal: str) -> None:
    assert normalise(name) == normal


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        (" \t\n", "empty"),
        ("a\nb", "control"),
        ("a\0", "control"),
        ("\x7f", "control"),
        ("\udcff", "control"),
        ("x" * 257, "256 bytes"),
        ("ä" * 129, "256 bytes"),
        ("x" * 10_000_000, "256 bytes"),
    ],
)
def test_unusable_names_are_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(TopicInvalid, match=reason):
        normalise(name)


@given(st.text(max_size=300))
def test_a_normal_name_is_its_own_normal_form(name: str) -> None:
    try:
        normal = normalise(name)
    except TopicInvalid:
        return
    assert normalise(normal) == normal
    assert unicodedata.is_normalized("NFC", normal)
    assert 1 <= len(normal.encode()) <= 256


def test_all_keys_of_all_topics_differ() -> None:
    topics = [Topic.from_master(name, derive_master(name)) for name in ("party", "Party")]
    secrets = {
        key
        for topic in topics
        for key in (
            topic.public_id,
            topic.announcement_key,
            topic.proof_key,
            topic.knock_key,
            topic.mdns_key,
        )
    }
    assert len(secrets) == 10
    assert {len(secret) for secret in secrets} == {32}


def test_the_name_and_the_keys_of_a_topic_do_not_show() -> None:
    topic = Topic.from_master("hush", bytes(32))
    assert "hush" not in repr(topic)
    assert repr(topic.proof_key) not in repr(topic)
    assert repr(topic.public_id) in repr(topic)


@pytest.mark.parametrize(
    "name",
    [
        "party",
        "place to meet",
        "correct horse battery staple",
        "Tr0ub4dor&3",
        "2024-12-31",
        "a" * 200,
        "1234" * 20,
        "the the the the the the the the the the",
    ],
)
def test_likely_names_are_guessable(name: str) -> None:
    assert is_guessable(name)


@pytest.mark.parametrize(
    "name",
    [
        "3f2c9a7e5b1d4c8e9f0a6b7d2e1c3f5a",
        "x7Gq-92Lp-zW4r-81Tk-vB3n-5Ys6",
        "lamp otter violin seven harbour quilt pepper glacier",
    ],
)
def test_unlikely_names_are_not(name: str) -> None:
    assert not is_guessable(name)


def test_new_names_are_normal_unguessable_and_different() -> None:
    randomness = random.Random(1)
    names = [new_name(randomness.randbytes(16)) for _ in range(1000)]
    assert len(set(names)) == 1000
    assert all(normalise(name) == name and not is_guessable(name) for name in names)


def test_a_new_name_takes_16_bytes() -> None:
    with pytest.raises(ValueError, match="16"):
        new_name(b"too short")
