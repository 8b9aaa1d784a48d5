"""The sessions with peers: how they begin, which of two stays, and their end.

One session for each pair of peers: where two come about, the peer with the lower key chooses, so
that both ends keep the same one.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from typing import Final

from hdpd.errors import HdpdError
from hdpd.link.connection import Connection
from hdpd.link.session import Session, Surroundings, accept_hello
from hdpd.peers.bulk import add_bulk, end_bulk
from hdpd.peers.peer import Peer, Roster
from hdpd.peers.states import REFUSED, Event
from hdpd.wire.messages import ResetCode

log = logging.getLogger(__name__)

# One that stands, one that replaces it, and one more while they pass each other; who makes more
# would take the places of others.
MAX_SESSIONS_OF_A_PEER: Final = 3
# Of the connections of the endpoint, so that a hello is always heard. Each costs up to 1 MB.
MAX_CONNECTED: Final = 384
TIE_S = 5.0  # two connections that began within it were dialled by both sides at once

Told = Callable[[Peer, Session], None]


def _nobody(peer: Peer, session: Session) -> None:
    """Nobody is told."""


class Sessions:
    """`on_begun` gets each session that stands, `on_connected` then the one that is the peer's,
    `on_lost` the last one when it has ended, `on_stillborn` one that had before it could be kept.
    `on_topics`, `on_path` and `on_silent` are those of the sessions.
    """

    def __init__(self, around: Surroundings, roster: Roster) -> None:
        self.on_begun: Told = _nobody
        self.on_connected: Told = _nobody
        self.on_lost: Told = _nobody
        self.on_stillborn: Told = _nobody
        self.on_topics: Told = _nobody
        self.on_path: Told = _nobody
        self.on_silent: Told = _nobody
        self._around = around
        self._roster = roster
        self._accepting: set[asyncio.Task[None]] = set()  # as many as there are handshakes
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Says goodbye to everybody; nobody is let in any more."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for peer in self._roster:
            peer.close_sessions(ResetCode.SHUTTING_DOWN)

    def accept(self, connection: Connection) -> None:
        """An incoming connection; it becomes a session when its hello holds."""
        task = self._loop.create_task(self._accept(connection), name="accept")
        self._accepting.add(task)
        task.add_done_callback(self._accepted)

    def _accepted(self, task: asyncio.Task[None]) -> None:
        self._accepting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection could not be accepted", exc_info=error)

    async def _accept(self, connection: Connection) -> None:
        try:
            session = await accept_hello(connection, self._around)
        except HdpdError as error:
            log.info("a connection from %s was refused: %s", connection.path.host, error)
            return
        peer = self._roster.get(session.peer_id)
        if not session.bulk:
            self.add(session)
        elif peer is None or peer.state in REFUSED:
            session.close(ResetCode.REFUSED)
        else:
            add_bulk(peer, session)

    def add(self, session: Session) -> None:
        """Keeps a new session, unless the owner does not want the peer."""
        peer = self._roster.get(session.peer_id)
        if peer is not None and peer.state in REFUSED:
            session.close(ResetCode.REFUSED)
            return
        if session.closed:
            if peer is not None:
                self.on_stillborn(peer, session)
            return
        self._roster.book.connected(session.peer_id, session.address, session.topics, time.time())
        peer = self._roster.get(session.peer_id)
        assert peer is not None
        session.on_closed = functools.partial(self._closed, peer)
        session.on_topics = functools.partial(self._topics_changed, peer)
        session.on_path = functools.partial(self._path_changed, peer)
        session.on_silent = functools.partial(self._silent, peer)
        peer.sessions.append(session)
        peer.known.in_use = True
        peer.happens(Event.SESSION)
        self.on_begun(peer, session)
        if len(peer.sessions) > MAX_SESSIONS_OF_A_PEER:
            peer.sessions[0].close(ResetCode.DUPLICATE)
        if len(peer.sessions) > 1:
            self._choose(session, peer.sessions[-2])
        if peer.session is session:
            self.on_connected(peer, session)
        self._keep_places()

    def _keep_places(self) -> None:
        """Where too many are connected, the one that is known for the shortest time has to go: made
        up keys push each other out, and nobody whom we met before them.
        """
        connected = [peer for peer in self._roster if peer.session is not None]
        if len(connected) > MAX_CONNECTED:
            newest = max(connected, key=lambda peer: peer.known.first_connected)
            log.debug("%s has to go: too many are connected", newest.name)
            newest.close_sessions(ResetCode.BUSY)

    def _choose(self, new: Session, old: Session) -> None:
        """Ends one of two sessions: the older one, which the peer must have lost if it came again,
        unless both sides dialled at once. Then the lower key ends one and the other side follows.
        """
        tie = new.since - old.since < TIE_S and new.dialled_by_us != old.dialled_by_us
        if not tie:
            old.close(ResetCode.DUPLICATE)
        elif self._around.identity.peer_id < new.peer_id:
            (new if old.dialled_by_us else old).close(ResetCode.DUPLICATE)
        else:
            # Should the other side not know the old one any more, it goes a little later.
            self._loop.call_later(TIE_S, self._settle, new, old)

    @staticmethod
    def _settle(new: Session, old: Session) -> None:
        if not new.closed:
            old.close(ResetCode.DUPLICATE)

    def _closed(self, peer: Peer, session: Session) -> None:
        if session in peer.sessions:
            peer.sessions.remove(session)
        if peer.sessions:
            return  # it was one of two
        peer.known.in_use = False
        peer.happens(Event.LOST)
        end_bulk(peer)
        self.on_lost(peer, session)

    def _topics_changed(self, peer: Peer, session: Session) -> None:
        self._note_connected(session)
        self.on_topics(peer, session)

    def _path_changed(self, peer: Peer, session: Session) -> None:
        self._note_connected(session)
        self.on_path(peer, session)

    def _note_connected(self, session: Session) -> None:
        book = self._roster.book
        book.connected(session.peer_id, session.address, session.topics, time.time())

    def _silent(self, peer: Peer, session: Session) -> None:
        self.on_silent(peer, session)
