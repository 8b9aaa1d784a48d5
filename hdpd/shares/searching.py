"""Running searches next to the event loop: a few at a time, each for a limited time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from contextlib import closing

from hdpd.database import Database, Transaction
from hdpd.errors import InvalidParams
from hdpd.shares.gate import OWNER, Gate, Who
from hdpd.shares.query import parse_query
from hdpd.shares.search import Deadline, Search
from hdpd.wire.messages import MAX_SEARCH_HITS, Entry

RUNNING = 1  # of the two readers of the index, so that listings never wait for searches
FIRST_HITS = 50  # are handed over as soon as they are found
MORE_HITS = 500


class Searcher:
    """Searches the index."""

    def __init__(self, index: Database) -> None:
        self._index = index
        self._gate = Gate(RUNNING, RUNNING, RUNNING)

    async def search(
        self,
        text: str,
        limit: int,
        timeout: float,
        roots: frozenset[int],
        on_hits: Callable[[list[Entry]], None],
        who: Who = OWNER,
    ) -> bool:
        """Hands the hits in the shares with these root directories to `on_hits` as they are found,
        at most `limit` and for at most `timeout` seconds; returns whether there may be more.

        Raises:
            InvalidParams: there is nothing to search for, or too much.
            Busy: too many searches of that peer, or of all, are waiting.
        """
        query = parse_query(text)
        if not 1 <= limit <= MAX_SEARCH_HITS:
            raise InvalidParams(f"limit must be from 1 to {MAX_SEARCH_HITS}")
        await self._gate.enter(who)
        deadline = Deadline(timeout)
        loop = asyncio.get_running_loop()

        def read(transaction: Transaction) -> bool:
            search = Search(transaction, query, roots, deadline)
            return _collect(search, limit, lambda hits: loop.call_soon_threadsafe(on_hits, hits))

        reading = asyncio.ensure_future(self._index.read(read, timeout=timeout))
        reading.add_done_callback(functools.partial(self._next, who))
        try:
            return await asyncio.shield(reading)
        except TimeoutError:
            return True
        except asyncio.CancelledError:
            # Who asks and hangs up, again and again, must not get more than one thread.
            deadline.end()
            raise

    def _next(self, who: Who, reading: asyncio.Future[bool]) -> None:
        """The thread is free again: only now, also when nobody waits for its search any more."""
        self._gate.leave(who)
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
