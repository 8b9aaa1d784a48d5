"""Threads for blocking file calls, so that a slow disk never holds the event loop.

Jobs are grouped in lanes, one for each share: a network mount that has died keeps its own readers
waiting and nobody else. While the disk is quick, one thread serves a lane and delivers its results
in batches: threads that alternate with the event loop for every small file spend more time handing
over the interpreter lock than reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

BATCH_JOBS = 8
"""Results delivered together: of 1, 8 and 32, one costs twice the time, 32 gains nothing more."""

BATCH_S = 0.001
"""A result never waits longer for others; a job that takes that long is delivered at once."""

SLOW_S = 0.005
"""A job that takes longer waits for a disk or a network, where several at once are quicker."""

LANE_THREADS = 3
MAX_THREADS = 16
"""Five dead mounts leave a thread for the rest. Each costs about 100 kB, until `close`."""


@dataclass(slots=True, eq=False)
class _Job:
    function: Callable[[], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.function()
        except BaseException as error:  # noqa: BLE001  # raised again where it is awaited
            self.error = error

    def deliver(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


@dataclass(slots=True, eq=False)
class _Lane:
    key: Hashable
    jobs: deque[_Job] = field(default_factory=deque)  # at most one or two for each running read
    threads: int = 0
    taken_at: float = 0.0
    is_slow: bool = False


class DiskThreads:
    """Runs functions in threads of its own; made and used in one event loop.

    The threads are daemons: one that hangs in the kernel must not keep the process from ending.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[Hashable, _Lane] = {}  # only those that are being served
        self._busy_lanes: SimpleQueue[_Lane | None] = SimpleQueue()
        self._done: deque[_Job | _Lane] = deque()
        self._woken = False
        self._threads = 0
        self._serving = 0
        self._closed = False

    def run(self, key: Hashable, function: Callable[[], T]) -> asyncio.Future[T]:
        """What `function` returns or raises, called in a thread of the lane `key`.

        Cancelling the future drops the result, but not a call that has begun.
        """
        job = _Job(function, self._loop.create_future())
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key)
        lane.jobs.append(job)
        if lane.threads == 0 or (
            lane.threads < LANE_THREADS
            and (lane.is_slow or time.monotonic() - lane.taken_at > SLOW_S)
        ):
            self._serve(lane)
        return job.future

    def close(self) -> None:
        """Ends the threads once nothing is left to be done; nothing may be run any more."""
        self._closed = True
        for _ in range(self._threads):
            self._busy_lanes.put(None)
        self._threads = 0

    def _serve(self, lane: _Lane) -> None:
        lane.threads += 1
        lane.taken_at = time.monotonic()
        self._serving += 1
        if self._serving > self._threads and self._threads < MAX_THREADS:
            self._threads += 1
            threading.Thread(target=self._work, name="hdpd-disk", daemon=True).start()
        self._busy_lanes.put(lane)
        if self._closed:
            self.close()  # what was left over is done, and then this thread ends as well

    # In the threads.

    def _work(self) -> None:
        while (lane := self._busy_lanes.get()) is not None:
            self._serve_until_empty(lane)
            self._done.append(lane)
            self._wake()

    def _serve_until_empty(self, lane: _Lane) -> None:
        undelivered, began = 0, 0.0
        while True:
            try:
                job = lane.jobs.popleft()
            except IndexError:
                return
            lane.taken_at = taken_at = time.monotonic()
            began = began if undelivered else taken_at
            if not job.future.done():
                job.run()
            self._done.append(job)
            undelivered += 1
            now = time.monotonic()
            lane.is_slow = now - taken_at > SLOW_S
            if undelivered >= BATCH_JOBS or now - began > BATCH_S:
                undelivered = 0
                self._wake()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            # A loop that has ended has nobody who waits for the result.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._deliver)

    # In the event loop.

    def _deliver(self) -> None:
        self._woken = False
        while self._done:
            item = self._done.popleft()
            if isinstance(item, _Job):
                item.deliver()
            else:
                self._served(item)

    def _served(self, lane: _Lane) -> None:
        lane.threads -= 1
        self._serving -= 1
        # A job may have come after the thread had found none.
        if lane.jobs:
            self._serve(lane)
        elif lane.threads == 0:
            del self._lanes[lane.key]
