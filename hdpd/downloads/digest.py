"""Asks a peer for the digest of a file, which it has to read for that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hdpd.errors import Busy, TimedOut
from hdpd.remote.reads import Session
from hdpd.wire import fields
from hdpd.wire.messages import Digest, Digested, raise_if_error
from hdpd.wire.paths import RemotePath

ANSWER_S = 60.0  # six times what a peer lets pass between two signs of life
MAX_FRAMES = 10_000  # of those, 28 hours
BUDGET_BYTES = 256 * 1024
ATTEMPTS = 4  # over 1 + 2 + 4 s


async def digest_there(
    session: Session, path: RemotePath, progress: Callable[[int], None] | None = None
) -> Digested:
    """What the peer computes; `progress` is told how many bytes it has read.

    Raises:
        HdpdError: what the peer answered, or why there was no answer.
    """
    for attempt in range(ATTEMPTS - 1):
        try:
            return await _ask(session, path, progress)
        except (Busy, TimedOut):
            await asyncio.sleep(2**attempt)
    return await _ask(session, path, progress)


async def _ask(
    session: Session, path: RemotePath, progress: Callable[[int], None] | None
) -> Digested:
    with await session.call(Digest(path), budget=BUDGET_BYTES) as stream:
        for _ in range(MAX_FRAMES):
            answer = await stream.receive(ANSWER_S)
            raise_if_error(answer)
            if "digesting" not in answer:
                return Digested.from_wire(answer)
            done = fields.integer(answer, "digesting")
            if progress is not None:
                progress(done)
    raise TimedOut("the peer took too long for the digest of this file")
