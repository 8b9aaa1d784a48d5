"""Further connections with a connected peer, which carry nothing but reads.

On a line that loses packets each connection is slow by itself, and several add up. They have the
hello of any connection, in which they say what they are; they live beside the session of the peer
and end with it.
"""

from __future__ import annotations

import asyncio
from typing import Final

from hdpd.errors import NoCommonTopic, PeerNotConnected, TimedOut
from hdpd.identity.keys import PeerId
from hdpd.link.session import Session, Surroundings, dial_hello
from hdpd.wire.messages import ResetCode

MAX_BULK: Final = 7
"""With one peer, whichever side opened them; an idle one costs 200 KB and a ping every 5 s."""

OPEN_TIMEOUT_S = 6.0


class BulkSessions:
    """The bulk sessions with all peers."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._sessions: dict[PeerId, list[Session]] = {}

    async def open(self, main: Session) -> Session:
        """One more, on the path of `main`.

        Raises:
            HdpdError: the peer has room for no more, or does not answer.
        """
        topics = (t for t in self._around.topics() if t.public_id in main.topics)
        topic = next(topics, None)
        if topic is None:
            raise NoCommonTopic
        connection = self._around.endpoint.dial_paths(main.peer_id, (main.path,), topic)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                session = await dial_hello(connection, self._around, main.peer_id, bulk=True)
        except TimeoutError:
            raise TimedOut("the peer did not answer another connection") from None
        if not self.add(session, main):
            raise PeerNotConnected("no other connection with the peer is wanted now")
        return session

    def add(self, session: Session, main: Session | None) -> bool:
        """Keeps `session` beside `main`; closes it and returns False when it has no place."""
        others = self._sessions.get(session.peer_id, [])
        if session.closed or main is None or main.closed or len(others) >= MAX_BULK:
            session.close(ResetCode.BUSY)
            return False
        self._sessions[session.peer_id] = [*others, session]
        session.on_closed = self._closed
        return True

    def follow(self, main: Session) -> None:
        """The peer is reached on another path now; tries it for the others too."""
        for session in self._sessions.get(main.peer_id, ()):
            session.probe(main.path)

    def end(self, peer_id: PeerId) -> None:
        """Closes all that there are with a peer: its session has ended."""
        for session in self._sessions.pop(peer_id, ()):
            session.close()

    def _closed(self, session: Session) -> None:
        rest = [each for each in self._sessions.get(session.peer_id, ()) if each is not session]
        if rest:
            self._sessions[session.peer_id] = rest
        else:
            self._sessions.pop(session.peer_id, None)
