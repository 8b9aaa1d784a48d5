"""The bytes of a file of a peer, or of a share here, in order and in pieces.

A piece is given out only when it has come in full and the file still is what it was, so a reader
never gets bytes of two versions of a file.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, ExitStack
from typing import Protocol

from hdpd.control.entries import SELF, connected_session
from hdpd.control.services import OpenedFile, Services, Session, Stream
from hdpd.errors import Busy, FileChanged, FileUnreadable, ProtocolError
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


async def open_file(
    services: Services, peer: str, path: RemotePath, stack: AsyncExitStack
) -> FileReader:
    """Finds out what the file is at this moment; `stack` closes it.

    Raises:
        PeerNotFound, PeerAmbiguous, PeerNotConnected
        PathNotFound, NotAFile, FileUnreadable, ...: what the other side said.
        Busy: there was no upload slot in time.
    """
    if peer == SELF:
        opened = await asyncio.to_thread(services.shares.open_file, path)
        return LocalFile(stack.enter_context(opened))
    session = connected_session(services.peers, peer)
    with await session.call(Read(path, 0, 0), budget=_ANSWER_OVERHEAD_BYTES) as stream:
        started = await _started(stream)
        read_ended(await stream.receive(FRAME_SECONDS))
    return RemoteFile(session, path, started)


class LocalFile:
    """A file of a share of this hdpd."""

    def __init__(self, opened: OpenedFile) -> None:
        self._opened = opened
        self.size = opened.size
        self.validator = opened.validator

    async def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        while start < end:
            try:
                piece = await asyncio.to_thread(
                    os.pread, self._opened.fd, min(PIECE_BYTES, end - start), start
                )
            except OSError as error:
                raise FileUnreadable(f"the file cannot be read: {error.strerror}") from None
            if not piece:
                raise FileChanged("the file became shorter while it was read")
            start += len(piece)
            yield piece


class RemoteFile:
    """A file of a peer; `started` is what it said about it first."""

    def __init__(self, session: Session, path: RemotePath, started: ReadStarted) -> None:
        self._session = session
        self._path = path
        self.size = started.size
        self.validator = started.validator

    async def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        under_way: deque[tuple[Stream, int]] = deque()
        with ExitStack() as stack:
            while start < end or under_way:
                while start < end and len(under_way) < PIECES_AHEAD:
                    length = min(PIECE_BYTES, end - start)
                    under_way.append((stack.enter_context(await self._ask(start, length)), length))
                    start += length
                stream, length = under_way.popleft()
                yield await self._receive(stream, length)

    async def _ask(self, offset: int, length: int) -> Stream:
        request = Read(self._path, offset, length, if_match=self.validator)
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
