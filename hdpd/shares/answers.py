"""Answering peers: listings and hits cut into frames that every peer accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Protocol

from hdpd.errors import Busy
from hdpd.wire.fields import Message
from hdpd.wire.messages import Entry

FRAME_BYTES = 48 * 1024  # of entries, with room below the limit of 64 KiB for one more of any size
TAKE_S = 60.0  # for a frame: 1 kB/s
_ENTRY_BYTES = 48  # what an entry takes at most besides its path


class Sink(Protocol):
    """The stream of a request, as far as an answer needs it."""

    async def send_message(self, message: Message, *, end: bool = False) -> None:
        """Sends one frame, waiting while the peer is slow; `end` ends the answer."""


def batches(entries: Iterable[Entry]) -> Iterator[list[object]]:
    """The entries as they go on the wire, in lists that fit into a frame."""
    batch: list[object] = []
    size = 0
    for entry in entries:
        batch.append(entry.to_wire())
        size += len(entry.path.raw) + _ENTRY_BYTES
        if size >= FRAME_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


async def send_entries(stream: Sink, key: str, entries: Iterable[Entry]) -> None:
    """Sends the entries in frames, letting others run after each (a frame takes about 3 ms).

    Raises:
        Busy: the peer does not take them.
    """
    for batch in batches(entries):
        try:
            async with asyncio.timeout(TAKE_S):
                await stream.send_message({key: batch})
        except TimeoutError:
            raise Busy("the answer was not taken") from None
        await asyncio.sleep(0)
