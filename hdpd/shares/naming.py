"""Which directories can be shared under which names."""

from __future__ import annotations

import os
from collections.abc import Mapping

from hdpd.errors import (
    FileUnreadable,
    InvalidParams,
    LimitReached,
    NotADirectory,
    PathInvalid,
    PathNotFound,
    ShareExists,
)
from hdpd.shares.share import Share
from hdpd.wire.paths import EntryName, bytes_from_text, text_from_bytes

MAX_SHARES = 256  # each costs a task and a look every few seconds


def share_path(text: str) -> bytes:
    """The absolute path that is meant; raises InvalidParams, PathInvalid."""
    raw = bytes_from_text(text)
    if not raw.startswith(b"/") or b"\0" in raw:
        raise InvalidParams(f"the path of a share must be absolute, and {text!r} is not")
    return os.path.normpath(raw)


def share_name(path: bytes, name: str | None) -> str:
    """The name given, or that of the directory itself; raises InvalidParams."""
    if name is None:
        name = text_from_bytes(path.rsplit(b"/", 1)[-1])
        if not name:
            raise InvalidParams("that directory has no name of its own; give the share one")
    try:
        return EntryName.from_text(name).text
    except PathInvalid as error:
        raise InvalidParams(f"{name!r} cannot be the name of a share: {error}") from None


def require_free(name: str, path: bytes, shares: Mapping[str, Share]) -> None:
    """Sees that one more share can have this name and path.

    Shares may lie in one another: each is offered as it is named.

    Raises:
        ShareExists: the name is taken (the message suggests another), or the directory is shared.
        LimitReached: there are too many shares.
    """
    if len(shares) >= MAX_SHARES:
        raise LimitReached(f"there are {MAX_SHARES} shares already; remove one first")
    for share in shares.values():
        if share.place.path == path:
            raise ShareExists(f"{text_from_bytes(path)} is shared already, as {share.name!r}")
    if name in shares:
        other = text_from_bytes(shares[name].place.path)
        numbers = range(2, len(shares) + 3)
        free = next(new for number in numbers if (new := f"{name} {number}") not in shares)
        raise ShareExists(
            f"{other} is shared as {name!r} already; choose another name, such as {free!r}"
        )


def require_directory(path: bytes) -> None:
    """Sees that there is a directory that can be read. Blocks as the file system likes.

    Raises:
        PathNotFound, NotADirectory, FileUnreadable: as named.
    """
    text = text_from_bytes(path)
    try:
        with os.scandir(path):
            return
    except FileNotFoundError:
        raise PathNotFound(f"there is no directory {text}") from None
    except NotADirectoryError:
        raise NotADirectory(f"{text} is not a directory") from None
    except OSError as error:
        raise FileUnreadable(f"{text} cannot be read: {error.strerror}") from None
