"""Names and paths that come from peers and clients: parsed types whose constructors guard.

A path is a share name followed by components below it; the empty path is the list of shares. It
never holds `.`, `..`, an empty component, a slash inside a component or a NUL byte, so joining its
components below a directory cannot leave that directory (symbolic links are the opener's matter).

Three spellings: *bytes* as the file system has them; on the *wire* text, or a byte string when the
bytes are not UTF-8; as *text* (JSON, URLs, SQLite) always valid Unicode: each byte that is not part
of valid UTF-8 is written as U+EF80..U+EFFF (0x80 becomes U+EF80), and real characters of that
range byte by byte likewise, so that the mapping can be undone.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Self

from msgspec import Struct

from hdpd.errors import PathInvalid

MAX_NAME_BYTES = 255  # what every file system that Linux knows allows for one component
MAX_PATH_BYTES = 4096  # PATH_MAX; longer paths could not be opened anyway
MAX_DEPTH = 128  # far beyond real trees, and bounds every loop over components

_FORBIDDEN_BYTES = "a name must not contain a slash or a NUL byte"
_ESCAPE_BASE = 0xEF00
_ESCAPED = re.compile("[\uef80-\uefff]")


def _escape_undecodable(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    wrong = error.object[error.start : error.end]
    return "".join(chr(_ESCAPE_BASE + byte) for byte in wrong), error.end


codecs.register_error("hdpd-escape", _escape_undecodable)


def text_from_bytes(raw: bytes) -> str:
    """The reversible text spelling of any bytes (without NUL it has no NUL)."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        # Real characters of the escape range must not be mistaken for escapes, so they are escaped
        # before decoding: in UTF-8 they are exactly EE BE 80..BF and EE BF 80..BF.
        return "".join(_escape_real(piece) for piece in raw.decode(errors="surrogateescape"))
    return "".join(map(_escape_real, text)) if _ESCAPED.search(text) else text


def _escape_real(char: str) -> str:
    if "\udc80" <= char <= "\udcff":
        return chr(_ESCAPE_BASE + (ord(char) & 0xFF))
    if "\uef80" <= char <= "\uefff":
        return "".join(chr(_ESCAPE_BASE + byte) for byte in char.encode())
    return char


def bytes_from_text(text: str) -> bytes:
    """The bytes that `text` spells.

    Raises:
        PathInvalid: the text holds a lone surrogate and so is not valid Unicode.
    """
    try:
        if not _ESCAPED.search(text):
            return text.encode()
        return b"".join(
            bytes([ord(char) & 0xFF]) if "\uef80" <= char <= "\uefff" else char.encode()
            for char in text
        )
    except UnicodeEncodeError:
        raise PathInvalid("the path is not valid Unicode") from None


def _bytes_from_wire(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise PathInvalid("a path on the wire is not valid Unicode") from None
    if type(value) is bytes:
        return value
    raise PathInvalid("a path on the wire must be text or a byte string")


def _bytes_to_wire(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


class _Name(Struct, frozen=True, order=True):
    """Bytes of the file system, as text for people and as CBOR for peers."""

    raw: bytes

    @classmethod
    def from_text(cls, text: str) -> Self:
        return cls(bytes_from_text(text))

    @classmethod
    def from_wire(cls, value: object) -> Self:
        return cls(_bytes_from_wire(value))

    @property
    def text(self) -> str:
        return text_from_bytes(self.raw)

    def to_wire(self) -> str | bytes:
        return _bytes_to_wire(self.raw)

    def __str__(self) -> str:
        return self.text


class EntryName(_Name, frozen=True, order=True):
    """One component of a path, safe to use as a file name below any directory.

    Raises:
        PathInvalid: empty, `.`, `..`, a slash or NUL inside, or over 255 bytes.
    """

    def __post_init__(self) -> None:
        raw = self.raw
        if not raw or raw in {b".", b".."}:
            raise PathInvalid(f"{text_from_bytes(raw)!r} cannot be the name of a shared file")
        if b"/" in raw or b"\0" in raw:
            raise PathInvalid(_FORBIDDEN_BYTES)
        if len(raw) > MAX_NAME_BYTES:
            raise PathInvalid(f"a name is longer than {MAX_NAME_BYTES} bytes")


class RemotePath(_Name, frozen=True, order=True):
    """A path as a peer sees it: share name, then components; empty for the list of shares.

    Raises:
        PathInvalid: see `EntryName`; also when too long or too deep.
    """

    def __post_init__(self) -> None:
        if not self.raw:
            return
        if len(self.raw) > MAX_PATH_BYTES:
            raise PathInvalid(f"a path is longer than {MAX_PATH_BYTES} bytes")
        components = self.raw.split(b"/")
        if len(components) > MAX_DEPTH:
            raise PathInvalid(f"a path is deeper than {MAX_DEPTH} directories")
        # A recursive listing has thousands of paths, so only what is wrong becomes an EntryName,
        # which says what.
        for component in components:
            if not component or len(component) > MAX_NAME_BYTES or component in {b".", b".."}:
                EntryName(component)
        if b"\0" in self.raw:
            raise PathInvalid(_FORBIDDEN_BYTES)

    @property
    def is_root(self) -> bool:
        """Whether it is the empty path, above all shares."""
        return not self.raw

    @property
    def share(self) -> EntryName:
        """The first component. Raises PathInvalid for the empty path."""
        return EntryName(self.raw.split(b"/", 1)[0])

    @property
    def below_share(self) -> bytes:
        """The path inside the share, as bytes with slashes, empty for the share itself."""
        return self.raw.partition(b"/")[2]

    @property
    def name(self) -> EntryName:
        """The last component. Raises PathInvalid for the empty path."""
        return EntryName(self.raw.rsplit(b"/", 1)[-1])

    @property
    def parent(self) -> RemotePath:
        """The path without its last component; the empty path is its own."""
        return RemotePath(self.raw.rpartition(b"/")[0])

    def __truediv__(self, name: EntryName) -> RemotePath:
        return RemotePath(self.raw + b"/" + name.raw if self.raw else name.raw)

    def __iter__(self) -> Iterator[EntryName]:
        return (EntryName(part) for part in self.raw.split(b"/") if part)
