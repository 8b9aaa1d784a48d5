"""Files that are fetched whole, into memory: many for one request, each settled by itself."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Coroutine

from hdpd.downloads.asking import Asker
from hdpd.downloads.disk import Disk
from hdpd.downloads.finishing import Complete
from hdpd.downloads.records import Download, FileRecord
from hdpd.errors import FileChanged, HdpdError
from hdpd.remote.reads import PASSING, AskAgain, FileRefused, RemoteBatch, RemoteRead
from hdpd.wire.messages import Batch, Read, ReadStarted

End = Callable[[FileRecord, Complete, int, Callable[[], None]], None]
"""Settles a file, of so many bytes; the last argument is called when it is settled."""

TryAgain = Callable[[FileRecord, HdpdError], None]
"""Takes a file that did not come, and why; raises what ends everything."""


class SmallFiles:
    """The small files of one runner."""

    def __init__(
        self, download: Download, asker: Asker, disk: Disk, end: End, try_again: TryAgain
    ) -> None:
        self._download = download
        self._asker = asker
        self._disk = disk
        self._end = end
        self._try_again = try_again
        self._held = 0  # of the window

    def may_ask(self, files: list[FileRecord]) -> bool:
        """Whether a request for these may begin now."""
        return self._asker.may_ask(sum(file.cost for file in files))

    def close(self) -> None:
        """Nothing is under way any more."""
        self._release(self._held)

    def fetch(self, files: list[FileRecord]) -> Coroutine[None, None, None]:
        """Counts files for which `may_ask` was true as asked for; what is returned has to be run:
        it asks, and settles them as they come.
        """
        cost = sum(file.cost for file in files)
        self._held += cost
        self._disk.window.take(cost)
        sources = [(file.source(self._download), file.size or 0) for file in files]
        if len(files) == 1:
            [(path, size)] = sources
            read = Read(path, 0, size)
            self._asker.reserve(read)
            return self._fetch_one(files[0], read)
        batch = Batch(tuple(sources))
        self._asker.reserve(batch)
        return self._fetch_batch(files, batch)

    async def _fetch_one(self, file: FileRecord, request: Read) -> None:
        """Fetches a file with one read, into memory."""
        cost = file.cost

        async def take(read: RemoteRead) -> bytes:
            self._check_size(file, read.started)
            return await read.all()

        try:
            data = await self._asker.read(request, take)
        except HdpdError as error:
            self._release(cost)
            self._try_again(file, error)
        else:
            self._arrived(file, data)

    async def _fetch_batch(self, files: list[FileRecord], request: Batch) -> None:
        """Fetches several files with one request; each is settled by itself."""
        missing = deque(files)

        async def take(batch: RemoteBatch) -> None:
            while missing:
                file, cost = missing[0], missing[0].cost
                try:
                    started, data = await batch.next()
                    self._check_size(file, started)
                except (FileRefused, FileChanged) as refused:
                    error = refused.error if isinstance(refused, FileRefused) else refused
                    self._release(cost)
                    self._try_again(missing.popleft(), error)
                else:
                    self._arrived(missing.popleft(), data)

        try:
            await self._asker.read_batch(request, take)
        except HdpdError as error:
            self._release(sum(file.cost for file in missing))
            for file in missing:
                # Whatever is wrong with one of them, or with batches, it is none of the others'.
                file.alone = file.alone or not isinstance(error, PASSING)
                self._try_again(file, AskAgain() if file.alone else error)

    @staticmethod
    def _check_size(file: FileRecord, started: ReadStarted) -> None:
        file.mtime_ns = started.mtime_ns
        listed = file.size
        if started.size != listed:
            file.size = started.size
            raise FileChanged(f"its size is {started.size:,} and not as listed {listed:,}")

    def _arrived(self, file: FileRecord, data: bytes) -> None:
        release = functools.partial(self._release, file.cost)
        self._download.pending_bytes += len(data)
        self._end(file, file.complete(self._download, data), len(data), release)

    def _release(self, cost: int) -> None:
        self._held -= cost
        self._disk.give(cost)
