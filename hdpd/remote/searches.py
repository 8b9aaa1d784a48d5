"""Asks a peer for the names that it shares, and checks what it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hdpd.remote.pages import ANSWER_OVERHEAD_BYTES, ENTRY_OVERHEAD_BYTES, ListingSession
from hdpd.wire.messages import Entry, Search, entries_from_wire, raise_if_error
from hdpd.wire.paths import MAX_PATH_BYTES

PEER_S = 5.0  # in which a peer has to answer
# A hit may be a long path, so this bounds what all peers together can make us hold: 2 MB each.
MAX_HITS_OF_ONE_PEER = 500


async def search_peer(
    session: ListingSession, query: str, limit: int, on_hits: Callable[[Sequence[Entry]], bool]
) -> bool:
    """Hands on what the peer finds as it comes, until `on_hits` says that it wants no more; tells
    whether there is more than was handed on.

    Raises:
        HdpdError: what the peer answered, or that it sent nothing for PEER_S.
    """
    limit = min(limit, MAX_HITS_OF_ONE_PEER)
    budget = ANSWER_OVERHEAD_BYTES + limit * (MAX_PATH_BYTES + ENTRY_OVERHEAD_BYTES)
    with await session.call(Search(query, limit), budget=budget) as stream:
        while True:
            answer = await stream.receive(PEER_S)
            raise_if_error(answer)
            if "end" in answer:
                return answer.get("truncated") is True
            entries = entries_from_wire(answer, "hits")
            if len(entries) > limit:
                return True
            limit -= len(entries)
            if not on_hits(entries):
                return True
