"""The reads of one runner: how many may be in flight, and its place in the peer's line.

Until the peer has given a slot there is one read only: a waiting peer has one place whatever it
asks for. A read that waits holds no part of the window, which others can use.

Nobody can hold back bytes that were asked for, so a limit of the download rate is kept by asking
for less: a range begins when it was granted its bytes, and is no longer than what is granted.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from hdpd.downloads.disk import Disk
from hdpd.downloads.ranges import FILE_COST, RANGES_IN_FLIGHT, Pace
from hdpd.downloads.records import Download
from hdpd.errors import ConnectionLost
from hdpd.rates.throttle import Throttle
from hdpd.remote.reads import (
    AskAgain,
    RemoteBatch,
    RemoteRead,
    Session,
    start_batch,
    start_read,
)
from hdpd.wire.messages import Batch, Read

T = TypeVar("T")
Q = TypeVar("Q", Read, Batch)
R = TypeVar("R", RemoteRead, RemoteBatch)
Arrived = Callable[[int], None]
Queued = Callable[[int, int | None], None]

MAX_READS = 88  # in flight; a connection has 100 streams, and other requests need some


class Asker:
    """Opens the reads of one download and keeps account of them.

    `changed` is called when another read may begin or `remote_queued` changed.
    """

    def __init__(
        self,
        session: Session,
        download: Download,
        disk: Disk,
        throttle: Throttle,
        changed: Callable[[], None],
    ) -> None:
        self.pace = Pace()
        self.reads = 0
        self._session = session
        self._download = download
        self._disk = disk
        self._throttle = throttle
        self._changed = changed
        self._credit = 0  # granted bytes not yet asked for; less than 0: asked for in advance
        self._request: int | None = None  # for more of it
        self._sending = 0
        self._granted = False
        self._in_line: Read | Batch | None = None

    @property
    def remote_queued(self) -> bool:
        """Whether the peer sends nothing because others come first."""
        return self._in_line is not None and not self._sending

    @property
    def range_length(self) -> int:
        """How much to ask for at once."""
        length = self.pace.range_length
        if self._throttle.limits(self._session):
            length = min(length, self._throttle.slice_bytes)
        return length

    def may_ask(self, size: int, *, held_already: bool = False) -> bool:
        """Whether a read that costs `size` may begin; `held_already`: the window counts it."""
        if self.reads >= (MAX_READS if self._granted else 1):
            return False
        self.pace.connections = self._session.connections
        if self.reads and not self._has_room(size):
            return False
        if not held_already and not self._disk.window.allows(size):
            self._disk.wake_when_room(self._changed)
            return False
        return self._has_credit()

    def _has_credit(self) -> bool:
        """Whether the limit of the rate lets another read begin; else it is applied for."""
        if not self._throttle.limits(self._session):
            self._credit = 0
            return True
        # What was asked for without this limit, or under a higher one, is not owed.
        self._credit = max(self._credit, -self.range_length)
        if self._credit <= 0 and self._request is None:
            wanted = self.range_length - self._credit
            self._request = self._throttle.request(self._session, wanted, self._take_credit)
        return self._credit > 0

    def _take_credit(self, size: int) -> None:
        self._request = None
        self._credit += size
        self._changed()

    def _has_room(self, size: int) -> bool:
        """Whether the line has room for `size` bytes more under way."""
        connections = self._session.connections
        if connections > 1 and self.reads < RANGES_IN_FLIGHT * connections:
            return True  # a new connection has work, whatever is under way on the others
        return self.pace.in_flight + size <= self.pace.limit(self._session.rtt)

    def reserve(self, request: Read | Batch) -> None:
        """Counts a read; `read` or `read_batch` has to follow, unless everything is given up."""
        self.reads += 1
        self._credit -= request.length
        self.pace.asked(cost_of(request))

    async def read(self, request: Read, use: Callable[[RemoteRead], Awaitable[T]]) -> T:
        """Asks, waits in line, and returns what `use` makes of the answered read; ends the stream
        and the reservation.
        """
        return await self._run(request, start_read, use)

    async def read_batch(self, request: Batch, use: Callable[[RemoteBatch], Awaitable[T]]) -> T:
        """Like `read`."""
        return await self._run(request, start_batch, use)

    async def _run(
        self,
        request: Q,
        start: Callable[[Session, Q, Queued, Arrived], Awaitable[R]],
        use: Callable[[R], Awaitable[T]],
    ) -> T:
        missing = cost_of(request)
        received = 0

        def arrived(size: int) -> None:
            nonlocal missing, received
            missing -= size
            received += size
            self.pace.arrived(size, time.monotonic())
            self._download.received_bytes += size
            if received < request.length and self._has_room(self.pace.range_length + FILE_COST):
                # Not only when a read ends: they share the line, so they end at the same time, and
                # the peer would have nothing to do until it is asked for more.
                self._changed()

        def queued(position: int, eta: int | None) -> None:
            self._wait_in_line(request, position, eta)

        try:
            read = await start(self._session, request, queued, arrived)
            self._leave_line(request)
            self._granted = True
            self._sending += 1
            self._changed()
            try:
                with read.stream:
                    result = await use(read)
            finally:
                self._sending -= 1
            arrived_cost, missing = missing, 0
            self.pace.arrived(arrived_cost, time.monotonic())
            return result
        except ConnectionLost:
            if self._session.closed:
                raise
            raise AskAgain from None  # it was another connection than the session's own
        finally:
            self.pace.returned(missing)
            # What did not come may be asked for again; no more than if it had just been granted,
            # because perhaps it was asked for when nothing was limited.
            self._credit = min(self._credit + request.length - received, self.range_length)
            self._leave_line(request)
            self.reads -= 1
            self._changed()

    def close(self) -> None:
        """Nothing more is asked for."""
        if self._request is not None:
            self._throttle.cancel(self._request)
        if self._throttle.limits(self._session):
            self._throttle.give_back(self._session, self._credit)

    def _wait_in_line(self, request: Read | Batch, position: int, eta: int | None) -> None:
        if self._in_line is None:
            self._in_line, self._granted = request, False
            self._disk.give(cost_of(request))
        elif self._in_line is not request:
            raise AskAgain
        self._download.queue_position, self._download.queue_eta = position, eta
        self._changed()

    def _leave_line(self, request: Read | Batch) -> None:
        if self._in_line is request:
            self._in_line = None
            self._disk.window.take(cost_of(request))


def cost_of(request: Read | Batch) -> int:
    """What a request costs the line and the window."""
    files = len(request.files) if isinstance(request, Batch) else 1
    return request.length + files * FILE_COST
