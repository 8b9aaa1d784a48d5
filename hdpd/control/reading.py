"""The bytes of a file of a peer, or of a share here, in order and in pieces.

A peer's piece is given out only when it has come in full and the file still is what it was, so a
reader never gets bytes of two versions of a file.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Protocol

from hdpd.control.entries import SELF, connected_session
from hdpd.control.services import Services, Session, Stream, Throttle
from hdpd.errors import Busy, FileChanged, ProtocolError
from hdpd.threads.disk_threads import DiskThreads
from hdpd.uploads.source_file import OpenFile, SourceFile
from hdpd.wire.messages import Read, ReadStarted, raise_if_error, read_ended
from hdpd.wire.paths import RemotePath

PIECE_BYTES = 1024 * 1024
PIECES_AHEAD = 4  # 4 MiB under way: 40 MB/s at a round trip of 100 ms
QUEUE_SECONDS = 60.0  # to wait for an upload slot; people and programs try again later
FRAME_SECONDS = 30.0
_ANSWER_OVERHEAD_BYTES = 64 * 1024  # the frames around a piece


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
        request = Read(path, 0, 0, urgent=True)
        if peer == SELF:
            return await self._open_local(self._services.shares.open_file, path.share.raw, path)
        session = connected_session(self._services.peers, peer)
        with await session.call(request, budget=_ANSWER_OVERHEAD_BYTES) as stream:
            started = await _started(stream)
            read_ended(await stream.receive(FRAME_SECONDS))
        return RemoteFile(session, path, started, self._services.limits.download)

    async def open_finished(self, path: RemotePath) -> FileReader:
        """A finished download, at `path` below the download directory.

        Raises:
            PathNotFound, NotAFile, FileUnreadable
        """
        finished = self._services.downloads.finished
        await finished.check(path)
        # No share has an empty name, so the downloads' disk has a lane of its own.
        return await self._open_local(finished.open_file, b"", path)

    async def _open_local(self, open_file: OpenFile, lane: bytes, path: RemotePath) -> LocalFile:
        source = SourceFile(open_file, Read(path, 0, 0))
        started, _nothing = await self._threads.run(lane, source.start)
        return LocalFile(open_file, self._threads, lane, path, started)

    def close(self) -> None:
        """Ends the threads; nothing may be read any more."""
        self._threads.close()


class LocalFile:
    """A file on a disk of this hdpd, as it was when `started` was found out."""

    def __init__(
        self,
        open_file: OpenFile,
        threads: DiskThreads,
        lane: bytes,
        path: RemotePath,
        started: ReadStarted,
    ) -> None:
        self._open_file = open_file
        self._threads = threads
        self._lane = lane
        self._path = path
        self.size = started.size
        self.validator = started.validator

    async def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        request = Read(self._path, start, end - start, if_match=self.validator)
        source, lane = SourceFile(self._open_file, request), self._lane
        try:
            _started, piece = await self._threads.run(lane, source.start)
            yield piece
            while not source.is_finished:
                yield await self._threads.run(lane, source.next_piece)
        finally:
            if not source.is_finished:
                self._threads.run(lane, source.close)


class RemoteFile:
    """A file of a peer; `started` is what it said about it first."""

    def __init__(
        self, session: Session, path: RemotePath, started: ReadStarted, throttle: Throttle
    ) -> None:
        self._session = session
        self._throttle = throttle
        self._path = path
        self.size = started.size
        self.validator = started.validator

    async def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        under_way: deque[tuple[Stream, int]] = deque()
        with ExitStack() as stack:
            while start < end or under_way:
                while start < end and len(under_way) < PIECES_AHEAD:
                    length = min(PIECE_BYTES, end - start)
                    if self._throttle.limits(self._session):
                        length = await self._throttle.take(self._session, length)
                    under_way.append((stack.enter_context(await self._ask(start, length)), length))
                    start += length
                stream, length = under_way.popleft()
                yield await self._receive(stream, length)

    async def _ask(self, offset: int, length: int) -> Stream:
        request = Read(self._path, offset, length, if_match=self.validator, urgent=True)
        return await self._session.call(request, budget=length + _ANSWER_OVERHEAD_BYTES)

    async def _receive(self, stream: Stream, length: int) -> bytes:
        started = await _started(stream)
        if started.validator != self.validator:
            raise FileChanged
        if started.length != length:
            raise ProtocolError("a peer sends another length than was asked for")
        piece = bytearray()
        while len(piece) < length:
            piece += await stream.receive_bytes(length - len(piece), FRAME_SECONDS)
        if read_ended(await stream.receive(FRAME_SECONDS)) != self.validator:
            raise FileChanged
        return bytes(piece)


async def _started(stream: Stream) -> ReadStarted:
    """Waits for an upload slot and for the beginning of the answer."""
    deadline = time.monotonic() + QUEUE_SECONDS
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise Busy("the peer's upload slots are taken; try again later")
        answer = await stream.receive(max(left, FRAME_SECONDS))
        raise_if_error(answer)
        if "queued" not in answer:
            return ReadStarted.from_wire(answer)
