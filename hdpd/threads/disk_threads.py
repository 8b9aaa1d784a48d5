"""Threads for blocking file calls, so that a slow disk never holds the event loop.

Jobs are grouped in queues, one for each share: a network mount that has died keeps its own readers
waiting and nobody else. While the disk is quick, one thread serves a queue and delivers its results
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
from queue import SimpleQueue
from typing import Any, TypeVar

from msgspec import Struct, field

T = TypeVar("T")

BATCH_JOBS = 8
"""Results delivered together: of 1, 8 and 32, one costs twice the time, 32 gains nothing more."""

BATCH_S = 0.001
"""A result never waits longer for others; a job that takes that long is delivered at once."""

SLOW_S = 0.005
"""A job that takes longer waits for a disk or a network, where several at once are quicker."""

QUEUE_THREADS = 3
MAX_THREADS = 16
"""Five dead mounts leave a thread for the rest. Each costs about 100 kB, until `close`."""


class _Job(Struct, eq=False):
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


class _Queue(Struct, eq=False):
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
        self._queues: dict[Hashable, _Queue] = {}  # only those that are being served
        self._busy: SimpleQueue[_Queue | None] = SimpleQueue()
        self._done: deque[_Job | _Queue] = deque()
        self._woken = False
        self._threads = 0
        self._serving = 0
        self._closed = False

    def run(self, key: Hashable, function: Callable[[], T]) -> asyncio.Future[T]:
        """What `function` returns or raises, called in a thread of the queue `key`.

        Cancelling the future drops the result, but not a call that has begun.
        """
        job = _Job(function, self._loop.create_future())
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue(key)
        queue.jobs.append(job)
        if queue.threads == 0 or (
            queue.threads < QUEUE_THREADS
            and (queue.is_slow or time.monotonic() - queue.taken_at > SLOW_S)
        ):
            self._serve(queue)
        return job.future

    def close(self) -> None:
        """Ends the threads once nothing is left to be done; nothing may be run any more."""
        self._closed = True
        for _ in range(self._threads):
            self._busy.put(None)
        self._threads = 0

    def _serve(self, queue: _Queue) -> None:
        queue.threads += 1
        queue.taken_at = time.monotonic()
        self._serving += 1
        if self._serving > self._threads and self._threads < MAX_THREADS:
            self._threads += 1
            threading.Thread(target=self._work, name="hdpd-disk", daemon=True).start()
        self._busy.put(queue)
        if self._closed:
            self.close()  # what was left over is done, and then this thread ends as well

    # In the threads.

    def _work(self) -> None:
        while (queue := self._busy.get()) is not None:
            self._serve_until_empty(queue)
            self._done.append(queue)
            self._wake()

    def _serve_until_empty(self, queue: _Queue) -> None:
        undelivered, began = 0, 0.0
        while True:
            try:
                job = queue.jobs.popleft()
            except IndexError:
                return
            queue.taken_at = taken_at = time.monotonic()
            began = began if undelivered else taken_at
            if not job.future.done():
                job.run()
            self._done.append(job)
            undelivered += 1
            now = time.monotonic()
            queue.is_slow = now - taken_at > SLOW_S
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

    def _served(self, queue: _Queue) -> None:
        queue.threads -= 1
        self._serving -= 1
        # A job may have come after the thread had found none.
        if queue.jobs:
            self._serve(queue)
        elif queue.threads == 0:
            del self._queues[queue.key]
