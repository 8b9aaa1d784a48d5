"""Running searches next to the event loop: a few at a time, each for a limited time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing

from hdpd.database import Database, Transaction
from hdpd.errors import Busy, InvalidParams
from hdpd.shares.query import parse_query
from hdpd.shares.search import Deadline, Search
from hdpd.wire.messages import MAX_SEARCH_HITS, Entry

RUNNING = 1  # of the two readers of the index, so that listings never wait for searches
MAX_WAITING = 32  # whoever comes after them is told to try again; each holds only its query
FIRST_HITS = 50  # are handed over as soon as they are found
MORE_HITS = 500


class Searcher:
    """Searches the index."""

    def __init__(self, index: Database) -> None:
        self._index = index
        self._turn = asyncio.Semaphore(RUNNING)
        self._waiting = 0

    async def search(
        self,
        text: str,
        limit: int,
        timeout: float,
        roots: frozenset[int],
        on_hits: Callable[[list[Entry]], None],
    ) -> bool:
        """Hands the hits in the shares with these root directories to `on_hits` as they are found,
        at most `limit` and for at most `timeout` seconds; returns whether there may be more.

        Raises:
            InvalidParams: there is nothing to search for, or too much.
            Busy: too many searches are waiting.
        """
        query = parse_query(text)
        if not 1 <= limit <= MAX_SEARCH_HITS:
            raise InvalidParams(f"limit must be from 1 to {MAX_SEARCH_HITS}")
        if self._waiting >= MAX_WAITING:
            raise Busy("too many searches are waiting; try again later")
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        deadline = Deadline(timeout)
        loop = asyncio.get_running_loop()

        def read(transaction: Transaction) -> bool:
            search = Search(transaction, query, roots, deadline)
            return _collect(search, limit, lambda hits: loop.call_soon_threadsafe(on_hits, hits))

        reading = asyncio.ensure_future(self._index.read(read, timeout=timeout))
        reading.add_done_callback(self._next)
        try:
            return await asyncio.shield(reading)
        except TimeoutError:
            return True
        except asyncio.CancelledError:
            # Who asks and hangs up, again and again, must not get more than one thread.
            deadline.end()
            raise

    def _next(self, reading: asyncio.Future[bool]) -> None:
        """The thread is free again: only now, also when nobody waits for its search any more."""
        self._turn.release()
        if not reading.cancelled():
            reading.exception()  # seen, also when nobody waits for it


def _collect(search: Search, limit: int, give: Callable[[list[Entry]], object]) -> bool:
    """Gives the hits in batches, also those found before an exception; whether there were more."""
    batch: list[Entry] = []
    size = min(FIRST_HITS, limit)
    found = 0
    try:
        with closing(search.hits()) as hits:
            for hit in hits:
                if found == limit:
                    return True
                found += 1
                batch.append(hit)
                if len(batch) >= size:
                    give(batch)
                    batch, size = [], MORE_HITS
        return False
    finally:
        if batch:
            give(batch)
