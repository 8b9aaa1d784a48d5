"""Settles files in batches: whatever ended while the last batch was on its way is the next one.

So a lone file is finished at once, and thousands share one `syncfs`, a few directory syncs and one
transaction.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from hdpd.downloads.disk import Disk
from hdpd.downloads.finishing import Complete, Finished, finish_batch, make_directories
from hdpd.downloads.records import Download, FileRecord, Outcome, components
from hdpd.downloads.site import Components
from hdpd.downloads.store import Store
from hdpd.errors import DiskUnavailable, HdpdError, StorageError
from hdpd.wire.paths import text_from_bytes

log = logging.getLogger(__name__)

MAX_BATCH = 512  # some 100 ms of work in the thread

Step = Complete | Components | Finished | HdpdError
Result = Finished | HdpdError | None


class Ending(Struct, frozen=True):
    """A file about to be settled, and the step that is left.

    The step is to finish it, to make the directory, to note that it was there already, or to note
    why it failed. `pending` are its bytes that count as received and not yet as done. `settled` is
    told an error when the file could not be settled, and is to be fetched again.
    """

    download: Download
    file: FileRecord
    step: Step
    pending: int
    settled: Callable[[HdpdError | None], None]


class Finisher:
    """One for all downloads; its queue is bounded by the window, which `settled` gives back."""

    def __init__(self, disk: Disk, store: Store) -> None:
        self._disk = disk
        self._store = store
        self._queue: deque[Ending] = deque()
        self._filled = asyncio.Event()

    def submit(self, ending: Ending) -> None:
        self._queue.append(ending)
        self._filled.set()

    async def run(self) -> None:
        """Works until cancelled, which is safe between batches only: see `Downloads.close`."""
        while True:
            await self._filled.wait()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
            if not self._queue:
                self._filled.clear()
            try:
                results = await self._take_steps(batch)
                await self._record(batch, results)
            except DiskUnavailable as error:
                self._leave_unsettled(batch, error)
            except Exception:
                log.exception("downloaded files could not be finished")
                mistake = StorageError("the file could not be finished; see the log")
                self._leave_unsettled(batch, mistake)
            else:
                for ending, result in zip(batch, results, strict=True):
                    ending.settled(result if isinstance(result, DiskUnavailable) else None)

    @staticmethod
    def _leave_unsettled(batch: list[Ending], error: HdpdError) -> None:
        for ending in batch:
            ending.settled(error)

    async def _take_steps(self, batch: list[Ending]) -> list[Result]:
        results: list[Result] = [_known(ending.step) for ending in batch]
        directories = [i for i, ending in enumerate(batch) if isinstance(ending.step, tuple)]
        if directories:
            paths = [ending.step for ending in batch if isinstance(ending.step, tuple)]
            made = await self._disk.submit(make_directories, self._disk.site, paths)
            for index, error in zip(directories, made, strict=True):
                results[index] = error
        complete = [i for i, ending in enumerate(batch) if isinstance(ending.step, Complete)]
        if complete:
            files = [ending.step for ending in batch if isinstance(ending.step, Complete)]
            finished = await self._disk.sync(partial(finish_batch, self._disk.site, files))
            for index, result in zip(complete, finished, strict=True):
                results[index] = result
        return results

    async def _record(self, batch: list[Ending], results: list[Result]) -> None:
        """Counts and stores how they ended; both or neither."""
        outcomes = [
            (ending.download, _outcome(ending, result))
            for ending, result in zip(batch, results, strict=True)
            if not isinstance(result, DiskUnavailable)
        ]
        counts = [_count(ending, result) for ending, result in zip(batch, results, strict=True)]
        for ending, count in zip(batch, counts, strict=True):
            count.add_to(ending.download)
            ending.download.pending_bytes -= ending.pending
        if not outcomes:
            return
        try:
            await self._store.settle(outcomes)
        except BaseException:
            for ending, count in zip(batch, counts, strict=True):
                count.take_from(ending.download)
            raise


class _Count(Struct, frozen=True):
    """What a settled file adds to the counters of its download."""

    files: int = 0
    size: int = 0
    failed: int = 0
    settled: int = 1

    def add_to(self, download: Download) -> None:
        download.done_files += self.files
        download.done_bytes += self.size
        download.failed_files += self.failed
        download.settled += self.settled

    def take_from(self, download: Download) -> None:
        download.done_files -= self.files
        download.done_bytes -= self.size
        download.failed_files -= self.failed
        download.settled -= self.settled


def _known(step: Step) -> Result:
    return step if isinstance(step, Finished | HdpdError) else None


def _outcome(ending: Ending, result: Result) -> Outcome:
    file = ending.file
    if isinstance(result, HdpdError):
        return Outcome(file.number, restarts=file.restarts, error=(result.code, result.message))
    if result is None:
        return Outcome(file.number, made=file.made)
    name = (components(file.path) or (ending.download.path.name.raw,))[-1]
    saved_as = None if result.name == name else text_from_bytes(result.name)
    mtime_ns, ctime_ns = result.mtime_ns, result.ctime_ns
    return Outcome(file.number, file.size, mtime_ns, saved_as, ctime_ns, restarts=file.restarts)


def _count(ending: Ending, result: Result) -> _Count:
    file = ending.file
    if isinstance(result, DiskUnavailable):
        return _Count(settled=0)
    if isinstance(result, HdpdError):
        return _Count(failed=1)
    if file.directory:
        return _Count()
    ending.download.count_size(file)
    return _Count(files=1, size=(file.size or 0) - file.watermark)
