"""A peer in the same process: serves files from memory through real asyncio queues.

It keeps to the interface of hdpd.link.session, and can be slow, lose its connection, put reads in
a line, or answer whatever a test wants.
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from hdpd.errors import (
    ConnectionLost,
    FileChanged,
    HdpdError,
    NotADirectory,
    PathNotFound,
    ProtocolError,
    TimedOut,
    UnknownRequest,
)
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.wire.codec import frame
from hdpd.wire.fields import Message
from hdpd.wire.messages import (
    Batch,
    Digest,
    Digested,
    Entry,
    EntryType,
    Ls,
    Read,
    ReadStarted,
    Request,
    ResetCode,
    error_answer,
)
from hdpd.wire.paths import RemotePath

Item = Message | bytes | HdpdError
"""A message, bytes, or an error that is raised at its turn."""

PEER = PeerId(bytes(31) + b"\x01")
MTIME_NS = 1_600_000_000_123_456_789


@dataclass
class FakeFile:
    """A file; `listed_size` is what the listing says when that is not the truth."""

    data: bytes
    mtime_ns: int = MTIME_NS
    listed_size: int | None = None

    @property
    def validator(self) -> bytes:
        return b"%d.%d.%d" % (len(self.data), self.mtime_ns, zlib.crc32(self.data[:4096]))


class FakeStream:
    """The asker's end of one request: takes what a peer puts, or plays back a whole `answer`.

    After an answer it is as if the connection was lost, or with `hold` as if nothing more came.
    """

    def __init__(self, answer: Iterable[Item] | None = None, *, hold: bool = False) -> None:
        self.budget = 2**62
        """Bytes that may still come; set by the session."""
        self.closed = False
        self.server: asyncio.Task[None] | None = None
        self._lost = False
        self._rest = b""
        self._items: asyncio.Queue[Item] = asyncio.Queue(maxsize=8 if answer is None else 0)
        for item in answer or ():
            self._items.put_nowait(item)
        if answer is not None and not hold:
            self._items.put_nowait(ConnectionLost())

    async def put(self, item: Item) -> None:
        await self._items.put(item)

    async def _next(self, timeout: float) -> Message | bytes:
        if self._lost:
            raise ConnectionLost
        if not self._items.empty():
            item = self._items.get_nowait()
        else:
            try:
                # Not wait_for: it loses a cancellation when an item comes in the same moment.
                async with asyncio.timeout(timeout):
                    item = await self._items.get()
            except TimeoutError:
                raise TimedOut from None
        if isinstance(item, HdpdError):
            raise item
        return item

    async def receive(self, timeout: float = 30.0) -> Message:
        item = await self._next(timeout)
        if not isinstance(item, dict):
            raise ProtocolError("bytes where a message should be")
        return item

    async def receive_chunks(self, limit: int, timeout: float = 30.0) -> list[bytes]:
        data = self._rest or await self._next(timeout)
        assert isinstance(data, bytes)
        self.budget -= len(data) - len(self._rest)
        assert self.budget >= 0, "the asker asked for less than it reads"
        data, self._rest = data[:limit], data[limit:]
        return [data]

    async def receive_bytes(self, limit: int, timeout: float = 30.0) -> bytes:
        return b"".join(await self.receive_chunks(limit, timeout))

    def lose(self) -> None:
        """Ends the stream as a lost connection does."""
        self._lost = True
        self._end_server()
        while not self._items.empty():
            self._items.get_nowait()
        self._items.put_nowait(ConnectionLost())

    def reset(self, code: ResetCode) -> None:
        self.closed = True
        self._end_server()

    def _end_server(self) -> None:
        if self.server is not None:
            self.server.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.reset(ResetCode.CANCELLED)


def no_answer(request: Request) -> FakeStream:
    raise AssertionError(f"nobody was to ask for {request!r}")


class FakeSession:
    """A connection to a peer, which answers each request with a stream."""

    def __init__(
        self, peer_id: PeerId, answer: Callable[[Request], FakeStream] = no_answer
    ) -> None:
        self.peer_id = peer_id
        self.name = name_of(peer_id)
        self.rtt = 0.0
        self.connections = 1
        self.on_lan = False
        self.source = "here"
        self.closed = False
        self.requests: list[Request] = []
        self.budgets: list[int] = []
        self.streams: list[FakeStream] = []
        """All that there were."""
        self.most_streams = 0
        """At once."""
        self._answer = answer
        self._open: list[FakeStream] = []

    @property
    def open_streams(self) -> list[FakeStream]:
        self._open = [stream for stream in self._open if not stream.closed]
        return self._open

    async def call(self, request: Request, *, budget: int) -> FakeStream:
        if self.closed:
            raise ConnectionLost
        self.requests.append(request)
        self.budgets.append(budget)
        stream = self._answer(request)
        stream.budget = budget
        self.streams.append(stream)
        self.open_streams.append(stream)
        self.most_streams = max(self.most_streams, len(self._open))
        return stream

    def lose(self) -> None:
        """The connection is lost, with everything that is under way."""
        self.closed = True
        for stream in self.open_streams:
            stream.lose()
        self._open.clear()


class Gate:
    """Lets a peer send so many bytes and not more."""

    def __init__(self, peer: FakePeer, size: int) -> None:
        self._left = size
        self._chunk = peer.chunk
        self._opened = asyncio.Event()
        peer.before_chunk = self.pass_chunk

    def open(self, size: int = 2**62) -> None:
        """Lets more bytes pass."""
        self._left += size
        self._opened.set()

    async def pass_chunk(self, request: Read, offset: int) -> None:
        while self._left <= 0:
            self._opened.clear()
            await self._opened.wait()
        self._left -= min(self._chunk, request.offset + request.length - offset)


@dataclass
class FakePeer:
    """Files by path text, and directories that may be empty."""

    files: dict[str, FakeFile] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    peer_id: PeerId = PEER
    latency: float = 0.0
    chunk: int = 64 * 1024
    on_read: Callable[[Read, FakeStream], Awaitable[bool]] | None = None
    """Called for each read; True: it has been answered."""
    on_digest: Callable[[Digest], Awaitable[None]] | None = None
    """Called for each request of a digest before it is answered."""
    before_chunk: Callable[[Read, int], Awaitable[None]] | None = None
    """Called with the offset of each chunk before it is sent."""
    reads: list[Read] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    listings: int = 0
    listed: list[Entry] = field(default_factory=list)
    """What the listing under way goes through."""
    page: int = 10_000
    extra: list[Entry] = field(default_factory=list)
    """Put into each listing as they are."""

    def session(self) -> FakeSession:
        session = FakeSession(self.peer_id, self.answer)
        session.rtt = self.latency
        return session

    def answer(self, request: Request) -> FakeStream:
        """The stream of one request, into which a task puts the answer."""
        stream = FakeStream()
        stream.server = asyncio.create_task(self.serve(request, stream))
        return stream

    async def serve(self, request: Request, stream: FakeStream) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)
        try:
            if isinstance(request, Ls):
                self.listings += 1
                await self._answer_ls(request, stream)
            elif isinstance(request, Read):
                self.reads.append(request)
                if self.on_read is None or not await self.on_read(request, stream):
                    await self.answer_read(request, stream)
            elif isinstance(request, Batch):
                if self.on_read is not None or self.before_chunk is not None:
                    raise UnknownRequest  # what they do is done to single reads
                self.batches.append(request)
                await self._answer_batch(request, stream)
            elif isinstance(request, Digest):
                await self._answer_digest(request, stream)
        except HdpdError as error:
            await stream.put(error_answer(error))

    async def _answer_batch(self, request: Batch, stream: FakeStream) -> None:
        await stream.put({"ok": True})
        for path, wanted in request.files:
            file = self.files.get(path.text)
            if file is None:
                await stream.put(frame(error_answer(PathNotFound("it is gone"))))
                continue
            size = len(file.data)
            data = file.data if size == wanted else b""
            started = ReadStarted(len(data), size, file.mtime_ns, file.validator)
            await stream.put(frame(started.to_wire()) + data)

    async def _answer_digest(self, request: Digest, stream: FakeStream) -> None:
        if self.on_digest is not None:
            await self.on_digest(request)
        file = self.files.get(request.path.text)
        if file is None:
            raise PathNotFound("it is gone")
        size = len(file.data)
        await stream.put({"digesting": size // 2})
        digest = hashlib.sha256(file.data).digest()
        await stream.put(Digested(digest, size, file.mtime_ns, file.validator).to_wire())

    async def _answer_ls(self, request: Ls, stream: FakeStream) -> None:
        path = request.path.text
        if path in self.files:
            raise NotADirectory
        if request.cursor is None:
            self.listed = self._below(path + "/") + self.extra
        entries = self.listed
        if not entries and path not in self.directories:
            raise PathNotFound(f"there is no {path!r}")
        start = int(request.cursor or b"0")
        end = start + min(request.limit, self.page)
        for index in range(start, min(end, len(entries)), 100):
            part = entries[index : min(index + 100, end)]
            await stream.put({"entries": [entry.to_wire() for entry in part]})
        await stream.put({"end": True, "cursor": b"%d" % end if end < len(entries) else None})

    def _below(self, prefix: str) -> list[Entry]:
        found: dict[str, Entry] = {}
        for path in self.directories:
            if path.startswith(prefix):
                name = RemotePath.from_text(path.removeprefix(prefix))
                found[path] = Entry(name, EntryType.DIRECTORY, 0, MTIME_NS, 0)
        for path, file in self.files.items():
            if path.startswith(prefix):
                relative = RemotePath.from_text(path.removeprefix(prefix))
                above = relative.parent
                while not above.is_root:
                    entry = Entry(above, EntryType.DIRECTORY, 0, MTIME_NS, 0)
                    found.setdefault(prefix + above.text, entry)
                    above = above.parent
                size = len(file.data) if file.listed_size is None else file.listed_size
                found[path] = Entry(relative, EntryType.FILE, size, file.mtime_ns, 1)
        return [found[path] for path in sorted(found)]

    async def answer_read(self, request: Read, stream: FakeStream) -> None:
        """What a well-meaning peer answers."""
        file = self.files.get(request.path.text)
        if file is None:
            raise PathNotFound("it is gone")
        if request.if_match not in (None, file.validator):
            raise FileChanged("another version is there")
        await self.send(request, stream, file)

    async def send(self, request: Read, stream: FakeStream, file: FakeFile) -> None:
        """Sends `file` whatever the request's path says."""
        size, validator = len(file.data), file.validator
        end = min(size, request.offset + request.length)
        length = max(0, end - request.offset)
        await stream.put(ReadStarted(length, size, file.mtime_ns, validator).to_wire())
        for offset in range(request.offset, end, self.chunk):
            if self.before_chunk is not None:
                await self.before_chunk(request, offset)
            await stream.put(file.data[offset : min(offset + self.chunk, end)])
        now = self.files.get(request.path.text, file)
        await stream.put({"end": now.validator})
