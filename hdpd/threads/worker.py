"""Threads that make the calls of one owner in the order of asking."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """A thread that makes calls one after another; or a few, that take them from one queue. They
    are started when they are needed.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        self._name = name
        self._max_threads = threads
        # As many as the owner asks for at once.
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """What `call` returns or raises; cancelled before it has begun, it is never made."""
        return asyncio.wrap_future(self.begin(call))

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """As `submit`, without an event loop. After `close` it is cancelled at once."""
        job: Future[T] = Future()
        if self._closed:
            job.cancel()
            return job
        self._jobs.put((job, call))
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._max_threads:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return job

    def close(self) -> None:
        """Ends the threads after what they were given; does not wait for them."""
        if not self._closed:
            self._closed = True
            for _ in self._threads:
                self._jobs.put(None)

    def join(self, timeout: float | None = None) -> None:
        """After `close`, waits for the threads, each for so many seconds. It blocks."""
        for thread in self._threads:
            thread.join(timeout)

    # In the threads.

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        try:
            return self._jobs.get_nowait()
        except Empty:
            self._idle.release()
            return self._jobs.get()

    def _work(self) -> None:
        while (item := self._next()) is not None:
            job, call = item
            if job.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
                    job.set_exception(error)
                else:
                    job.set_result(result)
            del item, job, call  # not held until the next one comes
