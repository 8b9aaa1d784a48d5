"""Text of paths: the reversible mapping between the bytes of file names and valid Unicode.

hdpd writes each byte that is not part of valid UTF-8 as U+EF80 to U+EFFF (byte 0x80 is U+EF80), and
a real character of that range byte by byte likewise. This module turns such text into the bytes of
a file name again, or into something that is safe to look at.
"""

from __future__ import annotations

import re

_BYTE_BASE = 0xEF00
_SURROGATE_BASE = 0xDC00
_TO_SURROGATES = {_BYTE_BASE + byte: _SURROGATE_BASE + byte for byte in range(0x80, 0x100)}
_UNMAPPED = re.compile("[\udc80-\udcff\uef80-\uefff]")
_NOT_A_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")

# C0, DEL, C1, soft hyphen, everything that reorders, breaks or hides text, lone surrogates. Joiners
# (U+200C, U+200D) stay: emoji and several scripts need them.
_DANGEROUS = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff"
)
_INVISIBLE = re.compile(f"[{_DANGEROUS}\uef80-\uefff]")
_DANGEROUS_IN_JSON = re.compile(f"[{_DANGEROUS}]")
_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def from_bytes(raw: bytes) -> str:
    """Write a file name's bytes as valid Unicode; `to_bytes` is its inverse."""
    text = raw.decode("utf-8", "surrogateescape")
    return text if text.isascii() else _UNMAPPED.sub(_map, text)


def to_bytes(text: str) -> bytes:
    """Give the bytes that `text` stands for; what no hdpd sends (surrogates) becomes U+FFFD."""
    if text.isascii():
        return text.encode()
    text = _NOT_A_BYTE.sub("\ufffd", text).translate(_TO_SURROGATES)
    return text.encode("utf-8", "surrogateescape")


def visible(text: str) -> str:
    """Make control and bidirectional characters, and bytes that are not UTF-8, visible escapes.

    The result is one line and safe on any terminal. It is for people: not reversible.
    """
    return _INVISIBLE.sub(_escape, text)


def json_safe(document: str) -> str:
    r"""Write dangerous characters of a JSON document as \uXXXX: the same value, safe to print.

    Only a one-line or indented document of `json.dumps` fits: its newlines are kept.
    """
    return _DANGEROUS_IN_JSON.sub(_escape_json, document)


def _map(match: re.Match[str]) -> str:
    char = match[0]
    if char < "\ue000":
        return chr(ord(char) - _SURROGATE_BASE + _BYTE_BASE)
    return "".join(chr(_BYTE_BASE + byte) for byte in char.encode())


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    code = ord(char)
    if 0xEF80 <= code <= 0xEFFF:
        return f"\\x{code - _BYTE_BASE:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def _escape_json(match: re.Match[str]) -> str:
    return match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}"
