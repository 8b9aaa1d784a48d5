"""Files of peers and of this hdpd as clients see them: listings, and who `peer` means."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from hdpd.control import results as r
from hdpd.control.encoding import Text
from hdpd.control.parameters import FilesList
from hdpd.control.services import Services
from hdpd.errors import InvalidParams, PathInvalid, PeerNotConnected
from hdpd.identity.names import name_of
from hdpd.link.session import Session
from hdpd.peers.peers import Peers
from hdpd.wire.messages import MAX_CURSOR_BYTES, Entry, EntryType, Ls
from hdpd.wire.paths import RemotePath

SELF = "self"

# Pages of a recursive listing are shorter than asked for, as each entry may be a long path: the
# client goes on with the cursor all the same. It keeps what one answer can cost below 9 MB.
MAX_RECURSIVE_ENTRIES = 2000


def connected_session(peers: Peers, text: str) -> Session:
    """The session with the peer that `text` means.

    Raises:
        PeerNotFound, PeerAmbiguous, PeerNotConnected
    """
    peer_id = peers.resolve(text)
    session = peers.get(peer_id)
    if session is None:
        raise PeerNotConnected(f"{name_of(peer_id)} is not connected")
    return session


def hit(peer: str, peer_name: str, entry: Entry) -> r.Hit:
    """What a search found; `peer` is an id or `self`."""
    return r.Hit(
        peer=Text(peer),
        peer_name=peer_name,
        path=Text(entry.path),
        type=_type(entry),
        size=entry.size,
        mtime=entry.mtime_ns / 1e9,
        files=entry.files,
    )


def _type(entry: Entry) -> r.FileType:
    return "directory" if entry.type is EntryType.DIRECTORY else "file"


def _decode_cursor(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        cursor = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidParams("the cursor is not one that a listing gave out") from None
    if len(cursor) > MAX_CURSOR_BYTES:
        raise InvalidParams("the cursor is too long")
    return cursor


def _encode_cursor(cursor: bytes | None) -> str | None:
    return None if cursor is None else base64.urlsafe_b64encode(cursor).decode().rstrip("=")


async def list_files(services: Services, params: FilesList) -> r.Files:
    """One page of a directory, here or at a peer. Raises what the other side answered too."""
    path = RemotePath.from_text(params.path)
    cursor = _decode_cursor(params.cursor)
    limit = min(params.limit, MAX_RECURSIVE_ENTRIES) if params.recursive else params.limit
    entries: Sequence[Entry]
    if params.peer != SELF:
        session = connected_session(services.peers, params.peer)
        request = Ls(path, params.recursive, params.sort, limit, cursor)
        entries, next_cursor = await services.listings.page(session, request)
    elif params.recursive:
        entries, next_cursor = await services.shares.list_files(
            path, recursive=True, sort=params.sort, limit=limit, cursor=cursor
        )
    else:
        entries, next_cursor = await services.shares.follow_files(
            path, sort=params.sort, limit=limit, cursor=cursor
        )
    rows = [_list_row(path, entry) for entry in entries]
    return r.Files(
        entries=[row for row in rows if row is not None], next_cursor=_encode_cursor(next_cursor)
    )


def _list_row(base: RemotePath, entry: Entry) -> r.FileInfo | None:
    """The row of a listing; None when the path as a whole can't be one, which hides just it."""
    try:
        path = RemotePath(base.raw + b"/" + entry.path.raw) if base.raw else entry.path
    except PathInvalid:
        return None
    return r.FileInfo(
        name=Text(entry.path.name),
        path=Text(path),
        type=_type(entry),
        size=entry.size,
        mtime=entry.mtime_ns / 1e9,
        files=entry.files,
    )
