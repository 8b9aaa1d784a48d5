"""One upload as it goes on, and what all of them look like to the owner."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from msgspec import Struct

from hdpd.identity.keys import PeerId
from hdpd.uploads.status import ActiveUpload, WaitingUpload
from hdpd.wire.fields import Message
from hdpd.wire.messages import ResetCode
from hdpd.wire.paths import RemotePath

RATE_GAIN = 0.3
"""Of each new measurement, twice a second: a rate that follows within two seconds and is calm."""


class UploadSession(Protocol):
    """What is needed of a session."""

    @property
    def peer_id(self) -> PeerId: ...
    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def on_lan(self) -> bool: ...


class UploadStream(Protocol):
    """What is needed of a stream."""

    @property
    def unsent_bytes(self) -> int: ...
    async def send(self, data: bytes, *, end: bool = False) -> None: ...
    async def send_message(self, message: Message, *, end: bool = False) -> None: ...
    def reset(self, code: ResetCode) -> None: ...


class Upload(Struct, eq=False):
    """One read, or a batch of small files, from its arrival to its end."""

    number: int
    session: UploadSession
    stream: UploadStream
    path: RemotePath  # of the file, or the one of a batch that was read last
    offset: int = 0
    size: int = 0  # of the file, once it has begun
    length: int = 0  # of what is sent of it
    granted: bool = False
    revoked: bool = False
    position: int | None = None  # of which the peer has not been told yet
    eta: int = 0  # seconds; a guess that goes with it
    queued: bool = False  # the peer has been told one
    wake: asyncio.Future[None] | None = None
    disk: asyncio.Future[Any] | None = None  # what is being waited for
    disk_since: float = 0.0
    began: bool = False
    paced: bool = False  # it waits for its part of a limited rate
    passed_bytes: int = 0  # to the stream
    left_bytes: int = 0  # this machine

    def notify(self) -> None:
        """Lets the task of this upload look at what has changed."""
        if self.wake is not None and not self.wake.done():
            self.wake.set_result(None)

    def fail_disk(self, error: Exception) -> None:
        """Raises `error` where the disk is being waited for; a result that comes later is lost."""
        if self.disk is not None and not self.disk.done():
            self.disk.set_exception(error)


class _Flow(Struct):
    upload: Upload  # the one that began last
    rate: float = 0.0  # bytes per second
    unmeasured_bytes: int = 0


class Flows:
    """What each holder of a slot is being sent, all its reads together: for people to look at."""

    def __init__(self, now: float) -> None:
        self._flows: dict[PeerId, _Flow] = {}  # at most one for each slot after each `measure`
        self._measured_at = now

    def begin(self, upload: Upload) -> None:
        peer = upload.session.peer_id
        flow = self._flows.get(peer)
        if flow is None:
            self._flows[peer] = _Flow(upload)
        else:
            flow.upload = upload

    def count(self, upload: Upload, left_bytes: int) -> bool:
        """So many bytes of the upload have left by now; True when they are more than before."""
        gone = left_bytes - upload.left_bytes
        if gone <= 0:
            return False
        upload.left_bytes = left_bytes
        flow = self._flows.get(upload.session.peer_id)
        if flow is not None:
            flow.unmeasured_bytes += gone
        return True

    def measure(self, holders: Iterable[PeerId], now: float) -> None:
        """Brings the rates up to date and forgets who holds no slot any more."""
        self._flows = {peer: self._flows[peer] for peer in holders if peer in self._flows}
        elapsed = max(now - self._measured_at, 1e-3)
        self._measured_at = now
        for flow in self._flows.values():
            rate = flow.unmeasured_bytes / elapsed
            flow.rate += (rate - flow.rate) * (RATE_GAIN if flow.rate else 1.0)
            flow.unmeasured_bytes = 0

    def active(self, holders: Iterable[PeerId]) -> tuple[ActiveUpload, ...]:
        """What the holders of slots are sent."""
        return tuple(_active(self._flows[peer]) for peer in holders if peer in self._flows)


def _active(flow: _Flow) -> ActiveUpload:
    upload = flow.upload
    return ActiveUpload(
        upload.session.peer_id,
        upload.session.name,
        upload.path,
        offset=upload.offset + min(upload.left_bytes, upload.length),
        size=upload.size,
        rate=round(flow.rate),
    )


def waiting(uploads: Iterable[Upload]) -> tuple[WaitingUpload, ...]:
    """Who is in line; `uploads` are the oldest read of each, the next one first."""
    return tuple(
        WaitingUpload(upload.session.peer_id, upload.session.name, upload.path, position)
        for position, upload in enumerate(uploads, 1)
    )
