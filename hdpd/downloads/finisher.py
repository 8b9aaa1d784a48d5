"""Settles files in batches: whatever ended while the last batch was on its way is the next one.

So a lone file is finished at once, and thousands share one `syncfs`, a few directory syncs and one
transaction.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hdpd.downloads.directories import Components
from hdpd.downloads.disk import Disk
from hdpd.downloads.finishing import Complete, Finished, finish_batch, make_directories
from hdpd.downloads.records import Download, FileRecord, Outcome
from hdpd.downloads.store import Store
from hdpd.errors import DiskFull, HdpdError, StorageError
from hdpd.wire.paths import text_from_bytes

log = logging.getLogger(__name__)

MAX_BATCH = 512  # some 100 ms of work in the thread

Step = Complete | Components | Finished | HdpdError
Result = Finished | HdpdError | None


@dataclass(frozen=True, slots=True)
class Ending:
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
            except Exception:
                log.exception("downloaded files could not be finished")
                unsettled: HdpdError = StorageError("the file could not be finished; see the log")
                for ending in batch:
                    ending.settled(unsettled)
                continue
            for ending, result in zip(batch, results, strict=True):
                ending.settled(result if isinstance(result, DiskFull) else None)

    async def _take_steps(self, batch: list[Ending]) -> list[Result]:
        results: list[Result] = [_known(ending.step) for ending in batch]
        directories = [i for i, ending in enumerate(batch) if isinstance(ending.step, tuple)]
        if directories:
            paths = [ending.step for ending in batch if isinstance(ending.step, tuple)]
            made = await self._disk.submit(make_directories, self._disk.root, paths)
            for index, error in zip(directories, made, strict=True):
                results[index] = error
        complete = [i for i, ending in enumerate(batch) if isinstance(ending.step, Complete)]
        if complete:
            files = [ending.step for ending in batch if isinstance(ending.step, Complete)]
            finished = await self._disk.sync(partial(finish_batch, self._disk.root, files))
            for index, result in zip(complete, finished, strict=True):
                results[index] = result
        return results

    async def _record(self, batch: list[Ending], results: list[Result]) -> None:
        outcomes = [
            (ending.download, _outcome(ending, result))
            for ending, result in zip(batch, results, strict=True)
            if not isinstance(result, DiskFull)
        ]
        for ending, result in zip(batch, results, strict=True):
            _count(ending, result)
        if outcomes:
            await self._store.settle(outcomes)


def _known(step: Step) -> Result:
    return step if isinstance(step, Finished | HdpdError) else None


def _outcome(ending: Ending, result: Result) -> Outcome:
    file = ending.file
    if isinstance(result, HdpdError):
        return Outcome(file.number, restarts=file.restarts, error=(result.code, result.message))
    if result is None:
        return Outcome(file.number)
    _, wanted = file.place(ending.download)
    saved_as = None if result.name == wanted else text_from_bytes(result.name)
    return Outcome(file.number, file.size, result.mtime_ns, saved_as, file.restarts)


def _count(ending: Ending, result: Result) -> None:
    download, file = ending.download, ending.file
    download.pending_bytes -= ending.pending
    if isinstance(result, DiskFull):
        return
    if isinstance(result, HdpdError):
        download.failed_files += 1
    elif not file.directory:
        download.count_size(file)
        download.done_files += 1
        download.done_bytes += (file.size or 0) - file.watermark
