"""Takes downloads away: their partial files, then their rows; done again until it is done."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence

from hdpd.downloads.finishing import remove_empty_directories
from hdpd.downloads.partial import remove_partials
from hdpd.downloads.records import Download
from hdpd.downloads.site import check
from hdpd.downloads.store import Store
from hdpd.downloads.turns import breathe
from hdpd.downloads.volumes import Volume, Volumes
from hdpd.errors import DiskUnavailable

log = logging.getLogger(__name__)

PURGE_AT_ONCE = 500  # downloads
PURGE_FILES = 1000  # partial files looked for in one trip to a thread
AGAIN_S = 30.0  # between tries


class Remover:
    """Removes what is left of downloads that are stored as removed, those of each volume by
    themselves; `on_removed` is told of each.
    """

    def __init__(
        self, store: Store, volumes: Volumes, on_removed: Callable[[Download], None]
    ) -> None:
        self._store = store
        self._volumes = volumes
        self._on_removed = on_removed
        self._waiting: dict[Volume, dict[Download, None]] = {}
        self._tasks: dict[Volume, asyncio.Task[None]] = {}
        self._closed = False

    def remove(self, download: Download) -> None:
        """Lets it be removed, soon."""
        volume = self._volumes.of(download)
        self._waiting.setdefault(volume, {})[download] = None
        self._work(volume)

    async def removed(self, timeout: float) -> None:
        """Returns when all is removed, or after `timeout` seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=timeout)

    async def close(self) -> None:
        """Leaves the rest to the next start."""
        self._closed = True
        for task in self._tasks.values():
            task.cancel()
        await self.removed(1.0)

    def _work(self, volume: Volume) -> None:
        if volume in self._tasks or self._closed:
            return
        task = self._tasks[volume] = asyncio.create_task(self._remove_all(volume))

        def ended(task: asyncio.Task[None]) -> None:
            del self._tasks[volume]
            if not task.cancelled() and (error := task.exception()) is not None:
                if not isinstance(error, DiskUnavailable):
                    log.error("what is left of downloads cannot be removed", exc_info=error)
                asyncio.get_running_loop().call_later(AGAIN_S, self._work, volume)
            elif self._waiting.get(volume):
                self._work(volume)

        task.add_done_callback(ended)

    async def _remove_all(self, volume: Volume) -> None:
        waiting = self._waiting[volume]
        while waiting:
            some = list(itertools.islice(waiting, PURGE_AT_ONCE))
            await _purge(some, self._store, volume, self._volumes)
            for number, download in enumerate(some):
                del waiting[download]
                self._on_removed(download)
                await breathe(number)
        del self._waiting[volume]


async def _purge(
    downloads: Sequence[Download], store: Store, volume: Volume, volumes: Volumes
) -> None:
    """Any unfinished file may have a partial one, be it only for a crash in the middle of a batch.

    Raises:
        DiskUnavailable: what is left lies on a disk that is not there now, or takes nothing.
    """
    disk = volume.disk
    begun = [download for download in downloads if download.type is not None]
    if begun:
        await disk.submit(check, disk.site)
    async for files in store.unfinished_files(begun, PURGE_FILES):
        partials = [place for owner, file in files for place in file.partials(owner)]
        await disk.submit(remove_partials, disk.site, partials)
        for owner, file in files:
            if (apart := volumes.apart_of(owner)) is not None and file.partial_id is not None:
                place = ((), file.partial(owner))
                await apart.disk.submit(remove_partials, apart.disk.site, [place])
    given_up = [download for download in begun if download.ended is None]
    async for directories in store.made_directories(given_up, PURGE_FILES):
        paths = [
            (*above, name)
            for above, name in (directory.place(owner) for owner, directory in directories)
        ]
        await disk.submit(remove_empty_directories, disk.site, paths)
    above = [
        download.base[: len(download.base) - 1 - number]
        for download in given_up
        for number in range(int(download.made or 0))
    ]
    await disk.submit(remove_empty_directories, disk.site, above)
    while not await store.remove_some(downloads):
        pass
