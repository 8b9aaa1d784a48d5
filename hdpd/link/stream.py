"""One bidirectional QUIC stream, for one request and its answer.

What a peer may send on a stream is a budget fixed when the stream is opened: more than that ends
the connection, because neither QUIC library lets us withhold flow-control credit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hdpd.errors import (
    Busy,
    Cancelled,
    ConnectionLost,
    FileChanged,
    FileUnreadable,
    HdpdError,
    ProtocolError,
    RemoteError,
    SlotLost,
    TimedOut,
)
from hdpd.wire.codec import LENGTH_BYTES, MAX_FRAME_BYTES, FrameReader, frame
from hdpd.wire.fields import Message
from hdpd.wire.messages import ResetCode

if TYPE_CHECKING:
    from hdpd.link.connection import Connection

REQUEST_BUDGET = LENGTH_BYTES + MAX_FRAME_BYTES  # what an asker may send
UNSENT_HIGH_BYTES = 1024 * 1024  # a sender waits above it: memory for each stream being sent
UNSENT_LOW_BYTES = 512 * 1024  # ... and goes on below it, before the engine runs dry

_RESETS: dict[int, type[HdpdError]] = {
    ResetCode.CANCELLED: Cancelled,
    ResetCode.FILE_CHANGED: FileChanged,
    ResetCode.FILE_UNREADABLE: FileUnreadable,
    ResetCode.SLOT_LOST: SlotLost,
    ResetCode.BUSY: Busy,
}


def reset_error(code: int) -> HdpdError:
    """What a peer's reset means here."""
    error = _RESETS.get(code)
    return error() if error else RemoteError(f"the peer ended the request with code {code}")


class Stream:
    """Frames and raw bytes both ways; used by one task at a time in each direction."""

    __slots__ = (
        "_budget",
        "_buffered",
        "_chunks",
        "_connection",
        "_error",
        "_readable",
        "_reader",
        "_received_end",
        "_sent_end",
        "_writable",
        "answered",
        "id",
    )

    def __init__(self, connection: Connection, stream_id: int, budget: int) -> None:
        self.id = stream_id
        self._connection = connection
        self._budget = budget
        self._reader = FrameReader()
        self._chunks: deque[bytes] = deque()
        self._buffered = 0  # bytes in the chunks
        self._received_end = False
        self._sent_end = False
        self.answered = False
        self._error: HdpdError | None = None
        self._readable: asyncio.Future[bool] | None = None  # False: too late
        self._writable: asyncio.Future[None] | None = None

    # What the connection feeds in.

    def data_received(self, chunks: list[bytes], end: bool) -> int:
        """How many bytes they are; raises ProtocolError when the peer sends more than it may."""
        size = sum(map(len, chunks))
        self._budget -= size
        if self._budget < 0:
            raise ProtocolError("the peer sent more than it was asked for")
        self._buffered += size
        self._chunks.extend(filter(None, chunks))
        self._received_end = self._received_end or end
        self._wake_reader()
        return size

    def failed(self, error: HdpdError) -> None:
        """No more comes and no more can be sent."""
        if self._error is None:
            self._error = error
        self._wake_reader()
        self.wake_writer()

    @property
    def complete(self) -> bool:
        """Whether both directions have ended, one way or the other."""
        return self._error is not None or (self._received_end and self._sent_end)

    def wake_writer(self) -> None:
        waiter, self._writable = self._writable, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _wake_reader(self) -> None:
        waiter, self._readable = self._readable, None
        if waiter is not None and not waiter.done():
            waiter.set_result(True)

    # What the requests use.

    async def receive(self, timeout: float = 30.0) -> Message:
        """The next message.

        Raises:
            TimedOut: nothing whole came within `timeout` seconds.
            ConnectionLost, ProtocolError: the connection ended, or the message is not acceptable.
            HdpdError: what the peer's reset of the stream means.
        """
        while True:
            message = self._reader.next_frame()
            if message is not None:
                return message
            if self._chunks:
                chunk = self._chunks.popleft()
                self._buffered -= len(chunk)
                self._reader.feed(chunk)
            else:
                await self._more(timeout)

    async def receive_bytes(self, limit: int, timeout: float = 30.0) -> bytes:
        """1 to `limit` raw bytes: all that has come. Raises like `receive`."""
        return b"".join(await self.receive_chunks(limit, timeout))

    async def receive_chunks(self, limit: int, timeout: float = 30.0) -> list[bytes]:
        """1 to `limit` raw bytes in the pieces in which they came. Raises like `receive`."""
        if len(self._reader):
            return [self._reader.take(limit)]
        while not self._chunks:
            await self._more(timeout)
        if self._buffered <= limit:
            taken = list(self._chunks)
            self._chunks.clear()
            self._buffered = 0
            return taken
        self._buffered -= limit
        return self._take_some(limit)

    def _take_some(self, limit: int) -> list[bytes]:
        pieces: list[bytes] = []
        while limit:
            chunk = self._chunks.popleft()
            if len(chunk) > limit:
                self._chunks.appendleft(chunk[limit:])
                chunk = chunk[:limit]
            pieces.append(chunk)
            limit -= len(chunk)
        return pieces

    async def _more(self, timeout: float) -> None:
        if self._error is not None:
            raise self._error
        if self._received_end:
            raise ProtocolError("the peer ended an answer in the middle")
        loop = asyncio.get_running_loop()
        self._readable = waiter = loop.create_future()
        # asyncio.timeout would be a twentieth of the cost of a small file.
        timer = loop.call_later(timeout, _give_up, waiter)
        try:
            if not await waiter:
                raise TimedOut(f"the peer did not answer within {timeout:g} s")
        finally:
            timer.cancel()
            self._readable = None

    async def send(self, data: bytes, *, end: bool = False) -> None:
        """Queues `data`; waits while more than 1 MiB of this stream is unsent.

        Raises:
            ConnectionLost, Cancelled: the connection ended, or the peer wants no more.
        """
        if self._error is not None:
            raise self._error
        if self._sent_end:
            raise AssertionError("a stream was used after its end")
        self._sent_end = end
        self.answered = True
        self._connection.send_stream(self, data, end)
        if len(data) < UNSENT_HIGH_BYTES // 4 and end:
            return  # a short answer: there is no more for which to make the sender wait
        while self._error is None and self._connection.unsent_bytes(self) > UNSENT_HIGH_BYTES:
            self._writable = asyncio.get_running_loop().create_future()
            await self._writable
        if self._error is not None:
            raise self._error

    async def send_message(self, message: Message, *, end: bool = False) -> None:
        await self.send(frame(message), end=end)

    @property
    def unsent_bytes(self) -> int:
        """How much of what was given to `send` has not left this machine yet."""
        return self._connection.unsent_bytes(self)

    def reset(self, code: ResetCode) -> None:
        """Ends both directions at once; does nothing to a stream that has ended."""
        if self.complete:
            return
        self._connection.reset_stream(self, code, send=not self._sent_end)
        self.failed(Cancelled())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.reset(ResetCode.CANCELLED)


def _give_up(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)


def lost(reason: str) -> ConnectionLost:
    return ConnectionLost(f"the connection to the peer was lost: {reason}")
