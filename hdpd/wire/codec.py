"""The strict CBOR codec (RFC 8949) and the framing of messages.

A frame is a 4-byte big-endian length and that many bytes of CBOR. Decoding refuses what a
well-meaning peer never sends: indefinite lengths, duplicate keys, tags, floats, simple values other
than true, false and null, more than 8 levels, and trailing bytes.
"""

from __future__ import annotations

import io
from typing import Any, NoReturn

import cbor2

from hdpd.errors import ProtocolError

MAX_FRAME_BYTES = 64 * 1024  # for each message; longer answers are cut into several
LENGTH_BYTES = 4
_MAX_DEPTH = 8
_PLAIN_TYPES = frozenset({int, bytes, str, bool, type(None)})


def _refuse_tag(*_: Any) -> NoReturn:
    raise ProtocolError("CBOR tags are not allowed")


# cbor2 has built-in decoders for some tags (regular expressions, decimals, references), which only
# an entry of our own disables; all others go to tag_hook.
_NO_TAGS = dict.fromkeys([*range(300), 1004, 43000, 55799], _refuse_tag)


def encode(value: object) -> bytes:
    """CBOR of plain values: dict, list, tuple, int, bytes, str, bool and None."""
    return cbor2.dumps(value)


def decode(data: bytes) -> object:
    """The plain value that `data` encodes: dict, list, int, bytes, str, bool or None.

    Raises:
        ProtocolError: the only error, whatever the bytes are.
    """
    source = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(
            source,
            tag_hook=_refuse_tag,
            semantic_decoders=_NO_TAGS,
            max_depth=_MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
        ).decode()
    except (cbor2.CBORError, ProtocolError, ValueError, TypeError, RecursionError) as error:
        raise ProtocolError(f"a message is not acceptable CBOR: {error}") from None
    if source.tell() != len(data):
        raise ProtocolError("a message is followed by bytes that do not belong to it")
    _require_plain(value)
    return value


def _require_plain(value: object) -> None:
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise ProtocolError("a key in a message is not text")
            _require_plain(item)
    elif type(value) is list:
        for item in value:
            if type(item) not in _PLAIN_TYPES:
                _require_plain(item)
    elif type(value) not in _PLAIN_TYPES:
        raise ProtocolError(f"a message holds a value of a type that is not allowed: {value!r:.40}")


def decode_map(data: bytes) -> dict[str, Any]:
    """Like `decode`, for messages, which are always maps with text keys."""
    value = decode(data)
    if type(value) is not dict:
        raise ProtocolError("a message is not a map")
    return value


def frame(message: dict[str, object]) -> bytes:
    """`message` with its length in front, ready for a stream.

    Raises:
        ValueError: the message is larger than a peer would accept; a mistake of ours.
    """
    body = encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {len(body)} bytes exceeds {MAX_FRAME_BYTES}")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


class FrameReader:
    """Cuts a byte stream into frames and raw bytes; holds what was fed and not yet taken."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Takes what came next in the stream."""
        self._buffer += data

    def next_frame(self) -> dict[str, Any] | None:
        """The next whole message, or None when more bytes are needed.

        Raises:
            ProtocolError: too long, or not acceptable CBOR.
        """
        buffer = self._buffer
        if len(buffer) < LENGTH_BYTES:
            return None
        length = int.from_bytes(buffer[:LENGTH_BYTES], "big")
        if length > MAX_FRAME_BYTES:
            raise ProtocolError(f"a message of {length} bytes exceeds {MAX_FRAME_BYTES}")
        end = LENGTH_BYTES + length
        if len(buffer) < end:
            return None
        body = bytes(buffer[LENGTH_BYTES:end])
        del buffer[:end]
        return decode_map(body)

    def take(self, limit: int) -> bytes:
        """Up to `limit` raw bytes of what is buffered."""
        taken = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        return taken
