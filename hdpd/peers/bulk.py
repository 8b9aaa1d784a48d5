"""Further connections with a connected peer, which carry nothing but reads.

On a line that loses packets each connection is slow by itself, and several add up. They have the
hello of any connection, in which they say what they are; they live beside the session of the peer
and end with it.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Final

from hdpd.errors import NoCommonTopic, PeerNotConnected, TimedOut
from hdpd.link.session import Session, Surroundings, dial_hello
from hdpd.peers.peer import Peer
from hdpd.wire.messages import ResetCode

MAX_BULK: Final = 7
"""With one peer, whichever side opened them; an idle one costs 200 KB and a ping every 5 s."""

OPEN_TIMEOUT_S = 6.0


async def open_bulk(peer: Peer, main: Session, around: Surroundings) -> Session:
    """One more, on the path of `main`.

    Raises:
        HdpdError: the peer has room for no more, or does not answer.
    """
    topic = next((t for t in around.topics() if t.public_id in main.topics), None)
    if topic is None:
        raise NoCommonTopic
    connection = around.endpoint.dial_paths(main.peer_id, (main.path,), topic)
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            session = await dial_hello(connection, around, main.peer_id, bulk=True)
    except TimeoutError:
        raise TimedOut("the peer did not answer another connection") from None
    if main.closed or not add_bulk(peer, session):
        session.close(ResetCode.BUSY)
        raise PeerNotConnected("no other connection with the peer is wanted now")
    return session


def add_bulk(peer: Peer, session: Session) -> bool:
    """Keeps `session` beside the peer's; closes it and returns False when it has no place."""
    if session.closed or peer.session is None or len(peer.bulk) >= MAX_BULK:
        session.close(ResetCode.BUSY)
        return False
    peer.bulk.append(session)
    session.on_closed = functools.partial(_closed, peer)
    return True


def _closed(peer: Peer, session: Session) -> None:
    if session in peer.bulk:
        peer.bulk.remove(session)


def follow(peer: Peer, main: Session) -> None:
    """The peer is reached on another path now; tries it for the others too."""
    for session in peer.bulk:
        session.probe(main.path)


def end_bulk(peer: Peer) -> None:
    """Closes all that there are: the peer's session has ended."""
    for session in list(peer.bulk):
        session.close()
