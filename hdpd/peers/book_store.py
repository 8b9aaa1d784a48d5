"""The book in state.db: read at start, the changed peers saved in batches."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

from hdpd.database import Database, DatabaseError, Transaction
from hdpd.errors import StateUnavailable
from hdpd.identity.keys import PeerId
from hdpd.peers.book import Book, KnownAddress, KnownPeer
from hdpd.peers.states import State

log = logging.getLogger(__name__)


async def load_book(database: Database, book: Book) -> None:
    """Adds all who were known before."""
    book.load(await database.read(_load))


async def save_book(database: Database, book: Book) -> None:
    """Saves what has changed since the last time; cheap when nothing has.

    What cannot be saved now, on a full disk or because we are cancelled, is saved the next time.
    """
    saved, removed = book.take_changed()
    if not saved and not removed:
        return
    rows = [_to_row(peer) for peer in saved]
    try:
        await database.write(lambda transaction: _save(transaction, rows, removed))
    except BaseException as error:  # a cancelled write may not have begun
        book.keep(saved, removed)
        if not isinstance(error, DatabaseError | StateUnavailable):
            raise
        log.warning("the book of known peers could not be saved: %s", error)


def _load(transaction: Transaction) -> list[KnownPeer]:
    rows = transaction.execute(
        "SELECT id, addresses, topics, found_by, last_connected, last_seen, blocked, "
        "first_connected FROM peer"
    )
    return [
        KnownPeer(
            peer_id=PeerId(peer_id),
            last_seen=last_seen,
            addresses={
                (host, port): KnownAddress(seen, worked)
                for host, port, seen, worked in json.loads(addresses)
            },
            topics={bytes.fromhex(topic) for topic in json.loads(topics)},
            found_by=json.loads(found_by),
            last_connected=last_connected or 0.0,
            first_connected=first or 0.0,
            state=State.BLOCKED if blocked else State.IDLE,
        )
        for peer_id, addresses, topics, found_by, last_connected, last_seen, blocked, first in rows
    ]


def _to_row(peer: KnownPeer) -> tuple[bytes, str, str, str, float, float, int, float]:
    return (
        peer.peer_id.raw,
        json.dumps(
            [
                [host, port, known.seen, known.worked]
                for (host, port), known in peer.addresses.items()
                if "%" not in host  # a zone means nothing after the next start
            ]
        ),
        json.dumps(sorted(topic.hex() for topic in peer.topics)),
        json.dumps(peer.found_by),
        peer.last_connected,
        peer.last_seen,
        int(peer.is_blocked),
        peer.first_connected,
    )


def _save(
    transaction: Transaction, rows: Iterable[tuple[object, ...]], removed: Iterable[PeerId]
) -> None:
    transaction.executemany("INSERT OR REPLACE INTO peer VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)  # type: ignore[arg-type]
    transaction.executemany("DELETE FROM peer WHERE id = ?", [(peer.raw,) for peer in removed])
