"""How tests wait: until something holds, and never for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WAIT_S = 20.0
"""Longer than anything that is waited for takes on a busy machine."""

POLL_S = 0.005
POLL_OTHER_PROCESS_S = 0.1


async def until(
    condition: Callable[[], object], what: str = "the condition", timeout: float = WAIT_S
) -> None:
    """Looks again and again, for what nobody tells; fails with `what` when it never comes true."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} never came true"
        await asyncio.sleep(POLL_S)


def wait_for(
    what: str,
    condition: Callable[[], T],
    *,
    within: float = WAIT_S,
    poll: float = POLL_OTHER_PROCESS_S,
) -> T:
    """The first true value of `condition`, without a loop; fails with `what` when there is none."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}; the last value was {value!r}")
        time.sleep(poll)


class News:
    """For what is told: whoever waits looks after each `tell`."""

    def __init__(self) -> None:
        self._told = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        self._told.set()

    async def until(self, look: Callable[[], T | None], what: str = "the condition") -> T:
        """The first true value of `look`."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not (value := look()):
                    self._told.clear()
                    await self._told.wait()
        except TimeoutError:
            raise AssertionError(f"{what} never came true") from None
        return value
