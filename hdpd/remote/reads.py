"""Reads from a session: one `read` or `batch` request from its opening to its verified end.

What a peer answers is checked here against what was asked: length, size, and that the validator is
the same before and after the bytes. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from msgspec import Struct, field

from hdpd.errors import (
    Busy,
    Cancelled,
    DiskUnavailable,
    FileChanged,
    HdpdError,
    NoCommonTopic,
    PeerNotConnected,
    ProtocolError,
    QuotaReached,
    TimedOut,
)
from hdpd.identity.keys import PeerId
from hdpd.wire import fields
from hdpd.wire.codec import FrameReader
from hdpd.wire.fields import Message
from hdpd.wire.messages import (
    Batch,
    Read,
    ReadStarted,
    Request,
    ResetCode,
    raise_if_error,
    read_ended,
)

MOST_BYTES = 1024 * 1024
ANSWER_S = 30.0
QUEUE_S = 60.0  # who waits is told its place every 15 s; four times nothing is a dead peer
MAX_QUEUED_FRAMES = 4000  # some 15 hours; then the question is asked anew
FILE_BUDGET_BYTES = 1024  # what comes of a file of a batch beside its bytes, an error for example
BUDGET_BYTES = 64 * 1024 + 32 * MAX_QUEUED_FRAMES  # frames around the bytes of a read


class AnswerStream(Protocol):
    """What every answer of a peer needs of hdpd.link.session.Stream."""

    async def receive(self, timeout: float = ...) -> Message: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Stream(AnswerStream, Protocol):
    """What a read needs beside that."""

    async def receive_chunks(self, limit: int, timeout: float = ...) -> list[bytes]: ...

    def reset(self, code: ResetCode) -> None: ...


class Asked(Protocol):
    """Who is asked."""

    @property
    def peer_id(self) -> PeerId: ...

    async def call(self, request: Request, *, budget: int) -> Stream: ...


class Link(Asked, Protocol):
    """What is used of hdpd.link.session.Session."""

    @property
    def rtt(self) -> float: ...

    @property
    def on_lan(self) -> bool: ...

    @property
    def closed(self) -> bool: ...


class Session(Link, Protocol):
    """A connected peer, over one connection or several."""

    @property
    def connections(self) -> int: ...


class AskAgain(HdpdError):
    """Another read of the same peer waits already; this one has to be asked again later."""


FATAL = (PeerNotConnected, NoCommonTopic, Cancelled, DiskUnavailable, QuotaReached)
"""What ends a download for now; any other error is that of one file."""

PASSING = (*FATAL, AskAgain, Busy, TimedOut)
"""What says nothing about the files that were asked for."""


class RemoteRead(Struct):
    """An answered read: `started` says what the file is, `chunks` gives its bytes."""

    stream: Stream
    started: ReadStarted
    missing: int
    on_bytes: Callable[[int], None]

    async def chunks(self) -> list[bytes]:
        """The next bytes, at most MOST_BYTES; empty when all have come and are verified.

        Raises:
            FileChanged: the validator after the bytes is another one.
            HdpdError: whatever ended the stream early.
        """
        if not self.missing:
            await self._verify()
            return []
        chunks = await self.stream.receive_chunks(min(self.missing, MOST_BYTES), ANSWER_S)
        size = sum(map(len, chunks))
        if not size:
            raise ProtocolError("the peer ended a file early")
        self.missing -= size
        self.on_bytes(size)
        return chunks

    async def all(self) -> bytes:
        """All bytes at once, verified; for a read of modest length."""
        pieces: list[bytes] = []
        while chunks := await self.chunks():
            # At once: a peer may send it byte by byte, and each piece has its overhead.
            pieces.append(b"".join(chunks))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _verify(self) -> None:
        end = await self.stream.receive(ANSWER_S)
        raise_if_error(end)
        if read_ended(end) != self.started.validator:
            raise FileChanged("the file changed while it was sent")


class RemoteBatch(Struct):
    """An answered batch; `next` gives its files in the order in which they were asked for."""

    stream: Stream
    request: Batch
    on_bytes: Callable[[int], None]
    _reader: FrameReader = field(default_factory=FrameReader)
    _taken: int = 0

    async def next(self) -> tuple[ReadStarted, bytes]:
        """What the next file is, and its verified bytes: none when it has another size than was
        asked for.

        Raises:
            FileRefused: this file cannot be had, for the reason that is its cause.
            HdpdError: whatever ended the stream early.
        """
        _path, size = self.request.files[self._taken]
        self._taken += 1
        while (head := self._reader.next_frame()) is None:
            await self._more()
        try:
            raise_if_error(head)
        except HdpdError as error:
            raise FileRefused(error) from None
        started = ReadStarted.from_wire(head)
        if started.length != (size if started.size == size else 0):
            raise ProtocolError("the peer sends another number of bytes than it was asked for")
        while len(self._reader) < started.length:
            await self._more()
        self.on_bytes(started.length)
        return started, self._reader.take(started.length)

    async def _more(self) -> None:
        chunks = await self.stream.receive_chunks(MOST_BYTES, ANSWER_S)
        self._reader.feed(b"".join(chunks))


class FileRefused(Exception):
    """The peer cannot send one file of a batch; `error` says why."""

    def __init__(self, error: HdpdError) -> None:
        super().__init__(error.message)
        self.error = error


async def start_read(
    session: Asked,
    request: Read,
    on_queued: Callable[[int, int | None], None],
    on_bytes: Callable[[int], None],
) -> RemoteRead:
    """Asks, and waits in the peer's line until it sends.

    `on_queued` is told the position, with the seconds until the turn where the peer guesses them,
    and may raise AskAgain; `on_bytes` is told how many bytes came. The caller leaves the read's
    `stream` as a context manager.

    Raises:
        HdpdError: what the peer answered, or why there was no answer.
    """
    stream = await session.call(request, budget=request.length + BUDGET_BYTES)
    try:
        started = ReadStarted.from_wire(await _answer(stream, on_queued))
        if started.length != max(0, min(request.length, started.size - request.offset)):
            raise ProtocolError("the peer sends another number of bytes than it was asked for")
    except BaseException:
        stream.reset(ResetCode.CANCELLED)
        raise
    return RemoteRead(stream, started, started.length, on_bytes)


async def start_batch(
    session: Asked,
    request: Batch,
    on_queued: Callable[[int, int | None], None],
    on_bytes: Callable[[int], None],
) -> RemoteBatch:
    """Like `start_read`, for a batch."""
    beside = BUDGET_BYTES + FILE_BUDGET_BYTES * len(request.files)
    stream = await session.call(request, budget=request.length + beside)
    try:
        await _answer(stream, on_queued)
    except BaseException:
        stream.reset(ResetCode.CANCELLED)
        raise
    return RemoteBatch(stream, request, on_bytes)


async def _answer(stream: Stream, on_queued: Callable[[int, int | None], None]) -> Message:
    """What comes after the peer's line."""
    answer = await stream.receive(ANSWER_S)
    frames = 0
    while "queued" in answer:
        frames += 1
        if frames > MAX_QUEUED_FRAMES:
            raise AskAgain
        eta = fields.integer(answer, "eta") if "eta" in answer else None
        on_queued(fields.integer(answer, "queued", 1), eta)
        answer = await stream.receive(QUEUE_S)
    raise_if_error(answer)
    return answer
