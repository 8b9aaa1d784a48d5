"""One large file under way: its ranges, its partial file, and the watermark that follows behind.

Whole because each of its steps has to know what all others left of the ranges and the watermark.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from hdpd.downloads.certainty import Certainty
from hdpd.downloads.disk import Disk, see
from hdpd.downloads.finishing import Complete
from hdpd.downloads.partial import IOV_MAX, PartialFile
from hdpd.downloads.ranges import MIB, FileRanges, Range
from hdpd.downloads.records import Download, FileRecord, Kept
from hdpd.downloads.sameness import COMPARE_BYTES, Alike, Sameness
from hdpd.downloads.store import Store
from hdpd.downloads.volumes import Volume
from hdpd.errors import FileChanged, HdpdError, ProtocolError, StorageError
from hdpd.log import fields
from hdpd.remote.reads import AskAgain, RemoteRead
from hdpd.wire.messages import ReadStarted

log = logging.getLogger(__name__)

UNKNOWN_SIZE = MIB
"""What is asked for of a file of unknown size: small ones come at once."""

PARTIAL_ID_BYTES = 8
WRITE_BYTES = MIB  # one trip to a worker thread, 100 us, for so many bytes
RECORD_BYTES = 8 * MIB  # a sync and a transaction for at least so many bytes ...
RECORD_S = 5.0  # ... or after so long on a slow line


class AlreadyThere(Exception):  # no error: what a read tells its runner
    """The same file, or one that looks like it, is on the disk already."""

    def __init__(self, alike: Alike) -> None:
        super().__init__()
        self.alike = alike


class LargeFile:
    """Fetched by several reads at once; everything runs in the event loop but the disk's work.

    `ranges` is replaced when the file starts anew. A read keeps the one that it began with, and
    what belongs to an old one is dropped. Errors of the disk are DiskUnavailable and StorageError.
    `on_trouble` is called when `trouble` is set.
    """

    def __init__(
        self,
        file: FileRecord,
        download: Download,
        disk: Disk,
        store: Store,
        sameness: Sameness,
        make_sure_it_fits: Callable[[], Awaitable[None]],
        on_trouble: Callable[[], None],
        apart: Volume | None = None,
    ) -> None:
        self.file = file
        self.blocked = False
        """Whether no range may be asked for, and no other file started either."""
        self.not_before = 0.0
        self.ending = False
        self._certain = Certainty(file.watermark)
        self.pending = 0
        """Bytes that count as received, and not yet as done."""
        self._download = download
        self._disk = disk
        self._store = store
        self._sameness = sameness
        self._apart = apart
        self._written = disk if apart is None else apart.disk
        """The disk of the partial file."""
        self._make_sure_it_fits = make_sure_it_fits
        self._on_trouble = on_trouble
        self._partial: PartialFile | None = None
        self._writes: set[asyncio.Future[Any]] = set()
        self._exclusive = asyncio.Lock()
        """Held while the validator or the watermark changes."""
        self._recorded_at = time.monotonic()
        self._held = 0
        kept = download.kept.pop(file.number, None)
        self._truncate = kept is None
        if kept is not None:
            file.validator = kept.validator  # which is stored only with a watermark
            file.partial_id, file.inode = kept.partial, kept.inode
        self.ranges = kept.ranges if kept is not None else _planned(file)
        there = self.ranges.verified_bytes + self.ranges.unverified_bytes
        self._count(there - self.ranges.recorded)
        self._hold()

    async def open(self) -> None:
        """Opens the partial file of one that was begun before; to be called first."""
        await self._open_partial(self.ranges.extent)
        if self._partial and not self._partial.intact:
            await self.start_anew()

    def next_range(self, length: int, now: float) -> Range | None:
        """The next range to ask for, None when there is none now."""
        if self.blocked or self.trouble or now < self.not_before:
            return None
        asked = self.ranges.next(length)
        self._hold()
        return asked

    @property
    def trouble(self) -> HdpdError | None:
        """A write or a sync that failed: all that is left is to stop, or to fail."""
        return self._certain.trouble

    @property
    def received(self) -> int:
        """Bytes of it that are on the disk, or on their way there."""
        return self.file.watermark + self.pending

    @property
    def missing(self) -> int:
        """Bytes that are still to come, as far as its size is known."""
        return max(0, (self.file.size or 0) - self.received)

    @property
    def validator(self) -> bytes | None:
        return self.file.validator

    # Bytes

    async def copy(self, read: RemoteRead, asked: Range, plan: FileRanges) -> None:
        """Takes the bytes of an answered read; when it returns, the range is verified.

        Raises:
            AlreadyThere: the file need not be fetched.
            AskAgain: the file was started anew meanwhile.
            FileChanged: this is another version of the file.
        """
        await self._adopt(read.started, plan)
        received = 0
        write: asyncio.Future[None] | None = None
        chunks: list[bytes] = []
        size, offset = 0, asked.start
        try:
            while more := await read.chunks():
                more_bytes = sum(map(len, more))
                self._came(plan, more_bytes)
                received += more_bytes
                chunks += more
                size += more_bytes
                if size >= WRITE_BYTES or len(chunks) >= IOV_MAX:
                    if write is not None:
                        await asyncio.shield(write)
                    write = self._write(chunks, offset, asked.fresh, plan)
                    chunks, size, offset = [], 0, offset + size
            if write is not None:
                await asyncio.shield(write)
            if chunks:
                write, chunks = self._write(chunks, offset, asked.fresh, plan), []
                await asyncio.shield(write)
        except BaseException:
            if plan is self.ranges:
                kept = 0
                if self._partial is not None and not (write and _has_failed(write)):
                    if chunks:
                        self._write(chunks, offset, asked.fresh, plan)
                    kept = plan.keep(asked, received)
                self._count(kept - received)
            raise
        plan.verified(asked)

    def _came(self, plan: FileRanges, size: int) -> None:
        if plan is not self.ranges:
            raise AskAgain  # nothing of it may count for the version that is fetched now
        self._count(size)

    def _write(
        self, chunks: list[bytes], offset: int, fresh: bool, plan: FileRanges
    ) -> asyncio.Future[None]:
        if self.trouble is not None:
            raise self.trouble
        if plan is not self.ranges or self._partial is None:
            raise AskAgain
        write = self._written.submit(self._partial.write, chunks, offset, fresh=fresh)
        self._writes.add(write)
        write.add_done_callback(functools.partial(self._wrote, plan))
        return write

    def _wrote(self, plan: FileRanges, write: asyncio.Future[None]) -> None:
        self._writes.discard(write)
        if _has_failed(write) and plan is self.ranges:  # also when its reader is gone
            error = None if write.cancelled() else write.exception()
            self._distrust(error if isinstance(error, HdpdError) else StorageError())

    def _distrust(self, error: HdpdError) -> None:
        """Something that was written is perhaps not on the disk."""
        if self._certain.fail(error):
            self._on_trouble()

    async def _adopt(self, started: ReadStarted, plan: FileRanges) -> None:
        """Accepts the answer's version of the file, the first one as the file's own."""
        if self.file.validator is None:
            async with self._exclusive:
                if self.file.validator is None and plan is self.ranges:
                    await self._begin(started)
        if plan is not self.ranges:
            raise AskAgain
        if started.validator != self.file.validator:
            raise FileChanged("the file changed while it was downloaded")
        if started.size != plan.size:
            raise ProtocolError("the peer tells two sizes of one version of a file")

    async def _begin(self, started: ReadStarted) -> None:
        file = self.file
        if (file.size, file.mtime_ns) != (started.size, started.mtime_ns):
            file.size, file.mtime_ns = started.size, started.mtime_ns
            await self._store.save_file(self._download, file)
            await self._look_for_the_same()
        self.ranges.resize(started.size)
        self._hold()
        if self._partial is None:
            await self._make_sure_it_fits()  # often only now is its size known
            if file.partial_id is None:
                # Before there is such a file, so that none is without its record.
                file.partial_id = secrets.token_hex(PARTIAL_ID_BYTES)
                await self._store.save_file(self._download, file)
            await self._open_partial(0)
        file.validator = started.validator

    async def _look_for_the_same(self) -> None:
        (alike,) = await self._sameness.alike(self._download, self._disk, [self.file])
        if alike is not None and (alike.proven or (self.file.size or 0) >= COMPARE_BYTES):
            self.ranges = FileRanges(self.file.size or 0)  # other reads of it are for nothing
            raise AlreadyThere(alike)

    async def _open_partial(self, keep: int) -> None:
        directory = self.file.place(self._download)[0]
        if self._apart is not None:
            await self._apart.prepare()
            directory = ()
        opening = self._written.submit(
            PartialFile.open,
            self._written.site,
            directory,
            self.file.partial(self._download),
            keep=keep,
            truncate=self._truncate,
            id_=self.file.partial_id,
            inode=self.file.inode,
        )
        # Counts as a write, so that an open file is closed even when nobody waits for it any more.
        self._writes.add(opening)
        opening.add_done_callback(self._opened)
        await asyncio.shield(opening)

    def _opened(self, opening: asyncio.Future[PartialFile]) -> None:
        self._writes.discard(opening)
        if not opening.cancelled() and opening.exception() is None:
            self._partial = opening.result()
            self.file.inode = self._partial.inode

    # The watermark

    def record_due(self, now: float) -> bool:
        """Whether so much was verified, or so long ago, that `record` should run."""
        fresh = self.ranges.prefix - self.ranges.recorded
        due = fresh >= RECORD_BYTES or (fresh > 0 and now - self._recorded_at >= RECORD_S)
        return due and not self._exclusive.locked() and not self.ranges.complete

    async def record(self) -> None:
        """Makes the verified prefix durable, and then records that it is. Nothing else moves a
        watermark on, whatever the file stops for.

        Raises:
            DiskUnavailable, StorageError: it is not durable, nor is anything beyond what was.
        """
        async with self._exclusive:
            plan = self.ranges
            watermark = self._certain.to_record(plan)
            if self._partial is None or watermark is None:
                return
            try:
                await self._written.sync(self._partial.sync)
            except HdpdError as error:
                self._distrust(error)
                raise
            self._recorded_at = time.monotonic()
            if plan is not self.ranges:
                return
            more = self._certain.synced(watermark)  # unless a write failed that was under way
            self.file.watermark = watermark
            self._download.done_bytes += more
            try:
                await self._store.save_file(self._download, self.file)
            except HdpdError:
                self._certain.undo(more)
                self.file.watermark = self._certain.watermark
                self._download.done_bytes -= more
                raise
            self._count(-more)
            plan.record(watermark)
            self._hold()

    async def start_anew(self) -> None:
        """Drops everything that was fetched."""
        self.ranges = FileRanges(self.ranges.size)
        self.blocked = True
        self._count(-self.pending)
        self._hold()
        async with self._exclusive:
            await self._no_writes()
            self._download.done_bytes -= self.file.watermark
            self._certain = Certainty()
            self.file.watermark, self.file.validator = 0, None
            await self._store.save_file(self._download, self.file)
            if self._partial is not None:
                await self._written.submit(self._partial.truncate, 0)
        self.blocked = False

    # The end

    @property
    def finishable(self) -> bool:
        """Whether all is verified, and no thread is busy with the partial file."""
        known = self.file.validator is not None and self.trouble is None
        return known and self.ranges.complete and not self._exclusive.locked()

    def finish(self) -> Complete:
        """What is left is the finisher's. Only when `finishable`; it stays open until `release`, so
        that whatever the disk has to say is heard.
        """
        apart = None if self._apart is None else self._written.site
        return self.file.complete(self._download, None, apart)

    async def abandon(self) -> None:
        """It failed: what was recorded stays for a retry, the rest no longer counts."""
        self.blocked = True
        self.ranges = FileRanges(self.ranges.size)
        async with self._exclusive:
            await self._no_writes()
            self._close()

    async def suspend(self) -> None:
        """Records what can be recorded; verified ranges beyond are kept in memory."""
        self.ranges.give_up()
        await self._no_writes()
        try:
            await self.record()
            await self._close_and_hear()
        except HdpdError as error:
            log.warning(
                "%s", error, extra=fields(download=self._download.id, error_code=error.code)
            )
        file = self.file
        ranges = self._certain.kept(self.ranges)
        if file.validator is not None and not self.blocked and ranges is not None:
            kept = Kept(ranges, file.validator, file.partial_id, file.inode)
            self._download.kept[file.number] = kept
        self._count(-self.pending)
        self.release()

    async def _close_and_hear(self) -> None:
        """Closes it while something of it counts that is not durable."""
        if self._partial is None:
            return
        partial, self._partial = self._partial, None
        try:
            await self._written.submit(partial.close)
        except HdpdError as error:
            self._distrust(error)
            raise

    def _close(self) -> None:
        """Closes it when nothing of it counts but what is durable."""
        if self._partial is not None:
            self._written.submit(self._partial.close).add_done_callback(see)
            self._partial = None

    def release(self) -> None:
        """Nothing of it is under way any more."""
        self._close()
        self._disk.give(self._held)
        self._held = 0

    async def _no_writes(self) -> None:
        if self._writes:
            await asyncio.wait(self._writes)

    def _hold(self) -> None:
        """Holds as much of the window as is asked for or verified beyond the watermark."""
        more = self.ranges.unrecorded - self._held
        self._held += more
        if more > 0:
            self._disk.window.take(more)
        elif more < 0:
            self._disk.give(-more)

    def _count(self, received: int) -> None:
        self.pending += received
        self._download.pending_bytes += received


def _has_failed(write: asyncio.Future[None]) -> bool:
    return write.done() and (write.cancelled() or write.exception() is not None)


def _planned(file: FileRecord) -> FileRanges:
    size = UNKNOWN_SIZE if file.size is None else file.size
    return FileRanges(size, min(file.watermark, size))
