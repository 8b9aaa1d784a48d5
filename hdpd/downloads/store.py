"""The download queue in state.db: every statement about it, each method one transaction.

Counters are written as absolute values together with the rows that they count. The caller takes
them from memory when it calls, and the writer thread keeps the order of the calls, so after a crash
counters and rows agree. Whole because these are all statements about two tables.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hdpd.database import Database, DatabaseError, Row, Transaction
from hdpd.downloads.records import Download, FileRecord, FinishedFile, Outcome, components
from hdpd.downloads.site import Site
from hdpd.downloads.states import STORED, TAKEN_UP
from hdpd.downloads.status import FileInfo, Problem
from hdpd.errors import LimitReached, StateUnavailable
from hdpd.identity.keys import PeerId
from hdpd.wire.paths import RemotePath

T = TypeVar("T")

MAX_DOWNLOADS = 100_000
"""Rows of the list. Unfinished ones cost about 1 kB of memory each; the owner clears the rest."""

MAX_REMOVED = 10_000  # ids of removed ones that are remembered, about 30 bytes each
REMOVE_FILES = 10_000  # rows deleted at once, so that other writers wait for some 20 ms only

_COLUMNS = (
    "number, id, peer, path, into_path, added, position, state, type, listed, cursor, error, "
    "message, size, files, done_bytes, done_files, failed_files, received_bytes, entries, settled, "
    "root, partials, place, ended, made"
)
_NAMES = tuple(_COLUMNS.split(", "))
_COUNTERS = (
    "UPDATE download SET size=?, files=?, done_bytes=?, done_files=?, failed_files=?, "
    "received_bytes=?, entries=?, settled=? WHERE number=?"
)


def _download(row: Row) -> Download:
    fields = dict(zip(_NAMES, row, strict=True))
    error, message = fields.pop("error"), fields.pop("message")
    fields |= {
        "peer": PeerId(fields["peer"]),
        "path": RemotePath.from_text(fields["path"]),
        "into": RemotePath.from_text(fields.pop("into_path")),
        "state": TAKEN_UP[fields["state"]],
        "listed": bool(fields["listed"]),
        "error": None if error is None else (error, message),
    }
    return Download(**fields)


def _finished_row(row: Row) -> tuple[Download, FinishedFile, int | None]:
    number, path, size, mtime_ns, saved_as, ctime_ns = row[len(_NAMES) :]
    file = FinishedFile(number, RemotePath.from_text(path), size or 0, mtime_ns or 0, saved_as)
    return _download(row[: len(_NAMES)]), file, ctime_ns


def _splits(path: RemotePath) -> Iterator[tuple[str, str]]:
    """All downloads that `path` may be a part of, with what it is called there."""
    words = path.text.split("/")
    for length in range(1, len(words) + 1):
        yield "/".join(words[:length]), "/".join(words[length:])


def _counters(download: Download) -> tuple[int, ...]:
    return (
        download.size,
        download.files,
        download.done_bytes,
        download.done_files,
        download.failed_files,
        download.received_bytes,
        download.entries,
        download.settled,
        download.number,
    )


def _marks(values: Sized) -> str:
    return ", ".join("?" * len(values))


class New(NamedTuple):
    """A download to be added."""

    id: str
    peer: PeerId
    path: RemotePath
    into: RemotePath
    root: str
    added: float
    partials: str | None


class Store:
    """Access to the tables `download` and `download_file`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.directory = database.path.parent
        self._writing: set[asyncio.Task[Any]] = set()
        self._count = self._last = 0

    async def _write(self, change: Callable[[Transaction], T]) -> T:
        """Writes even when the caller is cancelled, so that memory and tables stay the same.

        Raises:
            StateUnavailable: the disk of state.db takes nothing; nothing has changed.
        """
        task = asyncio.create_task(self._database.write(change))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        try:
            return await asyncio.shield(task)
        except DatabaseError as error:
            raise StateUnavailable(
                f"state.db cannot be written to ({error}): waiting for room on the disk of the "
                "state directory"
            ) from None

    async def flush(self) -> None:
        """Waits for what was to be written."""
        if self._writing:
            await asyncio.wait(self._writing)

    # Downloads

    async def start(self) -> None:
        """Counts what is there; to be called first."""
        row = await self._database.read(
            lambda t: t.one("SELECT count(*), coalesce(max(position), 0) FROM download")
        )
        self._count, self._last = row or (0, 0)

    async def add(self, wanted: Sequence[New]) -> list[Download]:
        """Puts new downloads at the end of the queue, in one transaction.

        Raises:
            LimitReached: the list is full.
        """
        if self._count + len(wanted) > MAX_DOWNLOADS:
            raise LimitReached(
                f"there are {self._count:,} downloads in the list, and {MAX_DOWNLOADS:,} is the "
                "most; clear finished ones first"
            )
        first = self._last + 1
        self._last += len(wanted)
        self._count += len(wanted)

        def insert(transaction: Transaction) -> list[Download]:
            added = []
            for position, (id_, peer, path, into, root, when, partials) in enumerate(wanted, first):
                transaction.execute(
                    "INSERT INTO download "
                    "(id, peer, path, into_path, added, position, root, partials) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (id_, peer.raw, path.text, into.text, when, position, root, partials),
                )
                download = Download(
                    number=transaction.last_rowid(),
                    id=id_,
                    peer=peer,
                    path=path,
                    into=into,
                    added=when,
                    position=position,
                    root=root,
                    partials=partials,
                )
                added.append(download)
            return added

        try:
            return await self._write(insert)
        except StateUnavailable:
            self._count -= len(wanted)
            raise

    async def unfinished(self) -> list[Download]:
        return await self._select("state IN ('queued', 'paused') ORDER BY position, number")

    async def removed(self) -> list[Download]:
        """Those whose removal was begun and not completed."""
        return await self._select("state = 'removed'")

    async def page(
        self, states: Sequence[str], limit: int, after: tuple[int, int] | None
    ) -> list[Download]:
        """Downloads in one of the stored `states` by (position, number), those beyond `after`."""
        marks = _marks(states)
        return await self._select(
            f"state IN ({marks}) AND (position, number) > (?, ?) ORDER BY position, number LIMIT ?",
            (*states, *(after or (-(2**63), 0)), limit),
        )

    async def done_before(self, when: float, limit: int) -> list[str]:
        """Ids of downloads that were done before `when`, the oldest first."""
        sql = "SELECT id FROM download WHERE state='done' AND ended<? ORDER BY ended LIMIT ?"
        rows = await self._database.read(lambda t: list(t.execute(sql, (when, limit))))
        return [row[0] for row in rows]

    async def by_ids(self, ids: Sequence[str]) -> list[Download]:
        """Those of `ids` that exist, in any state but `removed`."""
        where = "id IN (SELECT value FROM json_each(?)) AND state != 'removed'"
        return await self._select(where, (json.dumps(list(ids)),))

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that are stored, in any state."""
        sql = "SELECT id FROM download WHERE id IN (SELECT value FROM json_each(?))"
        rows = await self._database.read(lambda t: list(t.execute(sql, (json.dumps(list(ids)),))))
        return {row[0] for row in rows}

    async def were_removed(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that were in the list, and are not any more."""
        sql = (
            "WITH wanted (id) AS (SELECT value FROM json_each(?)) "
            "SELECT id FROM removed_download WHERE id IN wanted "
            "UNION SELECT id FROM download WHERE id IN wanted AND state='removed'"
        )
        rows = await self._database.read(lambda t: list(t.execute(sql, (json.dumps(list(ids)),))))
        return {row[0] for row in rows}

    async def _select(self, where: str, parameters: Sequence[Any] = ()) -> list[Download]:
        # `where` is one of the literals above, values are bound.
        sql = f"SELECT {_COLUMNS} FROM download WHERE {where}"  # noqa: S608
        return await self._database.read(
            lambda t: [_download(row) for row in t.execute(sql, parameters)]
        )

    async def save(self, downloads: Sequence[Download]) -> None:
        """Writes the state, the error and the counters of each."""
        states = [
            (
                STORED[d.state],
                *(d.error or (None, None)),
                d.position,
                d.place,
                d.ended,
                d.made,
                d.number,
            )
            for d in downloads
        ]
        counters = [_counters(download) for download in downloads]

        def update(transaction: Transaction) -> None:
            transaction.executemany(
                "UPDATE download SET state=?, error=?, message=?, position=?, place=?, ended=?, "
                "made=? WHERE number=?",
                states,
            )
            transaction.executemany(_COUNTERS, counters)

        await self._write(update)

    async def retry(self, download: Download) -> None:
        """Makes the failed files of a finished download wait again; the download is queued."""
        number = download.number

        def update(transaction: Transaction) -> None:
            transaction.execute(
                "UPDATE download_file SET state='waiting', restarts=0, error=NULL, message=NULL "
                "WHERE download=? AND state='failed'",
                (number,),
            )
            transaction.execute(
                "UPDATE download SET state='queued', error=NULL, message=NULL, failed_files=0, "
                "settled=settled - failed_files, ended=NULL WHERE number=?",
                (number,),
            )

        await self._write(update)

    async def remove_some(self, downloads: Sequence[Download]) -> bool:
        """Deletes the downloads, or some of their files when there are many; whether all are
        gone.
        """
        numbers = [download.number for download in downloads]
        marks = _marks(numbers)

        def delete(transaction: Transaction) -> bool:
            transaction.execute(
                "DELETE FROM download_file WHERE (download, number) IN "  # noqa: S608
                f"(SELECT download, number FROM download_file WHERE download IN ({marks}) LIMIT ?)",
                (*numbers, REMOVE_FILES),
            )
            if transaction.changes() == REMOVE_FILES:
                return False
            transaction.execute(
                "INSERT OR REPLACE INTO removed_download "  # noqa: S608
                f"SELECT number, id FROM download WHERE number IN ({marks})",
                numbers,
            )
            transaction.execute(
                "DELETE FROM removed_download WHERE number < "
                "(SELECT max(number) FROM removed_download) - ?",
                (MAX_REMOVED,),
            )
            transaction.execute(f"DELETE FROM download WHERE number IN ({marks})", numbers)  # noqa: S608
            return True

        if gone := await self._write(delete):
            self._count -= len(downloads)
        return gone

    # Files

    async def append(self, download: Download, files: Sequence[FileRecord]) -> None:
        """Stores a page of the listing, with the download's type, cursor and counters."""
        number = download.number
        rows = [
            (number, file.number, file.path.text, int(file.directory), file.size, file.mtime_ns)
            for file in files
        ]
        progress = (download.type, int(download.listed), download.cursor, number)
        counters = _counters(download)

        def insert(transaction: Transaction) -> None:
            transaction.executemany(
                "INSERT INTO download_file (download, number, path, directory, size, mtime_ns) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            transaction.execute(
                "UPDATE download SET type=?, listed=?, cursor=? WHERE number=?", progress
            )
            transaction.execute(_COUNTERS, counters)

        await self._write(insert)

    async def last_file(self, download: Download) -> int:
        """The highest file number, 0 without any."""
        number = download.number
        # In the writer's line, behind a page whose caller was cancelled before it was stored.
        row = await self._write(
            lambda t: t.one("SELECT max(number) FROM download_file WHERE download=?", (number,))
        )
        return (row[0] or 0) if row else 0

    async def waiting_files(
        self, download: Download, after: int, limit: int, *, also_failed: bool = False
    ) -> list[FileRecord]:
        """The next files to fetch in the order of the listing."""
        states = "('waiting', 'failed')" if also_failed else "('waiting')"
        sql = (
            "SELECT number, path, directory, size, mtime_ns, validator, watermark, restarts, "  # noqa: S608
            "partial, inode FROM download_file WHERE download=? AND number>? "
            f"AND state IN {states} ORDER BY number LIMIT ?"
        )
        rows = await self._database.read(
            lambda t: list(t.execute(sql, (download.number, after, limit)))
        )
        return [
            FileRecord(number, RemotePath.from_text(path), bool(directory), *rest)
            for number, path, directory, *rest in rows
        ]

    async def unfinished_files(
        self, downloads: Sequence[Download], limit: int
    ) -> AsyncIterator[list[tuple[Download, FileRecord]]]:
        """All files of the downloads that are not finished, so many at a time."""
        by_number = {download.number: download for download in downloads}
        sql = (
            "SELECT download, number, path, size, mtime_ns, partial FROM download_file "  # noqa: S608
            f"WHERE download IN ({_marks(by_number)}) AND (download, number) > (?, ?) "
            "AND state IN ('waiting', 'failed') AND directory=0 ORDER BY download, number LIMIT ?"
        )
        after = (-1, -1)
        while True:
            bound = (*by_number, *after, limit)
            rows = await self._database.read(lambda t, bound=bound: list(t.execute(sql, bound)))  # type: ignore[misc]
            if not rows:
                return
            after = rows[-1][:2]
            yield [
                (
                    by_number[owner],
                    FileRecord(
                        number,
                        RemotePath.from_text(path),
                        False,
                        size,
                        mtime_ns,
                        partial_id=partial_id,
                    ),
                )
                for owner, number, path, size, mtime_ns, partial_id in rows
            ]

    async def made_directories(
        self, downloads: Sequence[Download], limit: int
    ) -> AsyncIterator[list[tuple[Download, FileRecord]]]:
        """All directories that were made for the downloads, so many at a time, inner ones first."""
        by_number = {download.number: download for download in downloads}
        sql = (
            "SELECT download, number, path FROM download_file "  # noqa: S608
            f"WHERE download IN ({_marks(by_number)}) AND (download, number) < (?, ?) "
            "AND directory=1 AND inode=1 ORDER BY download DESC, number DESC LIMIT ?"
        )
        before = (2**62, 0)
        while True:
            bound = (*by_number, *before, limit)
            rows = await self._database.read(lambda t, bound=bound: list(t.execute(sql, bound)))  # type: ignore[misc]
            if not rows:
                return
            before = rows[-1][:2]
            yield [
                (by_number[owner], FileRecord(number, RemotePath.from_text(path), True, None, None))
                for owner, number, path in rows
            ]

    async def came_from(
        self, download: Download, files: Sequence[FileRecord]
    ) -> list[list[tuple[Download, FinishedFile, int | None]]]:
        """For each file, the finished ones that came from the same place of the same peer, each
        with its download and its ctime.
        """
        sql = (
            f"SELECT {', '.join(f'd.{name}' for name in _NAMES)}, "  # noqa: S608
            "f.number, f.path, f.size, f.mtime_ns, f.saved_as, f.ctime_ns "
            "FROM download d JOIN download_file f ON f.download = d.number "
            "WHERE d.peer=? AND d.path=? AND f.path=? AND f.state='done' AND f.directory=0"
        )

        def find(transaction: Transaction) -> list[list[tuple[Download, FinishedFile, int | None]]]:
            return [
                [
                    _finished_row(row)
                    for above, below in _splits(file.source(download))
                    for row in transaction.execute(sql, (download.peer.raw, above, below))
                ]
                for file in files
            ]

        return await self._database.read(find)

    async def sites(self) -> list[Site]:
        """The directories that were written to."""
        rows = await self._database.read(
            lambda t: list(t.execute("SELECT root, anchor, marker, system, kind FROM site"))
        )
        return [
            Site(Path(root), components(RemotePath.from_text(anchor)), marker, system, kind)
            for root, anchor, marker, system, kind in rows
        ]

    async def save_site(self, site: Site) -> None:
        """Remembers what a directory is known by."""
        anchor = RemotePath(b"/".join(site.anchor)).text
        values = (str(site.root), anchor, site.marker, site.system, site.kind)
        await self._write(
            lambda t: t.execute("INSERT OR REPLACE INTO site VALUES (?, ?, ?, ?, ?)", values)
        )

    async def forget_site(self, site: Site) -> None:
        """Lets a directory be known by nothing any more."""
        values = (str(site.root), RemotePath(b"/".join(site.anchor)).text)
        await self._write(lambda t: t.execute("DELETE FROM site WHERE root=? AND anchor=?", values))

    async def adopt(self, root: str) -> list[str]:
        """Lets downloads that do not know theirs have this root; all roots that there are."""

        def update(transaction: Transaction) -> list[str]:
            transaction.execute("UPDATE download SET root=? WHERE root IS NULL", (root,))
            return [row[0] for row in transaction.execute("SELECT DISTINCT root FROM download")]

        return await self._write(update)

    async def count_finished(self, download: Download) -> tuple[int, int]:
        """How many files are finished, and their bytes."""
        row = await self._database.read(
            lambda t: t.one(
                "SELECT count(*), coalesce(sum(size), 0) FROM download_file "
                "WHERE download=? AND state='done' AND directory=0",
                (download.number,),
            )
        )
        return (row[0], row[1]) if row else (0, 0)

    async def finished_files(
        self, download: Download, after: int, limit: int
    ) -> list[FinishedFile]:
        """The next finished files in the order of the listing."""
        rows = await self._database.read(
            lambda t: list(
                t.execute(
                    "SELECT number, path, size, mtime_ns, saved_as FROM download_file "
                    "WHERE download=? AND number>? AND state='done' AND directory=0 "
                    "ORDER BY number LIMIT ?",
                    (download.number, after, limit),
                )
            )
        )
        return [
            FinishedFile(number, RemotePath.from_text(path), size or 0, mtime_ns or 0, saved_as)
            for number, path, size, mtime_ns, saved_as in rows
        ]

    async def first_failure(self, download: Download) -> tuple[str, str, str] | None:
        """Path, error word and text of the first failed file."""
        number = download.number
        row = await self._database.read(
            lambda t: t.one(
                "SELECT path, error, message FROM download_file "
                "WHERE download=? AND state='failed' ORDER BY number LIMIT 1",
                (number,),
            )
        )
        return None if row is None else (row[0], row[1], row[2])

    async def files_page(self, download: Download, after: int, limit: int) -> list[FileInfo]:
        """Files as clients see them."""
        sql = (
            "SELECT number, path, directory, size, state, watermark, restarts, saved_as, error, "
            "message FROM download_file WHERE download=? AND number>? ORDER BY number LIMIT ?"
        )
        rows = await self._database.read(
            lambda t: list(t.execute(sql, (download.number, after, limit)))
        )
        return [
            FileInfo(
                number=number,
                path=path,
                type="directory" if directory else "file",
                size=size,
                state=state,
                done_bytes=(size or 0) if state == "done" else watermark,
                restarts=restarts,
                saved_as=saved_as,
                error=Problem(error, message) if error else None,
            )
            for (
                number, path, directory, size, state, watermark, restarts, saved_as, error, message
            ) in rows
        ]  # fmt: skip

    async def save_file(self, download: Download, file: FileRecord) -> None:
        """Writes what is known of an unfinished file: size, mtime, validator and watermark."""
        download.count_size(file)
        values = (
            file.size,
            file.mtime_ns,
            file.validator,
            file.watermark,
            file.restarts,
            file.partial_id,
            file.inode,
            download.number,
            file.number,
        )
        counters = _counters(download)

        def update(transaction: Transaction) -> None:
            transaction.execute(
                "UPDATE download_file SET size=?, mtime_ns=?, validator=?, watermark=?, "
                "restarts=?, partial=?, inode=? WHERE download=? AND number=?",
                values,
            )
            transaction.execute(_COUNTERS, counters)

        await self._write(update)

    async def settle(self, outcomes: Sequence[tuple[Download, Outcome]]) -> None:
        """Writes how files ended, with the counters of their downloads."""
        done, failed = [], []
        for download, outcome in outcomes:
            key = (download.number, outcome.number)
            if outcome.error is None:
                saved = (outcome.size, outcome.mtime_ns, outcome.saved_as, outcome.ctime_ns)
                done.append((*saved, int(outcome.made) or None, outcome.restarts, *key))
            else:
                failed.append((*outcome.error, outcome.restarts, *key))
        counters = [_counters(download) for download in {d.number: d for d, _ in outcomes}.values()]

        def update(transaction: Transaction) -> None:
            transaction.executemany(
                "UPDATE download_file SET state='done', size=?, mtime_ns=?, saved_as=?, "
                "ctime_ns=?, inode=?, restarts=? WHERE download=? AND number=?",
                done,
            )
            transaction.executemany(
                "UPDATE download_file SET state='failed', error=?, message=?, restarts=? "
                "WHERE download=? AND number=?",
                failed,
            )
            transaction.executemany(_COUNTERS, counters)

        await self._write(update)
