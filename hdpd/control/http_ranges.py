"""HTTP byte ranges and entity tags (RFC 9110, sections 8.8.3, 13 and 14). Pure."""

from __future__ import annotations

import base64
import re

_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


class RangeNotSatisfiable(ValueError):
    """The range lies beyond the end; the answer is status 416."""


def entity_tag(validator: bytes) -> str:
    """The strong entity tag of a file that has this validator."""
    return f'"{base64.urlsafe_b64encode(validator).decode()}"'


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The (first byte, end) that a Range header asks for of `size` bytes; None to send all: no
    header, several ranges, or one that is not understood (14.2).

    Raises:
        RangeNotSatisfiable
    """
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        end = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= end:
        raise RangeNotSatisfiable
    return start, end


def range_applies(if_range: str | None, tag: str) -> bool:
    """Whether a Range header counts: If-Range, where sent, must be this tag (13.1.5)."""
    return if_range is None or if_range.strip() == tag


def is_unchanged(if_none_match: str | None, tag: str) -> bool:
    """Whether the client has this very file already (13.1.2); the answer is status 304."""
    if if_none_match is None:
        return False
    tags = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return tag in tags or "*" in tags
