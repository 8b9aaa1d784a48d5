"""The bytes of one file of a peer, in order and in pieces, for somebody who waits for them.

A piece is given out only when it has come in full and the file still is what it was, so a reader
never gets bytes of two versions of a file.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Protocol, Self

from hdpd.errors import Busy, FileChanged, ProtocolError
from hdpd.rates.throttle import Throttle
from hdpd.remote.reads import Asked, RemoteRead, start_read
from hdpd.wire.messages import Read, ReadStarted
from hdpd.wire.paths import RemotePath

PIECE_BYTES = 1024 * 1024
PIECES_AHEAD = 4  # 4 MiB under way: 40 MB/s at a round trip of 100 ms
QUEUE_S = 60.0  # to wait for an upload slot; people and programs try again later


class Session(Asked, Protocol):
    """What is needed of the session, by the throttle too."""

    @property
    def on_lan(self) -> bool: ...


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

    @classmethod
    async def open(cls, session: Session, path: RemotePath, throttle: Throttle) -> Self:
        """Finds out what the file is at this moment. `throttle` is that of downloads.

        Raises:
            PathNotFound, NotAFile, FileUnreadable, ...: what the peer said.
            Busy: there was no upload slot in time.
        """
        read = await _start(session, Read(path, 0, 0, urgent=True))
        with read.stream:
            await read.all()
        return cls(session, path, read.started, throttle)

    async def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to `end`, read ahead of whoever takes them; to be closed.

        Raises:
            FileChanged: it is not the file any more that was opened.
            HdpdError: whatever else ended it early.
        """
        under_way: deque[asyncio.Task[bytes]] = deque()
        try:
            while start < end or under_way:
                while start < end and len(under_way) < PIECES_AHEAD:
                    length = min(PIECE_BYTES, end - start)
                    if self._throttle.limits(self._session):
                        length = await self._throttle.take(self._session, length)
                    under_way.append(asyncio.create_task(self._piece(start, length)))
                    start += length
                yield await under_way[0]
                under_way.popleft()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _piece(self, offset: int, length: int) -> bytes:
        request = Read(self._path, offset, length, if_match=self.validator, urgent=True)
        read = await _start(self._session, request)
        with read.stream:
            if read.started.validator != self.validator:
                raise FileChanged
            if read.started.length != length:
                raise ProtocolError("the peer sends another number of bytes than it was asked for")
            return await read.all()


async def _start(session: Session, request: Read) -> RemoteRead:
    try:
        async with asyncio.timeout(QUEUE_S):
            return await start_read(session, request, lambda *_place: None, lambda _size: None)
    except TimeoutError:
        raise Busy("the peer's upload slots are taken; try again later") from None
