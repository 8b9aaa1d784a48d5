"""The service: the set of shares, and whatever is asked of them by peers and by the control.

Whole because the parts behind it (listing, searching, telling, the scanner) are files of their own
already, and here is only what brings them together with the set.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from hdpd.config import ShareConfig
from hdpd.database import Database, set_aside
from hdpd.errors import (
    Forbidden,
    InvalidParams,
    PathNotFound,
    ShareAway,
    ShareNotFound,
    StartError,
    StateUnavailable,
)
from hdpd.identity.keys import PeerId
from hdpd.log import MessageId, fields
from hdpd.shares.answers import Sink, send_entries
from hdpd.shares.audience import Validators
from hdpd.shares.calls import ShareCalls
from hdpd.shares.gate import Gate, Who
from hdpd.shares.inotify import max_watches
from hdpd.shares.jobs import Job
from hdpd.shares.listing import Lister, Listing
from hdpd.shares.mounts import MountWatch
from hdpd.shares.naming import require_directory, require_free, share_name, share_path
from hdpd.shares.opening import OpenedFile, Place, open_file
from hdpd.shares.scanning import run_scanner
from hdpd.shares.searching import Searcher
from hdpd.shares.share import ANSWER_S, NOT_INDEXED, Indexed, Share, Surroundings
from hdpd.shares.status import ShareChanged, ShareStatus
from hdpd.shares.stored import (
    delete_added,
    read_added,
    read_indexed,
    store_added,
)
from hdpd.shares.telling import Teller
from hdpd.tasks import keep_running
from hdpd.wire.messages import Entry, Ls, LsEnd, Search
from hdpd.wire.paths import RemotePath, text_from_bytes

LOG = logging.getLogger(__name__)

SEARCH_S = 2.0
ANSWERS = 24, 6, 3
"""Answers to peers under way at once, of one source, of one peer: each holds a page of entries,
5 MB at most, until its asker has taken it."""
READINGS = 6, 2, 1
"""Of those, that are read from the index or a disk just now: the owner's is the next after them."""
PIECE_ENTRIES = 1000  # of a recursive listing, made at once: some 5 ms, and 500 kB
"""After this time a search answers with what it has found."""


class Asker(Protocol):
    """The session of a request, as far as an answer needs it."""

    @property
    def peer_id(self) -> PeerId: ...
    @property
    def source(self) -> str: ...


Hits = tuple[list[Entry], bool]
"""What was found, and whether there may be more."""


class Shares:
    """All shares. Names and paths in parameters and results are reversible text."""

    def __init__(
        self,
        database_path: Path,
        state: Database,
        configured: tuple[ShareConfig, ...],
        emit: Callable[[ShareChanged], None],
        ignore: tuple[str, ...] = (),
    ) -> None:
        self._index = Database(database_path, "index")
        self._state = state
        self._configured = configured
        self._ignore = ignore  # in all shares
        self._shares: dict[str, Share] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._cleaner: asyncio.Task[None] | None = None
        # Other programs of this user want to watch something, too.
        limit = 3 * (max_watches() or 0) // 4
        self._lister = Lister(self._index, self._shares)
        self.teller = Teller(self._validators)
        self._teller_life: asyncio.Task[None] | None = None
        self._surroundings = Surroundings(
            database_path, emit, {}, [], lambda: len(self._shares), limit, self.teller.changed
        )
        self._mounts: MountWatch | None = None
        self._searcher = Searcher(self._index)
        self._answers = Gate(*ANSWERS)
        self._reading = Gate(*READINGS)
        self.listings_sent = 0
        """How many pages peers were sent, with entries or to say that there are none."""
        self.listings_not_modified = 0
        """How many times a peer asked for one that it had."""
        self.ready = False
        """Whether requests can be answered."""

    async def start(self) -> None:
        """Opens the index, serves what it holds, and begins to bring it up to date.

        Raises:
            StartError: the index can be neither opened nor made anew.
        """
        self._loop = asyncio.get_running_loop()
        await self._open_index()
        indexed = await self._index.read(read_indexed)
        places = {name: (place, True) for name, place in self._places().items()}
        for name, path in await self._state.read(read_added):
            if name in places:
                LOG.warning("the share %r of the configuration hides an added one", name)
            places.setdefault(name, (self._place(path), False))
        for name, (place, configured) in places.items():
            self._add(name, place, configured=configured, indexed=indexed.pop((name, place), None))
        self._forget([rest.root for rest in indexed.values()])
        self._watch_mounts()
        self._teller_life = keep_running(self.teller.keep, "tell of changes")
        self.ready = True

    async def _validators(self, paths: Collection[RemotePath]) -> Validators:
        return await self._lister.validators(paths)  # of the present index, which may be made anew

    def _watch_mounts(self) -> None:
        def look() -> None:
            for share in self._shares.values():
                share.mounts_changed()

        try:
            self._mounts = MountWatch(look)
        except OSError as error:  # then a share comes back within some seconds
            LOG.warning("mounts cannot be watched: %s", error.strerror)

    async def _open_index(self) -> None:
        try:
            await self._index.open()
        except StartError as error:
            # Whatever is wrong with it, a scan makes it again.
            await self._index.close()
            aside = set_aside(self._index.path)
            LOG.warning(
                "%s; it is set aside as %s and made anew",
                error.message,
                aside.name,
                extra=fields(message_id=MessageId.INDEX_DAMAGED),
            )
            self._index = Database(self._index.path, "index")
            self._lister = Lister(self._index, self._shares)
            self._searcher = Searcher(self._index)
            await self._index.open()

    async def close(self) -> None:
        """Ends the scanners and closes the index; what they have found so far is kept."""
        self.ready = False
        if self._mounts is not None:
            self._mounts.close()
        tasks = [*self._keepers.values(), *filter(None, [self._cleaner, self._teller_life])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._index.close()

    # The set of shares

    def _place(self, path: bytes) -> Place:
        return Place(path, ignore=self._ignore)

    def _rescan(self, name: str) -> float | None:
        rescans = {share.name: share.rescan for share in self._configured}
        return rescans.get(name)

    def _places(self) -> dict[str, Place]:
        return {
            share.name: Place(os.fsencode(share.path), share.hidden, (*self._ignore, *share.ignore))
            for share in self._configured
        }

    def list(self) -> list[ShareStatus]:
        """As `shares.list`, by name."""
        return [self._shares[name].status() for name in sorted(self._shares)]

    async def add(self, path: str, name: str | None) -> str:
        """Shares the directory from now on and after a restart; returns its name.

        Raises:
            InvalidParams, PathInvalid: the path or name cannot be used.
            PathNotFound, NotADirectory, FileUnreadable, ShareAway: there is no such directory that
                can be read.
            ShareExists: the name is taken, or the directory is shared already.
            LimitReached: there are too many shares.
        """
        raw = share_path(path)
        name = share_name(raw, name)
        require_free(name, raw, self._shares)
        await ShareCalls(name).run(lambda: require_directory(raw), ANSWER_S)
        require_free(name, raw, self._shares)  # nobody else came first meanwhile
        self._add(name, self._place(raw), configured=False, indexed=None)

        try:
            await self._state.write(lambda transaction: store_added(transaction, name, raw))
        except StateUnavailable:
            await self._drop(self._find(name))
            raise
        return name

    async def remove(self, name: str) -> None:
        """Ends sharing it, at once; what the index holds of it is deleted in the background.

        Raises:
            ShareNotFound: there is none of that name.
            Forbidden: it comes from the configuration.
        """
        share = self._find(name)
        if share.configured:
            raise Forbidden(f"the share {name!r} is in the configuration; remove it there")
        await self._state.write(lambda transaction: delete_added(transaction, name))
        if self._shares.get(name) is share:
            await self._drop(share)

    async def configure(
        self, configured: tuple[ShareConfig, ...], ignore: tuple[str, ...] = ()
    ) -> None:
        """Takes over the shares of a new configuration. As at the start, one of the configuration
        hides an added one of the same name; those that stay as they are notice nothing. Where other
        things are to be left out, nothing that the index holds is shown until it is read anew.
        """
        self._configured, self._ignore = configured, ignore
        wanted = self._places()
        added = {name: self._place(path) for name, path in await self._state.read(read_added)}
        for share in list(self._shares.values()):
            stays = wanted.get(share.name) if share.configured else added.get(share.name)
            if stays != share.place or (not share.configured and share.name in wanted):
                await self._drop(share)
        for name, place in {**added, **wanted}.items():
            if name in self._shares:
                self._shares[name].set_rescan(self._rescan(name))
            else:
                self._add(name, place, configured=name in wanted, indexed=None)

    async def _drop(self, share: Share) -> None:
        """Offers it no more; what the index holds of it is deleted in the background."""
        if self._shares.pop(share.name, None) is None:
            return
        keeper = self._keepers.pop(share.name)
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        self.teller.changed()
        gone = replace(share.status(), state="removed")
        self._surroundings.emit(ShareChanged(gone))
        if share.root:
            self._forget([share.root])

    async def rescan(self, name: str | None) -> None:
        """Scans a share, or all of them, as soon as possible; raises ShareNotFound."""
        for share in [self._find(name)] if name is not None else self._shares.values():
            share.rescan()

    def _find(self, name: str) -> Share:
        share = self._shares.get(name)
        if share is None:
            raise ShareNotFound(f"there is no share {name!r}")
        return share

    def _add(self, name: str, place: Place, *, configured: bool, indexed: Indexed | None) -> None:
        share = Share(
            name,
            place,
            configured=configured,
            rescan=self._rescan(name),
            indexed=indexed or NOT_INDEXED,
            surroundings=self._surroundings,
        )
        self._shares[name] = share
        self.teller.changed()
        self._keepers[name] = keep_running(share.keep, f"share {name}")

    def _forget(self, roots: Iterable[int]) -> None:
        """Has what was below former shares deleted, soon."""
        self._surroundings.forgotten += roots
        if self._surroundings.forgotten and (self._cleaner is None or self._cleaner.done()):
            self._cleaner = asyncio.create_task(self._clean(), name="forget shares")

    async def _clean(self) -> None:
        forgotten = self._surroundings.forgotten
        while forgotten:
            roots = list(forgotten)
            path = text_from_bytes(os.fsencode(self._index.path))
            last = await run_scanner(Job(path, roots), lambda _: None, _always)
            if last.phase != "done":  # after a restart it is tried again
                LOG.error("deleting former shares from the index failed: %s", last.message)
                return
            for root in roots:
                forgotten.remove(root)

    # What they hold

    def open_file(self, path: RemotePath) -> OpenedFile:
        """The file, open for reading. Blocks as its file system likes; for any thread.

        Raises:
            PathNotFound, NotAFile, FileUnreadable: as named.
            ShareAway: the share's directory is not there.
        """
        if path.is_root:
            raise PathNotFound("the empty path is no file")
        share = self._shares.get(path.share.text)
        if share is None:
            raise PathNotFound(f"there is no share {path.share.text!r} here")
        share.require_present()
        try:
            return open_file(share.place, path.below_share)
        except ShareAway:
            self._loop.call_soon_threadsafe(share.look_again)
            raise

    async def list_files(
        self, path: RemotePath, *, recursive: bool, sort: str, limit: int, cursor: bytes | None
    ) -> Listing:
        """A page of a directory, or of all below it, and the cursor of the next one.

        Recursive listings are sorted by name, and may give fewer than `limit` before the end.

        Raises:
            PathNotFound, NotADirectory, FileUnreadable, ShareAway, InvalidParams: as named.
        """
        if not recursive:
            return (await self._lister.page(path, sort, limit, cursor))[:2]
        if sort != "name":
            raise InvalidParams("a recursive listing can only be sorted by name")
        return await self._lister.tree(path, limit, cursor)

    async def follow_files(
        self, path: RemotePath, *, sort: str, limit: int, cursor: bytes | None
    ) -> Listing:
        """Like `list_files` of one directory, for the clients of this hdpd: they are told when it
        changes.
        """
        changes = self.teller.changes
        entries, next_cursor, validator, _ = await self._lister.page(path, sort, limit, cursor)
        self.teller.listed(None, path, validator, changes)
        return entries, next_cursor

    async def search(
        self,
        query: str,
        limit: int,
        timeout: float = SEARCH_S,
    ) -> Hits:
        """What matches all words, with full paths, and whether there may be more.

        Raises:
            InvalidParams: there is nothing to search for, or too much.
            Busy: too many searches are waiting.
        """
        hits: list[Entry] = []
        more = await self._searcher.search(query, limit, timeout, self._roots(), hits.extend)
        return hits, more

    def _roots(self) -> frozenset[int]:
        return frozenset(share.root for share in self._shares.values() if share.root)

    # Peers

    async def answer_ls(self, session: Asker, request: Ls, stream: Sink) -> None:
        """Answers a peer's listing; raises as `list_files` before anything is sent. Who asks for a
        validator is told when it is another one.
        """
        who = Who(session.source, session.peer_id.text)
        async with self._answers.passed(who):
            if request.recursive:
                end = await self._send_tree(who, request, stream)
            else:
                end = await self._send_page(who, session, request, stream)
            if end.not_modified:
                self.listings_not_modified += 1
            else:
                self.listings_sent += 1
            await stream.send_message(end.to_wire(), end=True)

    async def _send_page(self, who: Who, session: Asker, request: Ls, stream: Sink) -> LsEnd:
        path, sort, limit, cursor = request.path, request.sort, request.limit, request.cursor
        changes, known = self.teller.changes, request.if_none_match
        async with self._reading.passed(who):
            listed = await self._lister.page(path, sort, limit, cursor, known)
        end = LsEnd(listed.cursor)
        if known is not None:
            self.teller.listed(session.peer_id, path, listed.validator, changes)
            end = LsEnd(*listed[1:])
        if not end.not_modified:
            await send_entries(stream, "entries", listed.entries)
        return end

    async def _send_tree(self, who: Who, request: Ls, stream: Sink) -> LsEnd:
        """Sends it in pieces, each of which is made when the one before has been taken."""
        left, cursor = request.limit, request.cursor
        while True:
            async with self._reading.passed(who):
                entries, cursor = await self.list_files(
                    request.path,
                    recursive=True,
                    sort=request.sort,
                    limit=min(left, PIECE_ENTRIES),
                    cursor=cursor,
                )
            await send_entries(stream, "entries", entries)
            left -= len(entries)
            if cursor is None or left <= 0:
                return LsEnd(cursor)

    async def answer_search(self, session: Asker, request: Search, stream: Sink) -> None:
        """Answers a peer's search while it runs; raises as `search` before anything is sent."""
        who = Who(session.source, session.peer_id.text)
        async with self._answers.passed(who):
            await self._send_hits(who, request, stream)

    async def _send_hits(self, who: Who, request: Search, stream: Sink) -> None:
        found: asyncio.Queue[list[Entry] | None] = asyncio.Queue()
        search = asyncio.create_task(
            self._searcher.search(
                request.query, request.limit, SEARCH_S, self._roots(), found.put_nowait, who
            )
        )
        search.add_done_callback(lambda _: found.put_nowait(None))
        try:
            while (hits := await found.get()) is not None:
                await send_entries(stream, "hits", hits)
            await stream.send_message({"end": True, "truncated": await search}, end=True)
        finally:
            search.cancel()


async def _always() -> bool:
    return True
