"""The bytes of a file of a peer, or of one on a disk here, in order and in pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from hdpd.control.entries import SELF, connected_session
from hdpd.control.services import Services
from hdpd.remote.files import RemoteFile
from hdpd.threads.disk_threads import DiskThreads
from hdpd.uploads.source_file import OpenFile, SourceFile
from hdpd.wire.messages import Read, ReadStarted
from hdpd.wire.paths import RemotePath


class FileReader(Protocol):
    """A file that is open for reading."""

    size: int
    validator: bytes

    def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to `end`. Raises FileChanged, ConnectionLost and others."""


class Reading:
    """Opens files; keeps the threads that read those of this hdpd. Make it in the event loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._threads = DiskThreads()

    async def open(self, peer: str, path: RemotePath) -> FileReader:
        """Finds out what the file is at this moment.

        Raises:
            PeerNotFound, PeerAmbiguous, PeerNotConnected
            PathNotFound, NotAFile, FileUnreadable, ...: what the other side said.
            Busy: there was no upload slot in time.
        """
        if peer == SELF:
            return await self._open_local(self._services.shares.open_file, path.share.raw, path)
        session = connected_session(self._services.peers, peer)
        return await RemoteFile.open(session, path, self._services.limits.download)

    async def open_finished(self, path: RemotePath) -> FileReader:
        """A finished download, at `path` below the download directory.

        Raises:
            PathNotFound, NotAFile, FileUnreadable
        """
        finished = self._services.downloads.finished
        await finished.check(path)
        # No share has an empty name, so the downloads' disk has a queue of its own.
        return await self._open_local(finished.open_file, b"", path)

    async def _open_local(self, open_file: OpenFile, queue: bytes, path: RemotePath) -> LocalFile:
        source = SourceFile(open_file, Read(path, 0, 0))
        started, _nothing = await self._threads.run(queue, source.start)
        return LocalFile(open_file, self._threads, queue, path, started)

    def close(self) -> None:
        """Ends the threads; nothing may be read any more."""
        self._threads.close()


class LocalFile:
    """A file on a disk of this hdpd, as it was when `started` was found out."""

    def __init__(
        self,
        open_file: OpenFile,
        threads: DiskThreads,
        queue: bytes,
        path: RemotePath,
        started: ReadStarted,
    ) -> None:
        self._open_file = open_file
        self._threads = threads
        self._queue = queue
        self._path = path
        self.size = started.size
        self.validator = started.validator

    async def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        request = Read(self._path, start, end - start, if_match=self.validator)
        source, queue = SourceFile(self._open_file, request), self._queue
        try:
            _started, piece = await self._threads.run(queue, source.start)
            yield piece
            while not source.is_finished:
                yield await self._threads.run(queue, source.next_piece)
        finally:
            if not source.is_finished:
                self._threads.run(queue, source.close)
