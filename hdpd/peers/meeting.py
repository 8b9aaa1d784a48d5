"""Who should be connected, and what happens when one is found, comes, changes or goes.

It brings together what finds peers, what dials them, what opens ways and what the sessions tell.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from hdpd.discovery.discovery import Discovery, Found
from hdpd.identity.keys import PeerId
from hdpd.link.session import Session, Surroundings
from hdpd.log import fields
from hdpd.peers.bulk import follow
from hdpd.peers.describe import Descriptions
from hdpd.peers.dialler import Dialler
from hdpd.peers.gossip import Gossip
from hdpd.peers.peer import Peer, Roster
from hdpd.peers.sessions import Sessions
from hdpd.peers.states import REFUSED, Event, State
from hdpd.peers.status import News, PeerChanged, PeerConnected, PeerDisconnected, PeerFound
from hdpd.peers.telling import Telling
from hdpd.peers.topics import Topics
from hdpd.peers.traversal import Nat, Traversal
from hdpd.wire.messages import ResetCode

log = logging.getLogger(__name__)


REDIAL_S = 3.5  # a silent session may come back by itself; after so long a new one is dialled, too


class Meeting:
    """`on_connected` and `on_disconnected` tell the transfers; `emit` tells the clients."""

    def __init__(
        self,
        around: Surroundings,
        roster: Roster,
        topics: Topics,
        nat: Nat,
        discovery: Discovery,
        emit: Callable[[News], None],
    ) -> None:
        self.on_connected: Callable[[Session], None] = lambda session: None
        self.on_disconnected: Callable[[PeerId], None] = lambda peer_id: None
        self._around = around
        self._roster = roster
        self._book = roster.book
        self._topics = topics
        self._discovery = discovery
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._gossip = Gossip(roster)
        self.telling = Telling(roster, topics, discovery, self._gossip)
        self.sessions = Sessions(around, roster)
        self.traversal = Traversal(
            around, roster, self._gossip, nat, discovery, self.may_connect, self.sessions.add
        )
        self._dialler = Dialler(
            around, roster, self.is_wanted, self.sessions.add, self.traversal.propose
        )
        self.descriptions = Descriptions(
            *(around, topics, self.traversal, nat.candidates),
            clock=discovery.refused_clock,
            nowhere=lambda: nat.report().nowhere,
        )
        self._book.on_forgotten = self._forgotten
        self.sessions.on_begun = self._begun
        self.sessions.on_connected = self._connected
        self.sessions.on_lost = self._lost
        self.sessions.on_stillborn = self._look_after
        self.sessions.on_topics = self._topics_changed_with
        self.sessions.on_path = self._path_changed
        self.sessions.on_silent = self._silent

    def start(self) -> None:
        """Dials everybody who is known."""
        self.traversal.start()
        self._dialler.wake_all()

    async def close(self) -> None:
        """Stops everything, and says goodbye to everybody."""
        await self._dialler.close()
        self.traversal.close()
        self._gossip.close()
        tasks = [task for peer in self._roster for task in peer.tasks]
        for peer in self._roster:
            self.end_hold(peer)
            peer.stop_tasks()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.sessions.close()

    def found(self, found: Found) -> None:
        """Somebody is said to be at one of our topics."""
        addresses = [(each.host, each.port) for each in found.candidates]
        is_new = self._book.found(
            found.peer_id, found.topic_id, found.found_by, addresses, time.time()
        )
        peer = self._roster.get(found.peer_id)
        assert peer is not None
        if found.record is not None:
            self._gossip.heard(found.topic_id, found.peer_id, found.record)
            peer.way.told(found.candidates)
        if is_new:
            peer.way.changed()
        session = peer.session
        if session is not None and session.is_silent:
            self.traversal.recover(peer, session)
        if is_new:
            self._emit(PeerFound(self.descriptions.describe(peer)))
        if self.is_wanted(peer):
            self._dialler.wake(peer)

    def is_wanted(self, peer: Peer) -> bool:
        return peer.is_silent and self.may_connect(peer)

    def may_connect(self, peer: Peer) -> bool:
        return peer.state not in REFUSED and any(
            topic.public_id in peer.known.topics for topic in self._topics.current()
        )

    def _begun(self, peer: Peer, session: Session) -> None:
        self._dialler.connected(peer)
        self.traversal.connected(peer, session)

    def _connected(self, peer: Peer, session: Session) -> None:
        host, about = session.address[0], fields(peer=(peer.name, peer.peer_id.text))
        log.info("connected with %s at %s", peer.name, host, extra=about)
        self._emit(PeerConnected(self.descriptions.describe(peer)))
        self.on_connected(session)
        self.telling.announce(peer, session)
        self.telling.tell_observed(peer, session)
        self._gossip.connected_with(session)
        self.traversal.shorten(peer, session)
        if session.offered != self._topics.current():
            # A topic was joined or left during the hello.
            self.telling.renew_topics(peer, session)

    def _lost(self, peer: Peer, session: Session) -> None:
        about = fields(peer=(peer.name, peer.peer_id.text))
        log.info("disconnected from %s: %s", peer.name, session.end, extra=about)
        self._emit(PeerDisconnected(self.descriptions.describe(peer)))
        self._gossip.disconnected_from(peer.peer_id)
        self.on_disconnected(peer.peer_id)
        self._look_after(peer, session)

    def _look_after(self, peer: Peer, session: Session) -> None:
        """A session has ended; another one is wanted if it was the only one."""
        if self._roster.get(peer.peer_id) is peer and self.is_wanted(peer):
            self._dialler.lost(peer, self._loop.time() - session.since)
        else:
            self._dialler.unwanted(peer)

    def _silent(self, peer: Peer, session: Session) -> None:
        """The peer does not answer any more: its path broke, or it is gone. Called each second."""
        self.traversal.recover(peer, session)
        if session.silence > REDIAL_S and peer.session is session and self.is_wanted(peer):
            self._dialler.wake(peer, at_once=True)

    def _path_changed(self, peer: Peer, session: Session) -> None:
        """The session goes on at another address of the peer."""
        self._dialler.connected(peer)
        self._dialler.unwanted(peer)
        follow(peer, session)
        self._emit(PeerChanged(self.descriptions.describe(peer)))
        self.telling.tell_observed(peer, session)

    def stop(self, peer: Peer, code: ResetCode) -> None:
        """Ends what is under way with a peer, and its sessions; it is in another state by then."""
        self.end_hold(peer)
        self._dialler.stop(peer)
        self.traversal.stop(peer)
        peer.stop_tasks()
        peer.close_sessions(code)

    @staticmethod
    def end_hold(peer: Peer) -> None:
        if peer.held is not None:
            peer.held.cancel()
            peer.held = None

    def let_in(self, peer: Peer) -> None:
        """The owner wants it after all: neither blocked nor held, and dialled at once."""
        self.end_hold(peer)
        if peer.state is State.HELD:
            peer.happens(Event.RELEASE)
        elif peer.state is State.BLOCKED:
            peer.happens(Event.UNBLOCK)
        if self.is_wanted(peer):
            self._dialler.wake(peer, at_once=True)

    def _forgotten(self, peer_id: PeerId) -> None:
        peer = self._roster.forget(peer_id)
        if peer is not None:
            self.stop(peer, ResetCode.REFUSED)

    # Topics and the network change.

    def topics_changed(self) -> None:
        """A topic was joined or left: every session proves anew, and others may be reached."""
        current = self._topics.current()
        self._around.endpoint.gate.set_topics(current)
        self._discovery.set_topics(current)
        self._gossip.forget_topics_but(topic.public_id for topic in current)
        for peer in self._roster:
            if (session := peer.session) is not None:
                self.telling.renew_topics(peer, session)
        self._dialler.wake_all()

    def _topics_changed_with(self, peer: Peer, session: Session) -> None:
        self._emit(PeerChanged(self.descriptions.describe(peer)))
        self.telling.announce(peer, session)
        self._gossip.connected_with(session)

    def candidates_changed(self) -> None:
        """We can be reached elsewhere: tells the peers and whoever looks for us."""
        self._discovery.candidates_changed()
        self.telling.announce_to_all()
        self.traversal.network_changed()
        self._dialler.wake_all()

    def network_changed(self) -> None:
        """Interfaces or addresses changed: prove the paths, tell the peers, try the others."""
        self._around.endpoint.network_changed()
        self._discovery.candidates_changed()
        self.traversal.network_changed()
        for session in self._roster.connected():
            session.ping_now()
        self.telling.announce_to_all()
        self._dialler.wake_all()
