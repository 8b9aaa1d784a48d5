"""The text of paths: reversible for all bytes, and safe to look at."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpctl.text import from_bytes, json_safe, to_bytes, visible

# Bytes that come near the limits of the mapping far more often than random ones.
names = st.lists(
    st.one_of(
        st.binary(max_size=4),
        st.sampled_from([b"\xee\xbe\x80", b"\xee\xbf\xbf", b"\xed\xa0\x80", "ü".encode(), b"a/b"]),
    )
).map(b"".join)


@given(names)
def test_bytes_come_back_and_the_text_is_valid_unicode(raw: bytes) -> None:
    text = from_bytes(raw)
    assert to_bytes(text) == raw
    assert text.encode().decode() == text


@given(st.text())
def test_any_text_gives_bytes(text: str) -> None:
    assert isinstance(to_bytes(text), bytes)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        ("Björk".encode(), "Björk"),
        (b"caf\xe9", "caf\uefe9"),
        (b"\x80\xff", "\uef80\uefff"),
        ("\uef80".encode(), "\uefee\uefbe\uef80"),
        ("\uefff".encode(), "\uefee\uefbf\uefbf"),
        ("\uef7f\uf000".encode(), "\uef7f\uf000"),
        (b"\xed\xb2\x80", "\uefed\uefb2\uef80"),
    ],
)
def test_the_mapping_is_the_one_of_the_protocol(raw: bytes, text: str) -> None:
    assert from_bytes(raw) == text
    assert to_bytes(text) == raw


@given(st.text())
def test_visible_text_is_one_line_without_controls(text: str) -> None:
    shown = visible(text)
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")]
    assert not [
        char
        for char in shown
        if unicodedata.bidirectional(char)
        in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a b"),
        ("tab\there\n", r"tab\there\n"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("exe.\u202efdp", r"exe.\u202efdp"),
        ("caf\uefe9", r"caf\xe9"),
        ("\x85", r"\u0085"),
        ("👩\u200d🚀", "👩\u200d🚀"),
    ],
)
def test_what_could_deceive_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.dictionaries(st.text(), st.text()))
def test_json_keeps_its_value_when_made_safe(value: dict[str, str]) -> None:
    document = json_safe(json.dumps(value, ensure_ascii=False, indent=1))
    assert json.loads(document) == value
    assert not [char for char in document if unicodedata.category(char) == "Cs"]
    assert "\x9b" not in document
    assert "\u202e" not in document
