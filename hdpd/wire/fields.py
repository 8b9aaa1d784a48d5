"""Exact-type access to the fields of a decoded message; unknown keys are left alone.

Each function returns the field as the type that its name says, or raises ProtocolError naming the
field: no conversion, no truthiness, no default that a peer could abuse.
"""

from __future__ import annotations

from typing import Any

from hdpd.errors import PathInvalid, ProtocolError
from hdpd.wire.paths import RemotePath

Message = dict[str, Any]

MAX_INTEGER = 2**63 - 1  # what SQLite and the file system calls can take


def _wrong(key: str, wanted: str) -> ProtocolError:
    return ProtocolError(f"the field {key!r} of a message is missing or not {wanted}")


def integer(message: Message, key: str, low: int = 0, high: int = MAX_INTEGER) -> int:
    """A whole number within the bounds, both included."""
    value = message.get(key)
    if type(value) is not int or not low <= value <= high:
        raise _wrong(key, f"an integer from {low} to {high}")
    return value


def boolean(message: Message, key: str) -> bool:
    """True or false; a number is neither."""
    value = message.get(key)
    if type(value) is not bool:
        raise _wrong(key, "true or false")
    return value


def byte_string(message: Message, key: str, size: int) -> bytes:
    """Exactly `size` bytes."""
    value = message.get(key)
    if type(value) is not bytes or len(value) != size:
        raise _wrong(key, f"a byte string of {size} bytes")
    return value


def optional_bytes(message: Message, key: str, max_size: int) -> bytes | None:
    """At most `max_size` bytes; None where the field is null or missing."""
    value = message.get(key)
    if value is None:
        return None
    if type(value) is not bytes or len(value) > max_size:
        raise _wrong(key, f"a byte string of at most {max_size} bytes")
    return value


def text(message: Message, key: str, max_bytes: int) -> str:
    """Text of at most `max_bytes` bytes in UTF-8."""
    value = message.get(key)
    if type(value) is not str or len(value.encode(errors="replace")) > max_bytes:
        raise _wrong(key, f"text of at most {max_bytes} bytes")
    return value


def array(message: Message, key: str, max_items: int) -> list[Any]:
    """At most `max_items` items, of any type."""
    value = message.get(key)
    if type(value) is not list or len(value) > max_items:
        raise _wrong(key, f"an array of at most {max_items} items")
    return value


def remote_path(message: Message, key: str) -> RemotePath:
    """A path; raises PathInvalid, also where it is missing."""
    try:
        return RemotePath.from_wire(message.get(key))
    except PathInvalid as error:
        raise PathInvalid(
            f"the field {key!r} of a message is not an acceptable path: {error}"
        ) from None
