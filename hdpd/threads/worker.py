"""One thread that makes calls one after another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """A thread that makes calls one after another. A daemon, unlike those of a ThreadPoolExecutor:
    one that hangs in the kernel must not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._begun = False

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """What `call` returns or raises; cancelled before it has begun, it is never made."""
        if not self._begun:
            self._begun = True
            self._thread.start()
        job: Future[T] = Future()
        self._jobs.put((job, call))
        return asyncio.wrap_future(job)

    def close(self) -> None:
        """Ends the thread after what it was given; does not wait for it."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, call = item
            if job.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
                    job.set_exception(error)
                else:
                    job.set_result(result)
            del item, job, call  # not held until the next one comes
