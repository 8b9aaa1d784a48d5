"""What connected peers tell each other of themselves: their records, what they see of the other
side's address, and which topics they have in common now.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from hdpd.discovery.discovery import Discovery
from hdpd.errors import HdpdError, ProtocolError
from hdpd.identity.keys import PeerId
from hdpd.link.session import Session
from hdpd.link.stream import Stream
from hdpd.log import fields
from hdpd.peers.gossip import Gossip
from hdpd.peers.peer import Peer, Roster
from hdpd.peers.topics import Topics
from hdpd.wire.messages import MAX_RECORDS, Announce, Observed, ResetCode

log = logging.getLogger(__name__)


class Telling:
    """`on_observed` hears which peer, reached at which host, sees us at which host and port."""

    def __init__(
        self, roster: Roster, topics: Topics, discovery: Discovery, gossip: Gossip
    ) -> None:
        self.on_observed: Callable[[PeerId, str, str, int], None] = lambda *claim: None
        self._roster = roster
        self._topics = topics
        self._discovery = discovery
        self._gossip = gossip

    def announce(self, peer: Peer, session: Session) -> None:
        """Tells the peer our addresses at each common topic."""
        peer.spawn(self._announce(session))

    def announce_to_all(self) -> None:
        """Our addresses are others."""
        for peer in self._roster:
            if (session := peer.session) is not None:
                self.announce(peer, session)

    async def _announce(self, session: Session) -> None:
        topics = [topic for topic in self._topics.current() if topic.public_id in session.topics]
        records = tuple(self._discovery.own_record(topic) for topic in topics[:MAX_RECORDS])
        with contextlib.suppress(HdpdError):
            await session.ask(Announce(records))

    async def answer_announce(self, session: Session, request: Announce, stream: Stream) -> None:
        """Takes records for the topics in common."""
        for blob in request.records:
            try:
                record = self._discovery.receive_gossip(blob, session.topics, session.peer_id)
                if record.peer_id != session.peer_id:
                    self._gossip.told_by(record.topic_id, record.peer_id, session.peer_id)
            except ProtocolError as error:
                log.debug("a record from %s was dropped: %s", session.name, error)
        await stream.send_message({"ok": True}, end=True)

    def tell_observed(self, peer: Peer, session: Session) -> None:
        """Tells the peer at which address we see it."""
        peer.spawn(self._tell_observed(session))

    async def _tell_observed(self, session: Session) -> None:
        host, port = session.address
        if "%" not in host:
            with contextlib.suppress(HdpdError):
                await session.ask(Observed(host, port))

    async def answer_observed(self, session: Session, request: Observed, stream: Stream) -> None:
        """The peer says at which address it sees us."""
        self.on_observed(session.peer_id, session.address[0], request.host, request.port)
        await stream.send_message({"ok": True}, end=True)

    def renew_topics(self, peer: Peer, session: Session) -> None:
        """A topic was joined or left: proves anew what is in common."""
        peer.spawn(self._renew_topics(session))

    async def _renew_topics(self, session: Session) -> None:
        try:
            await session.renew_topics()
        except HdpdError as error:
            if not session.closed:
                about = fields(peer=(session.name, session.peer_id.text))
                log.info("proving the topics to %s: %s", session.name, error, extra=about)
                session.close(ResetCode.PROTOCOL_ERROR)
