"""Tasks that go on for as long as hdpd runs, whatever happens in them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from hdpd.backoff import Backoff

log = logging.getLogger(__name__)

RETRY: Final = Backoff(1.0, 60.0)


def keep_running(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
    """A task that does `work` until it returns or the task is cancelled.

    An exception in it is a mistake of ours: it is logged with its traceback, and the work begins
    anew, after a second at first and after a minute at most.
    """
    return asyncio.get_running_loop().create_task(_keep_running(work, name), name=name)


async def _keep_running(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        began = loop.time()
        try:
            return await work()
        except Exception:
            if loop.time() - began > RETRY.longest:
                failures = 0
            delay = RETRY.delay(failures)
            log.exception(
                "the task %r stopped over a mistake in hdpd; it begins anew in %g s", name, delay
            )
        failures += 1
        await asyncio.sleep(delay)
