"""Tells clients, and the log, what becomes of downloads."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from hdpd.downloads.queue import Queue
from hdpd.downloads.records import Download
from hdpd.downloads.states import State
from hdpd.downloads.status import (
    DownloadAdded,
    DownloadChanged,
    DownloadInfo,
    DownloadRemoved,
    Emit,
)
from hdpd.downloads.turns import AT_ONCE
from hdpd.identity.names import name_of
from hdpd.log import MessageId, fields

log = logging.getLogger(__name__)

PROGRESS_S = 0.5  # between events of one download


class Reporter:
    """What is told depends on the download and its place in the queue alone."""

    def __init__(self, queue: Queue[Download], emit: Emit) -> None:
        self._queue = queue
        self._emit = emit
        # Not a dict: to take the first of one that many were taken out of looks at all of those.
        self._changed: OrderedDict[Download, None] = OrderedDict()
        self._wake = asyncio.Event()

    def word(self, download: Download) -> str:
        """The state word that clients see."""
        word = self._queue.word(download)
        if download.state is State.RUNNING:
            if download.silent:
                return "paused"
            if download.remote_queued:
                return "remote_queued"
        return word

    def info(self, download: Download) -> DownloadInfo:
        """What clients see of it at this moment; of a copy that is not in the queue, too."""
        download = self._queue.get(download.id) or download
        return download.info(self.word(download))

    def added(self, download: Download) -> None:
        """It is new in the list."""
        self.taken_up(download)
        self._emit(DownloadAdded(self.info(download)))
        _log(logging.INFO, "queued: %s", download)

    def taken_up(self, download: Download) -> None:
        """It was in the list before; nobody is told."""
        download.told_word = self.word(download)

    def show(self, download: Download) -> None:
        """Tells of a change of state, if it is one."""
        if self.word(download) != download.told_word:
            self.tell(download)

    def show_all(self, downloads: Sequence[Download]) -> None:
        """Like `show`, of many: when they are, not all in the same turn of the loop."""
        if len(downloads) > AT_ONCE:
            self.show_soon(downloads)
        else:
            for download in downloads:
                if download.id in self._queue:
                    self.show(download)

    def show_soon(self, downloads: Iterable[Download]) -> None:
        """Like `show`, of many: not all in the same turn of the loop."""
        self._changed.update(dict.fromkeys(downloads))
        self._wake.set()

    def tell(self, download: Download) -> None:
        """Tells what it is now."""
        info = self.info(download)
        if info.state != download.told_word:
            if info.state == "done":
                _log(logging.INFO, "downloaded: %s", download)
            elif info.state == "failed":
                _log(logging.WARNING, "the download of %s failed", download)
        download.told, download.told_word = info, info.state
        self._emit(DownloadChanged(info))

    def removed(self, download: Download) -> None:
        """It is no longer in the list."""
        self._emit(DownloadRemoved(download.id))

    async def run(self) -> None:
        """Tells of changes and of progress, until cancelled."""
        looked_at = time.monotonic()
        while True:
            if not self._changed:
                await self._pause()
            for _ in range(min(AT_ONCE, len(self._changed))):
                download, _ = self._changed.popitem(last=False)
                if download.id in self._queue:
                    self.show(download)
            await asyncio.sleep(0)
            if (now := time.monotonic()) - looked_at >= PROGRESS_S:
                looked_at = now
                self._tell_progress(now)

    async def _pause(self) -> None:
        """Until there is something to tell, or time to look."""
        self._wake.clear()
        patience = PROGRESS_S if self._queue.started() else None
        try:
            async with asyncio.timeout(patience):
                await self._wake.wait()
        except TimeoutError:
            return

    def started(self, download: Download) -> None:
        """Its runner has begun."""
        download.begin_to_measure(time.monotonic())
        self._wake.set()
        self.show(download)

    def _tell_progress(self, now: float) -> None:
        for download in self._queue.started():
            if now - download.measured_at < PROGRESS_S / 2:
                continue  # it has just begun
            download.measure(now)
            if download.state is not State.REMOVING and self.info(download) != download.told:
                self.tell(download)


def _log(level: int, message: str, download: Download) -> None:
    code, text = download.error or ("", "")
    if text and level >= logging.WARNING:
        message += f": {text.replace('%', '%%')}"
    log.log(
        level,
        message,
        download.path.text,
        extra=fields(
            message_id=MessageId.DISK_FULL if code == "disk_full" else None,
            peer=(name_of(download.peer), download.peer.text),
            download=download.id,
            path=download.path.text,
            error_code=code,
        ),
    )
