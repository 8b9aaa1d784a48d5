"""The one place where what the parts return becomes JSON.

A part returns a frozen struct (or rows of them) with the types of hdpd: PeerId, RemotePath,
HostPort, HdpdError. `show` takes the attributes that a result of `results.py` names out of it, and
fails when one is missing or has another type; what the result does not name stays inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from hdpd.config import HostPort
from hdpd.identity.keys import PeerId
from hdpd.wire.paths import EntryName, RemotePath

T = TypeVar("T")

_TEXTS = (str, PeerId, RemotePath, EntryName, HostPort, Path)


class Text(str):
    """In a result: the text of a value that has a type of its own inside hdpd."""

    __slots__ = ()


class Result(msgspec.Struct, kw_only=True):
    """Base of all results."""


def show(kind: type[T], value: object) -> T:
    """What clients are shown of a part's answer: a `Result` or a list of them.

    Raises:
        msgspec.ValidationError, TypeError: `value` is not what `kind` says; a mistake of ours.
    """
    return msgspec.convert(value, kind, from_attributes=True, dec_hook=_decode)


def encode(value: object) -> bytes:
    """The JSON of what is made of results and plain values.

    Raises:
        TypeError, ValueError: it can't be written as JSON; a mistake of ours.
    """
    return _ENCODER.encode(value)


def schema(kind: type) -> dict[str, str]:
    """The JSON schema of a type that only `show` knows."""
    if kind is Text:
        return {"type": "string"}
    raise NotImplementedError


def _decode(kind: type, value: object) -> object:
    if kind is Text and isinstance(value, _TEXTS):
        return Text(str(value))
    raise TypeError(f"{type(value).__name__} is not shown to clients")


_ENCODER = msgspec.json.Encoder(enc_hook=str.__str__)
