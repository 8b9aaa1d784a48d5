"""Names and paths from peers: every spelling comes back, and nothing unsafe is constructed."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hdpd.errors import PathInvalid
from hdpd.wire.codec import decode, encode
from hdpd.wire.paths import (
    MAX_DEPTH,
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    EntryName,
    RemotePath,
    bytes_from_text,
    text_from_bytes,
)

# The bytes that take the mapping's interest: of its own range, of broken UTF-8, of surrogates.
tricky = st.lists(
    st.sampled_from(
        [b"\xee", b"\xbe", b"\x80", b"\xbf", b"\xef", b"\xed\xa0\x80", b"a", b"\xff", b"\xc3"]
        + [char.encode() for char in "\uef80\uefff\uef7f\uf000é🎵"]
    ),
    max_size=12,
).map(b"".join)
raw_bytes = st.one_of(st.binary(max_size=60), tricky)
names = raw_bytes.map(lambda raw: raw.replace(b"\0", b"").replace(b"/", b"") or b"x").filter(
    lambda raw: raw not in (b".", b"..")
)
paths = st.lists(names, max_size=6).map(b"/".join)


@given(raw_bytes)
@example(b"\xee\xbe\x80")
@example(b"\x80\xee\xbe\x80")
def test_text_is_valid_unicode_and_comes_back(raw: bytes) -> None:
    text = text_from_bytes(raw)
    text.encode()
    assert bytes_from_text(text) == raw
    assert ("\0" in text) == (b"\0" in raw)
    assert ("/" in text) == (b"/" in raw)


@given(st.text())
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    if not any("\uef80" <= char <= "\uefff" for char in text):
        assert text_from_bytes(text.encode()) == text


@given(raw_bytes, raw_bytes)
def test_different_bytes_have_different_texts(one: bytes, other: bytes) -> None:
    assert (text_from_bytes(one) == text_from_bytes(other)) == (one == other)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x80", "\uef80"),
        (b"a\xffb", "a\uefffb"),
        ("\uef80".encode(), "\uefee\uefbe\uef80"),
        (b"\xed\xb2\x80", "\uefed\uefb2\uef80"),
        ("é".encode(), "é"),
    ],
)
def test_the_mapping_is_as_documented(raw: bytes, text: str) -> None:
    assert text_from_bytes(raw) == text


def test_a_lone_surrogate_spells_nothing() -> None:
    for parse in (bytes_from_text, RemotePath.from_text, EntryName.from_wire):
        with pytest.raises(PathInvalid, match="Unicode"):
            parse("a\udc80")


@given(paths)
def test_a_path_comes_back_from_every_spelling(raw: bytes) -> None:
    path = RemotePath(raw)
    assert RemotePath.from_text(path.text) == path
    assert RemotePath.from_wire(path.to_wire()) == path
    assert RemotePath.from_wire(decode(encode(path.to_wire()))) == path
    assert b"/".join(name.raw for name in path) == raw
    assert str(path) == path.text


@given(paths, names)
def test_a_path_is_taken_apart_and_joined(raw: bytes, name: bytes) -> None:
    path = RemotePath(raw)
    child = path / EntryName(name)
    assert child.name.raw == name
    assert child.parent == path
    assert child.share.raw == child.raw.split(b"/")[0]
    assert not child.is_root
    assert path.is_root == (raw == b"")
    assert b"/".join(part for part in (child.share.raw, child.below_share) if part) == child.raw


@given(st.one_of(raw_bytes, st.lists(st.sampled_from([b"..", b".", b"", b"a"])).map(b"/".join)))
def test_joining_a_path_below_a_directory_stays_below_it(raw: bytes) -> None:
    """Whatever the constructor lets pass, `..` and absolute names are not in it."""
    try:
        path = RemotePath(raw)
    except PathInvalid:
        return
    joined = os.path.join(b"/srv/share", path.raw)  # noqa: PTH118
    assert os.path.normpath(joined).startswith(b"/srv/share")
    if raw:
        assert os.path.normpath(joined) == joined


@pytest.mark.parametrize(
    "raw",
    [b".", b"..", b"../x", b"/", b"/etc/x", b"a//b", b"a/", b"a/../../x", b"a/./b", b"a\0b", b"\0"],
)
def test_unsafe_paths_are_refused(raw: bytes) -> None:
    for parse in (RemotePath, RemotePath.from_wire):
        with pytest.raises(PathInvalid):
            parse(raw)
    with pytest.raises(PathInvalid):
        RemotePath.from_text(raw.decode())


@pytest.mark.parametrize("raw", [b"", b".", b"..", b"a/b", b"/", b"a\0", b"x" * 256])
def test_unsafe_names_are_refused(raw: bytes) -> None:
    with pytest.raises(PathInvalid):
        EntryName(raw)


def test_limits_are_met_exactly() -> None:
    EntryName(b"x" * MAX_NAME_BYTES)
    RemotePath(b"/".join([b"x"] * MAX_DEPTH))
    with pytest.raises(PathInvalid, match="deeper"):
        RemotePath(b"/".join([b"x"] * (MAX_DEPTH + 1)))
    longest = b"/".join([b"x" * 255] * 16)
    assert len(longest) == MAX_PATH_BYTES - 1
    RemotePath(longest)
    with pytest.raises(PathInvalid, match="longer"):
        RemotePath(longest + b"/yy")
    with pytest.raises(PathInvalid):
        RemotePath(longest) / EntryName(b"yy")


@pytest.mark.parametrize("value", [None, 5, True, ["a"], {"a": 1}, bytearray(b"a")])
def test_only_text_and_byte_strings_are_paths_on_the_wire(value: object) -> None:
    for parse in (RemotePath.from_wire, EntryName.from_wire):
        with pytest.raises(PathInvalid):
            parse(value)


def test_on_the_wire_only_what_is_not_utf8_is_a_byte_string() -> None:
    assert RemotePath("é/\uef80".encode()).to_wire() == "é/\uef80"
    assert RemotePath(b"a/\xff").to_wire() == b"a/\xff"


def test_the_root_has_no_share_and_no_name() -> None:
    root = RemotePath(b"")
    assert root.is_root
    assert list(root) == []
    assert root.below_share == b""
    for part in ("share", "name"):
        with pytest.raises(PathInvalid):
            getattr(root, part)
