"""Listing shares: from the index where it knows a directory, else from the file system itself.

So everything can be browsed as soon as hdpd runs, and from then on without touching a disk.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from hdpd.database import Database, Transaction
from hdpd.errors import (
    FileUnreadable,
    InvalidParams,
    NotADirectory,
    PathNotFound,
    ShareAway,
)
from hdpd.shares.cursors import (
    Step,
    TreeCursor,
    parse_page_cursor,
    parse_tree_cursor,
)
from hdpd.shares.index import IndexedDirectory, IndexTree, directory_page, find_directory
from hdpd.shares.live import live_page, live_walk
from hdpd.shares.pages import Page, key_of, page_of
from hdpd.shares.share import Share
from hdpd.shares.tree import TreePage, walk
from hdpd.wire.codec import encode
from hdpd.wire.messages import MAX_LIST_ENTRIES, SORT_KEYS, Entry, EntryType
from hdpd.wire.paths import RemotePath

LIVE_ENTRIES = 2000  # of a recursive listing that reads the file system, for each page
LIVE_S = 20.0  # a directory of a million entries takes some seconds to read

RUN_BYTES = 8
VALIDATORS_AT_ONCE = 200  # looked up before another reader has its turn; about 10 ms

T = TypeVar("T")
Listing = tuple[list[Entry], bytes | None]
_NOWHERE = RemotePath(b"")


class Listed(NamedTuple):
    """A page, or that it is `not_modified`. The validator stands for all that the directory holds,
    so it is the same for each of its pages; there is none while the index does not know them.
    """

    entries: list[Entry]
    cursor: bytes | None
    validator: bytes | None = None
    not_modified: bool = False


class Lister:
    """Lists what the `shares`, by name, hold."""

    def __init__(self, index: Database, shares: Mapping[str, Share]) -> None:
        self._index = index
        self._shares = shares
        # Begins each validator: after a crash, or in an index that was made anew, the numbers in it
        # may come again and mean something else.
        self._run = secrets.token_bytes(RUN_BYTES)

    async def page(
        self,
        path: RemotePath,
        sort: str,
        limit: int,
        cursor: bytes | None,
        if_none_match: bytes | None = None,
    ) -> Listed:
        """A page of one directory, or of the shares, unless the validator is still that.

        Raises:
            PathNotFound, NotADirectory, FileUnreadable, ShareAway, InvalidParams: as named.
        """
        limit = _checked_limit(limit)
        if sort not in SORT_KEYS:
            raise InvalidParams(f"cannot sort by {sort!r}; one of: {', '.join(SORT_KEYS)}")
        after = parse_page_cursor(cursor, sort) if cursor is not None else None
        if path.is_root:
            shares = await self._share_entries()
            validator = self._validator_of_shares(shares)
            if validator == if_none_match:
                return Listed([], None, validator, not_modified=True)
            return _listed(page_of(shares, sort, after, limit), validator)
        share = self._share(path)
        below = RemotePath(path.below_share)

        def indexed(transaction: Transaction) -> Listed | None:
            found = find_directory(transaction, share.root, below)
            if found is None or not found.scanned:
                return None
            validator = self._validator(found)
            if validator == if_none_match:
                return Listed([], None, validator, not_modified=True)
            return _listed(directory_page(transaction, found.id, sort, after, limit), validator)

        listed = await self._index.read(indexed)
        if listed is None:
            page = await _live(share, lambda: live_page(share.place, below.raw, sort, after, limit))
            listed = _listed(page, None)
        return listed

    async def validators(self, paths: Collection[RemotePath]) -> dict[RemotePath, bytes | None]:
        """The validators that listings of these directories would have now."""
        found: dict[RemotePath, bytes | None] = {}
        if _NOWHERE in paths:
            found[_NOWHERE] = self._validator_of_shares(await self._share_entries())
        below = iter([path for path in paths if not path.is_root])
        while some := list(itertools.islice(below, VALIDATORS_AT_ONCE)):
            roots = {
                path: self._shares[path.share.text].root
                for path in some
                if path.share.text in self._shares
            }

            def read(transaction: Transaction, roots: dict[RemotePath, int] = roots) -> None:
                for path, root in roots.items():
                    directory = find_directory(transaction, root, RemotePath(path.below_share))
                    if directory is not None and directory.scanned:
                        found[path] = self._validator(directory)

            await self._index.read(read)
        return {path: found.get(path) for path in paths}

    def _validator(self, directory: IndexedDirectory) -> bytes:
        return self._run + directory.id.to_bytes(8, "big") + directory.version.to_bytes(8, "big")

    def _validator_of_shares(self, entries: list[Entry]) -> bytes:
        rows = sorted((entry.to_wire() for entry in entries), key=str)
        return self._run + hashlib.sha256(encode(rows)).digest()[:16]

    async def tree(self, path: RemotePath, limit: int, cursor: bytes | None) -> Listing:
        """A page of all that is below a directory, or below the list of shares; parents first.

        It may hold fewer entries than `limit` although there are more. Raises as `page`.
        """
        limit = _checked_limit(limit)
        after = parse_tree_cursor(cursor) if cursor is not None else None
        if path.is_root:
            entries, next_ = await self._all_shares(limit, after)
        else:
            below = RemotePath(path.below_share)
            is_former = after is not None and after.is_former
            entries, next_ = await self._below(self._share(path), below, limit, after, is_former)
        return entries, next_.encode() if next_ else None

    def _share(self, path: RemotePath) -> Share:
        share = self._shares.get(path.share.text)
        if share is None:
            raise PathNotFound(f"there is no share {path.share.text!r} here")
        return share

    async def _share_entries(self) -> list[Entry]:
        """The shares as directories."""
        roots = {share.root: name for name, share in self._shares.items()}

        def read(transaction: Transaction) -> dict[str, tuple[int, int, int]]:
            sql = "SELECT size, mtime, files FROM directory WHERE id=?"
            rows = {name: transaction.one(sql, (root,)) for root, name in roots.items() if root}
            return {name: (row[0], row[1], row[2]) for name, row in rows.items() if row}

        totals = await self._index.read(read)
        return [
            Entry(RemotePath.from_text(name), EntryType.DIRECTORY, *totals.get(name, (0, 0, 0)))
            for name in self._shares
        ]

    async def _all_shares(
        self, limit: int, after: TreeCursor | None
    ) -> tuple[list[Entry], TreeCursor | None]:
        """The shares by name, each followed by what is in it."""
        entries: list[Entry] = []
        is_former = after is not None and after.is_former
        key = key_of(is_former=is_former)
        shares = sorted(await self._share_entries(), key=lambda entry: key(entry.path.text))
        if after is not None:
            shares = [e for e in shares if key(e.path.text) >= key(after.path.share.text)]
        for entry in shares:
            inner = None
            if after is not None and after.path.share.text == entry.path.text:
                if after.step is Step.LEFT and not after.path.below_share:
                    continue
                inner = _relative(after, entry.path)
            else:
                entries.append(entry)
            share = self._shares.get(entry.path.text)
            if share is None:  # removed meanwhile
                continue
            cursor: TreeCursor | None = TreeCursor(Step.DIRECTORY, entry.path, is_former)
            if len(entries) < limit:
                room = limit - len(entries)
                found, cursor = await self._below_present(share, room, inner, is_former)
                entries += [_prefixed(entry.path, one) for one in found]
                cursor = _moved(cursor, entry.path) if cursor else None
            if cursor is not None:
                return entries, cursor
        return entries, None

    async def _below_present(
        self, share: Share, limit: int, after: TreeCursor | None, is_former: bool
    ) -> tuple[list[Entry], TreeCursor | None]:
        """All in a share; one that cannot be listed does not hide the others."""
        try:
            return await self._below(share, _NOWHERE, limit, after, is_former)
        except (ShareAway, PathNotFound, NotADirectory, FileUnreadable):
            return [], None

    async def _below(
        self,
        share: Share,
        below: RemotePath,
        limit: int,
        after: TreeCursor | None,
        is_former: bool,
    ) -> tuple[list[Entry], TreeCursor | None]:
        """All in a directory of a share, as far as it fits into a page."""
        entries: list[Entry] = []
        while True:
            room = limit - len(entries)
            page = await self._indexed_walk(share, below, room, after, is_former)
            entries += page.entries
            if page.unknown is None or len(entries) >= limit:
                return entries, page.cursor
            unknown = page.unknown
            live = await self._live_walk(
                share,
                _joined(below, unknown),
                limit - len(entries),
                _relative(page.cursor, unknown) if page.cursor else None,
                is_former,
                is_listed=unknown.is_root,
            )
            entries += [_prefixed(unknown, entry) for entry in live.entries]
            if live.cursor is not None:
                return entries, _moved(live.cursor, unknown)
            if unknown.is_root:
                return entries, None
            after = TreeCursor(Step.LEFT, unknown, is_former)

    async def _indexed_walk(
        self,
        share: Share,
        below: RemotePath,
        limit: int,
        after: TreeCursor | None,
        is_former: bool,
    ) -> TreePage:
        def read(transaction: Transaction) -> TreePage:
            top = find_directory(transaction, share.root, below)
            if top is None or not top.scanned:
                return TreePage([], after, unknown=_NOWHERE)
            return walk(IndexTree(transaction, is_former=is_former), top, after, limit)

        return await self._index.read(read)

    async def _live_walk(
        self,
        share: Share,
        below: RemotePath,
        limit: int,
        after: TreeCursor | None,
        is_former: bool,
        *,
        is_listed: bool,
    ) -> TreePage:
        """A page from the file system; what has vanished is empty unless it `is_listed` itself."""
        limit = min(limit, LIVE_ENTRIES)
        try:
            return await _live(
                share, lambda: live_walk(share.place, below.raw, after, limit, is_former=is_former)
            )
        except (PathNotFound, NotADirectory, FileUnreadable):
            if is_listed:
                raise
            return TreePage([], None)


def _listed(page: Page, validator: bytes | None) -> Listed:
    entries, cursor = page
    return Listed(entries, cursor.encode() if cursor else None, validator)


async def _live(share: Share, call: Callable[[], T]) -> T:
    share.require_present()
    return await share.calls.run(call, LIVE_S)


def _checked_limit(limit: int) -> int:
    if not 1 <= limit <= MAX_LIST_ENTRIES:
        raise InvalidParams(f"limit must be from 1 to {MAX_LIST_ENTRIES}")
    return limit


def _joined(above: RemotePath, below: RemotePath) -> RemotePath:
    return RemotePath(b"/".join(filter(None, (above.raw, below.raw))))


def _prefixed(above: RemotePath, entry: Entry) -> Entry:
    if above.is_root:
        return entry
    path = _joined(above, entry.path)
    return Entry(path, entry.type, entry.size, entry.mtime_ns, entry.files)


def _moved(cursor: TreeCursor, above: RemotePath) -> TreeCursor:
    return replace(cursor, path=_joined(above, cursor.path))


def _relative(cursor: TreeCursor, above: RemotePath) -> TreeCursor | None:
    """The cursor as seen from `above`, which its path begins with; None for its beginning."""
    if above.is_root:
        return cursor
    below = cursor.path.raw[len(above.raw) + 1 :]
    return replace(cursor, path=RemotePath(below)) if below else None
