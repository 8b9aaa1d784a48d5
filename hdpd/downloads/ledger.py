"""Writes down what downloads have become: all that changed meanwhile in one transaction."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence

from hdpd.downloads.records import Download
from hdpd.downloads.store import Store
from hdpd.errors import StateUnavailable

log = logging.getLogger(__name__)

MOST = 1000  # downloads of one transaction, so that other writers wait for some 20 ms only
AGAIN_S = 5.0  # between tries while state.db cannot be written to


class Ledger:
    """`on_written` is told of each download once its present state is on the disk."""

    def __init__(self, store: Store, on_written: Callable[[Download], None]) -> None:
        self._store = store
        self._on_written = on_written
        self._noted: dict[Download, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._troubled = False
        self._closed = False

    def note(self, download: Download) -> None:
        """Lets the download be written as it is then, soon."""
        self._noted[download] = None
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._write())
            self._task.add_done_callback(self._ended)

    async def written(self, timeout: float) -> None:
        """Returns when what was noted is written, or after `timeout` seconds: what state.db does
        not take is tried again and again.
        """
        if self._task is not None and not self._troubled:
            await asyncio.wait({self._task}, timeout=timeout)

    async def close(self) -> None:
        """Gives up what could not be written."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _write(self) -> None:
        while self._noted:
            some = list(itertools.islice(self._noted, MOST))
            for download in some:
                del self._noted[download]
            await self._write_some(some)

    async def _write_some(self, downloads: Sequence[Download]) -> None:
        try:
            states = [download.state for download in downloads]
            await self._store.save(downloads)
        except StateUnavailable as error:
            log.warning("%s", error)
            self._noted = {**dict.fromkeys(downloads), **self._noted}
            self._troubled = True
            await asyncio.sleep(AGAIN_S)
            return
        except asyncio.CancelledError:
            self._noted = {**dict.fromkeys(downloads), **self._noted}
            raise
        self._troubled = False
        for download, state in zip(downloads, states, strict=True):
            if download.state is state:  # else it is noted again
                self._on_written(download)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the queue is no longer written down", exc_info=error)
        if self._noted:
            self.note(next(iter(self._noted)))
