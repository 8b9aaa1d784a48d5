"""The rising numbers of our records, over restarts and crashes too.

Receivers keep the record with the highest number, so one must never be used again with other
content. Numbers are reserved in state.db in blocks, and never fall behind the clock, so that a
state directory restored from a backup is believed as well.
"""

from __future__ import annotations

import asyncio
import time

from hdpd.database import Database, Transaction
from hdpd.errors import StateUnavailable

BLOCK = 1024
_KEY = "next_record"


class RecordNumbers:
    """`load` once, then `take` for each record."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next = 0
        self._reserved = 0
        self._reserving: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Begins above all numbers of earlier runs. Where that cannot be written down, the next run
        has only the clock to rely on; `take` tries again.
        """
        try:
            await self._reserve()
        except StateUnavailable:
            self._next = await self._database.read(_first)
            self._reserved = self._next

    async def _reserve(self) -> None:
        def reserve(transaction: Transaction) -> int:
            first = _first(transaction)
            transaction.execute(
                "INSERT OR REPLACE INTO setting VALUES (?, ?)", (_KEY, first + BLOCK)
            )
            return first

        first = await self._database.write(reserve)
        self._next = max(self._next, first)
        self._reserved = first + BLOCK

    def take(self) -> int:
        """A number higher than any before; reserves more in good time."""
        number = self._next
        self._next += 1
        if self._reserved - number < BLOCK // 2 and self._reserving is None:
            self._reserving = asyncio.get_running_loop().create_task(self._reserve())
            self._reserving.add_done_callback(self._reserved_more)
        return number

    def _reserved_more(self, task: asyncio.Task[None]) -> None:
        self._reserving = None
        task.exception()

    async def close(self) -> None:
        if self._reserving is not None:
            await asyncio.gather(self._reserving, return_exceptions=True)


def _first(transaction: Transaction) -> int:
    row = transaction.one("SELECT value FROM setting WHERE key = ?", (_KEY,))
    return max(int(row[0]) if row else 1, int(time.time()))
