"""Answers `read` and `batch`: takes an upload slot, then sends the bytes as fast as they may go.

Who may send when is decided in `slots`, how fast in `throttle`; the disk is read in `source_file`,
`source_batch` and `disk_threads`. Here these meet the peer's stream, the owner (`status`, `cancel`)
and the clock.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from hdpd.errors import Busy, Cancelled, FileUnreadable, HdpdError
from hdpd.identity.keys import PeerId
from hdpd.rates.throttle import Throttle
from hdpd.threads.disk_threads import DiskThreads
from hdpd.uploads.decisions import Decision, Granted, Queued
from hdpd.uploads.fastlane import READ_COST
from hdpd.uploads.privileges import Privileges
from hdpd.uploads.slots import Slots
from hdpd.uploads.source_batch import SourceBatch
from hdpd.uploads.source_file import OpenFile, SourceFile
from hdpd.uploads.status import UploadsChanged, UploadsStatus
from hdpd.uploads.upload import Flows, Upload, UploadSession, UploadStream, waiting
from hdpd.wire.codec import frame
from hdpd.wire.fields import Message
from hdpd.wire.messages import Batch, Read, ResetCode, error_answer

TICK_S = 0.5
"""How often time passes for the slots, rates are measured and `upload.changed` is emitted."""

DISK_S = 25.0
"""A disk that has not spun up by now never will; below the 30 s that a downloader waits."""

UNDRAINED_BYTES = 64 * 1024
"""A read has been sent, for its slot, when no more than this is still to leave: a few packets."""

FIRST_DRAIN_POLL_S = 0.002
MAX_DRAIN_POLL_S = 0.25

T = TypeVar("T")
Emit = Callable[[UploadsChanged], None]


class Uploads:
    """All uploads; made and used in one event loop. Whole because each read goes through all
    of it.
    """

    def __init__(
        self,
        open_file: OpenFile,
        slots: int,
        throttle: Throttle,
        emit: Emit,
        clock: Callable[[], float] = time.monotonic,
        *,
        privileges: Privileges,
    ) -> None:
        self._open_file = open_file
        self._privileges = privileges
        self._slots = Slots(slots, privileges.is_favourite)
        self._throttle = throttle
        self._emit = emit
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._threads = DiskThreads()
        self._numbers = itertools.count()
        self._uploads: dict[int, Upload] = {}  # as many as sessions serve requests at once
        self._flows = Flows(clock())
        self._emitted = UploadsStatus()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def set_slots(self, count: int) -> None:
        """So many peers are sent to at once from now on; nobody's turn is cut short."""
        self._apply(self._slots.set_count(count, self._clock()))

    async def answer_read(
        self, session: UploadSession, request: Read, stream: UploadStream
    ) -> None:
        """Sends what a peer asks for as soon as it has a slot; returns when nearly all has left.

        Raises:
            HdpdError: before the first byte it is the answer, after that what the stream is to be
                reset with. A read whose slot was taken away has been reset already.
        """
        upload = Upload(next(self._numbers), session, stream, request.path, request.offset)
        length, urgent = request.length, request.urgent
        await self._answer(upload, length, lambda: self._send(upload, request), urgent=urgent)

    async def answer_batch(
        self, session: UploadSession, request: Batch, stream: UploadStream
    ) -> None:
        """Like `answer_read`, for small files."""
        upload = Upload(next(self._numbers), session, stream, request.files[0][0])
        cost = request.length + (len(request.files) - 1) * READ_COST
        await self._answer(upload, cost, lambda: self._send_batch(upload, request))

    async def _answer(
        self,
        upload: Upload,
        cost: int,
        send: Callable[[], Awaitable[None]],
        *,
        urgent: bool = False,
    ) -> None:
        if self._closed:
            raise Busy("this hdpd is stopping; try again later")
        peer, stream = upload.session.peer_id, upload.stream
        self._privileges.check_quota(peer)
        self._uploads[upload.number] = upload
        try:
            now = self._clock()
            source = upload.session.source
            self._apply(
                self._slots.ask(peer, upload.number, cost, now, urgent=urgent, source=source)
            )
            self._keep_ticking()
            if not upload.granted:
                await self._wait_for_slot(upload)
            await send()
        except HdpdError as error:
            if upload.revoked:
                return
            if upload.began or not upload.queued:
                raise
            await stream.send_message(error_answer(error), end=True)
        finally:
            del self._uploads[upload.number]
            self._apply(self._slots.end(upload.number, self._clock()))
            if self._closed and not self._uploads:
                self._threads.close()

    def status(self) -> UploadsStatus:
        """What is being sent, and who waits."""
        return UploadsStatus(
            self._flows.active(self._slots.receivers),
            waiting(self._uploads[number] for _, number in self._slots.line),
        )

    def cancel(self, peer: PeerId) -> None:
        """Ends all that is sent to this peer or that it waits for; for a minute it is refused."""
        self._apply(self._slots.cancel(peer, self._clock()))

    def peer_disconnected(self, peer_id: PeerId) -> None:
        """Frees what the peer held; its session ends its requests."""
        self._apply(self._slots.drop(peer_id, self._clock(), ResetCode.OK))

    def close(self) -> None:
        """Ends all uploads; waits for nothing."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for upload in self._uploads.values():
            self._revoke(upload, ResetCode.SHUTTING_DOWN)
        if not self._uploads:
            self._threads.close()

    # Slots and time.

    def _apply(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            upload = self._uploads.get(decision.read)
            if upload is None:
                continue
            if isinstance(decision, Granted):
                upload.granted = True
                upload.notify()
            elif isinstance(decision, Queued):
                upload.position, upload.eta = decision.position, decision.eta
                upload.notify()
            else:
                self._revoke(upload, decision.code)

    @staticmethod
    def _revoke(upload: Upload, code: ResetCode) -> None:
        upload.revoked = True
        upload.stream.reset(code)
        upload.notify()
        upload.fail_disk(Cancelled())

    async def _wait_for_slot(self, upload: Upload) -> None:
        while not upload.granted:
            if upload.revoked:
                raise Cancelled
            if upload.position is not None:
                message: Message = {"queued": upload.position, "eta": upload.eta}
                upload.position, upload.queued = None, True
                await upload.stream.send_message(message)
            else:
                upload.wake = self._loop.create_future()
                await upload.wake

    def _keep_ticking(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        now = self._clock()
        for upload in self._uploads.values():
            if upload.disk is not None:
                if now - upload.disk_since >= DISK_S:
                    upload.fail_disk(FileUnreadable(f"the disk of {upload.path} does not answer"))
            elif upload.began:
                if upload.paced:
                    self._slots.paced(upload.number, now)
                self._count(upload, upload.passed_bytes - upload.stream.unsent_bytes, now)
        self._apply(self._slots.tick(now))
        self._flows.measure(self._slots.receivers, now)
        if (status := self.status()) != self._emitted:
            self._emitted = status
            self._emit(UploadsChanged(status))
        self._timer = None
        if self._slots.is_used:
            self._keep_ticking()

    def _count(self, upload: Upload, left_bytes: int, now: float) -> None:
        before = upload.left_bytes
        if self._flows.count(upload, left_bytes):
            self._privileges.sent(upload.session.peer_id, left_bytes - before)
            self._slots.progress(upload.number, now)

    # Sending.

    async def _send(self, upload: Upload, request: Read) -> None:
        share = b"" if upload.path.is_root else upload.path.share.raw
        source = SourceFile(self._open_file, request)
        try:
            started, data = await self._disk(upload, self._threads.run(share, source.start))
            upload.size, upload.length = started.size, started.length
            self._begin(upload)
            before = frame(started.to_wire())
            while not source.is_finished:
                # The next piece is read while this one is sent.
                ahead = self._threads.run(share, source.next_piece)
                ahead.add_done_callback(_retrieve)
                await self._pass(upload, data, before=before)
                before = b""
                data = await self._disk(upload, ahead)
        finally:
            if not source.is_finished:
                self._threads.run(share, source.close).add_done_callback(_retrieve)
        after = frame({"end": started.validator})
        await self._pass(upload, data, before=before, after=after, end=True)
        await self._finish(upload)

    async def _send_batch(self, upload: Upload, request: Batch) -> None:
        share = upload.path.share.raw
        source = SourceBatch(self._open_file, request)
        ahead = self._threads.run(share, source.next_piece)
        before = frame({"ok": True})
        while True:
            piece, upload.path, upload.size = await self._disk(upload, ahead)
            self._begin(upload)
            if source.is_finished:
                break
            ahead = self._threads.run(share, source.next_piece)
            ahead.add_done_callback(_retrieve)
            await self._pass(upload, piece, before=before)
            before = b""
        await self._pass(upload, piece, before=before, end=True)
        await self._finish(upload)

    def _begin(self, upload: Upload) -> None:
        upload.began = True
        self._flows.begin(upload)

    async def _finish(self, upload: Upload) -> None:
        if upload.passed_bytes > UNDRAINED_BYTES:
            await _drain(upload.stream)
        self._count(upload, upload.passed_bytes, self._clock())

    async def _pass(
        self, upload: Upload, piece: bytes, *, before: bytes, after: bytes = b"", end: bool = False
    ) -> None:
        """Gives a piece of the file to the stream, with what belongs before it and at the end."""
        gone = 0
        while gone < len(piece) and self._throttle.limits(upload.session):
            upload.paced = True
            size = await self._throttle.take(upload.session, len(piece) - gone)
            upload.paced = False
            if gone + size == len(piece):
                break
            await self._give(upload, before + piece[gone : gone + size])
            before, gone = b"", gone + size
        await self._give(upload, before + piece[gone:] + after, end=end)

    async def _give(self, upload: Upload, data: bytes, *, end: bool = False) -> None:
        upload.passed_bytes += len(data)
        await upload.stream.send(data, end=end)

    async def _disk(self, upload: Upload, result: asyncio.Future[T]) -> T:
        upload.disk, upload.disk_since = result, self._clock()
        try:
            return await result
        finally:
            # The time that our disk takes is not held against the reader.
            self._slots.progress(upload.number, self._clock())
            upload.disk = None


async def _drain(stream: UploadStream) -> None:
    delay = FIRST_DRAIN_POLL_S
    while stream.unsent_bytes > UNDRAINED_BYTES:
        await asyncio.sleep(delay)
        delay = min(2 * delay, MAX_DRAIN_POLL_S)


def _retrieve(result: asyncio.Future[Any]) -> None:
    """Whoever wanted the result may have gone; then its error is nobody's."""
    if not result.cancelled():
        result.exception()
