"""The CBOR codec and the framing: what a peer may send, and all that it may not."""

from __future__ import annotations

import tracemalloc
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.errors import ProtocolError
from hdpd.wire.codec import (
    LENGTH_BYTES,
    MAX_FRAME_BYTES,
    FrameReader,
    decode,
    decode_map,
    encode,
    frame,
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=40)
    | st.text(max_size=40)
)
KEYS = st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=5), max_size=6)


def is_plain(value: object) -> bool:
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return type(value) in (int, bytes, str, bool, type(None))


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(VALUES.filter(lambda value: depth(value) < 8))
def test_plain_values_survive(value: object) -> None:
    decoded = decode(encode(value))
    assert decoded == value
    assert is_plain(decoded)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_plain_value_or_one_error(data: bytes) -> None:
    try:
        value = decode(data)
    except ProtocolError:
        return
    assert is_plain(value)
    assert decode(encode(value)) == value


@given(MESSAGES, st.data())
def test_damaged_messages_give_a_plain_value_or_one_error(
    message: dict[str, Any], data: st.DataObject
) -> None:
    raw = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        value = decode(bytes(raw))
    except ProtocolError:
        return
    assert is_plain(value)


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("nothing", ""),
        ("trailing bytes", "a000"),
        ("cut off", "a1"),
        ("cut off text", "6561"),
        ("half float", "f93c00"),
        ("float", "fb3ff0000000000000"),
        ("undefined", "f7"),
        ("simple value 16", "f0"),
        ("simple value 255", "f8ff"),
        ("break alone", "ff"),
        ("indefinite array", "9f01ff"),
        ("indefinite map", "bf616101ff"),
        ("indefinite text", "7f6161ff"),
        ("indefinite bytes", "5f4161ff"),
        ("duplicate keys", "a2616101616102"),
        ("key that is a number", "a10102"),
        ("key that is bytes", "a1416102"),
        ("text that is not UTF-8", "62c328"),
        ("text with a surrogate", "63eda080"),
        ("reserved length", "1c"),
        ("positive bignum", "c249010000000000000000"),
        ("negative bignum", "c349010000000000000000"),
        ("date", "c074323032362d30312d30315430303a30303a30305a"),
        ("epoch", "c11a514b67b0"),
        ("decimal", "c48221196ab3"),
        ("bigfloat", "c5822003"),
        ("regular expression", "d8236161"),
        ("MIME message", "d8246161"),
        ("UUID", "d82550000102030405060708090a0b0c0d0e0f"),
        ("shared value", "d81c81d81d00"),
        ("string reference", "d9010082616ad81900"),
        ("set", "d9010281616a"),
        ("IPv4 address", "d9010444c0000201"),
        ("rational", "d81e820103"),
        ("self-described", "d9d9f700"),
        ("encoded CBOR", "d8184100"),
        ("unknown tag", "dbffffffffffffffff00"),
        ("9 levels", "81" * 9 + "00"),
    ],
)
def test_refused(what: str, data: str) -> None:
    with pytest.raises(ProtocolError):
        decode(bytes.fromhex(data))


@pytest.mark.parametrize("content", ["00", "6161", "4161", "820102", "a0"])
def test_every_low_tag_is_refused(content: str) -> None:
    for tag in range(400):
        head = bytes([0xC0 | tag]) if tag < 24 else b"\xd9" + tag.to_bytes(2, "big")
        with pytest.raises(ProtocolError):
            decode(head + bytes.fromhex(content))


@pytest.mark.parametrize("head", ["5b", "7b", "9b", "bb"])
@pytest.mark.parametrize("length", [2**20, 2**31, 2**40, 2**63 - 1, 2**64 - 1])
def test_claimed_length_costs_no_memory(head: str, length: int) -> None:
    data = bytes.fromhex(head) + length.to_bytes(8, "big")
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < 2**18
    finally:
        tracemalloc.stop()


def test_eight_levels_are_enough_for_all() -> None:
    assert decode(bytes.fromhex("81" * 7 + "00")) == [[[[[[[0]]]]]]]


def test_a_message_is_a_map() -> None:
    assert decode_map(cbor2.dumps({"a": 1})) == {"a": 1}
    for other in (b"\x01", b"\x80", b"\x61a", b"\xf6"):
        with pytest.raises(ProtocolError):
            decode_map(other)


@given(st.lists(MESSAGES, max_size=5), st.binary(max_size=50), st.data())
def test_frames_survive_any_cut(
    messages: list[dict[str, Any]], tail: bytes, data: st.DataObject
) -> None:
    stream = b"".join(map(frame, messages)) + tail
    reader = FrameReader()
    found: list[dict[str, Any]] = []
    while stream or len(found) < len(messages):
        size = data.draw(st.integers(1, max(1, len(stream))))
        reader.feed(stream[:size])
        stream = stream[size:]
        while len(found) < len(messages) and (message := reader.next_frame()) is not None:
            found.append(message)
    assert found == messages
    assert reader.take(30) + reader.take(100) == tail
    assert len(reader) == 0


@given(st.binary(max_size=100))
def test_any_stream_gives_frames_or_one_error(data: bytes) -> None:
    reader = FrameReader()
    reader.feed(data)
    try:
        while reader.next_frame() is not None:
            pass
    except ProtocolError:
        pass


def test_too_long_a_frame_is_refused_before_it_has_come() -> None:
    reader = FrameReader()
    reader.feed((MAX_FRAME_BYTES + 1).to_bytes(LENGTH_BYTES, "big"))
    with pytest.raises(ProtocolError, match="exceeds"):
        reader.next_frame()


def test_longest_frame_passes() -> None:
    reader = FrameReader()
    message: dict[str, object] = {"x": bytes(MAX_FRAME_BYTES - 6)}
    assert len(encode(message)) == MAX_FRAME_BYTES
    reader.feed(frame(message))
    assert reader.next_frame() == message
    with pytest.raises(ValueError, match="exceeds"):
        frame({"x": bytes(MAX_FRAME_BYTES - 5)})
