"""Dials known peers until they are connected: which one, when, at which addresses.

A peer is dialled when it is found, when the network or the topics change, and again with backoff.
All its addresses are tried at once, those on the local network a moment before the others; the
first that finishes the hello wins.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence

from hdpd.errors import HdpdError, NoCommonTopic, TimedOut
from hdpd.identity.topics import Topic
from hdpd.link.session import Session, Surroundings, dial_hello
from hdpd.log import fields
from hdpd.peers.aim import Aim
from hdpd.peers.backoff import dial_delay
from hdpd.peers.book import Address
from hdpd.peers.peer import Peer, Roster
from hdpd.peers.states import Event, State
from hdpd.peers.tries import Try, shown
from hdpd.wire.messages import ResetCode

log = logging.getLogger(__name__)

MAX_DIALS = 32  # at once; each is an engine and a few datagrams a second
ATTEMPT_TIMEOUT_S = 6.0  # the first flight is sent at 0, 1 and 3 s
# Where both can dial, the peer with the lower key does: the other one waits before it tries.
HIGHER_KEY_DELAY_S = 0.7
# A session that ends sooner was refused in effect, so the next one is not begun at once.
LASTING_S = 30.0
LAN_HEAD_START_S = 0.25
# Where plain dialling works it has done so by then, also when the higher key has to dial.
UNANSWERED_S = 0.9


class Dialler:
    """Owns the attempts. `wanted` says whether a peer should be connected that is not.

    `on_session` gets each session that comes about, `on_unanswered` a peer whose attempt has not
    succeeded after a moment.
    """

    def __init__(
        self,
        around: Surroundings,
        roster: Roster,
        wanted: Callable[[Peer], bool],
        on_session: Callable[[Session], None],
        on_unanswered: Callable[[Peer, Topic], None] = lambda peer, topic: None,
    ) -> None:
        self._around = around
        self._roster = roster
        self._wanted = wanted
        self._on_session = on_session
        self._on_unanswered = on_unanswered
        # Half of the places each, so that made-up peers never keep friends waiting.
        self._places_of_friends = asyncio.Semaphore(MAX_DIALS // 2)
        self._places_of_strangers = asyncio.Semaphore(MAX_DIALS // 2)
        self._aim = Aim()
        self._tasks: set[asyncio.Task[None]] = set()  # of attempts, those that were stopped too
        self._closed = False
        self._loop = asyncio.get_running_loop()

    def wake(self, peer: Peer, *, at_once: bool = False) -> None:
        """Something speaks for trying this peer now: forget the backoff."""
        peer.dial.failures = 0
        if peer.dial.task is not None:
            return
        own = self._around.identity.peer_id
        waits = own > peer.peer_id and not at_once
        self._schedule(peer, HIGHER_KEY_DELAY_S if waits else 0.0)

    def wake_all(self) -> None:
        """Topics or the network changed: everybody is worth a try, old friends first."""
        known = sorted(self._roster.book, key=lambda peer: peer.last_connected, reverse=True)
        for each in known:
            peer = self._roster.get(each.peer_id)
            if peer is not None and self._wanted(peer):
                self.wake(peer)

    def connected(self, peer: Peer) -> None:
        """A session stands: stops trying. An attempt that may be a session to the other side
        already ends by itself, since there it could be the one that is kept.
        """
        if peer.session is not None:
            self._aim.answered(peer.session.address[0])
        if any(each.shaken and not each.ended for each in peer.dial.connections):
            peer.dial.task = None
            peer.dial.connections = set()
        self.stop(peer)

    def lost(self, peer: Peer, lasted: float) -> None:
        """The session has ended after `lasted` seconds: tries again, the later the more often
        sessions did not last.
        """
        if peer.dial.task is not None:
            if peer.state is State.IDLE:  # it was dialled already, since it was silent
                peer.happens(Event.WAKE)
                peer.happens(Event.DUE)
        elif lasted >= LASTING_S:
            self.wake(peer)
        else:
            self._schedule(peer, self._next_delay(peer, 0.0))

    def stop(self, peer: Peer) -> None:
        """Begins nothing more for it; what is under way ends."""
        dial = peer.dial
        if dial.timer is not None:
            dial.timer.cancel()
            dial.timer = None
        if dial.task is not None and dial.task is not asyncio.current_task():
            dial.task.cancel()
        dial.task = None
        dial.error = None

    def unwanted(self, peer: Peer) -> None:
        """Stops trying: its topics were left, for example."""
        self.stop(peer)
        peer.dial.failures = 0
        if peer.state in {State.WAITING, State.DIALLING, State.REDIALLING}:
            peer.happens(Event.UNWANTED)

    async def close(self) -> None:
        """Stops all attempts, and waits for their ends."""
        self._closed = True
        for peer in self._roster:
            self.unwanted(peer)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _schedule(self, peer: Peer, delay: float) -> None:
        if self._closed or not peer.happens(Event.WAKE):
            return
        if peer.dial.timer is not None:
            peer.dial.timer.cancel()
        peer.dial.timer = self._loop.call_later(delay, self._begin, peer)

    def _begin(self, peer: Peer) -> None:
        peer.dial.timer = None
        if not self._wanted(peer):
            self.unwanted(peer)
        elif peer.happens(Event.DUE):
            peer.dial.connections = set()
            task = self._loop.create_task(self._attempt(peer), name=f"dial {peer.name}")
            peer.dial.task = task
            self._tasks.add(task)
            task.add_done_callback(functools.partial(self._ended, peer))

    async def _attempt(self, peer: Peer) -> None:
        friend = peer.known.last_connected
        places = self._places_of_friends if friend else self._places_of_strangers
        try:
            async with places:
                session = await self._dial(peer)
        except HdpdError as error:
            if peer.dial.task is asyncio.current_task():
                peer.dial.error = error
                log.debug("dialling %s: %s", peer.name, error)
        else:
            self._on_session(session)

    def _ended(self, peer: Peer, task: asyncio.Task[None]) -> None:
        """However an attempt ended: by itself, by somebody else or by a mistake of ours."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            about = fields(peer=(peer.name, peer.peer_id.text))
            log.error("dialling %s failed", peer.name, exc_info=error, extra=about)
        if peer.dial.task is not task:
            return
        peer.dial.task = None
        if peer.happens(Event.FAIL):
            since = time.time() - peer.known.last_connected
            self._schedule(peer, self._next_delay(peer, since))

    @staticmethod
    def _next_delay(peer: Peer, since_connected: float) -> float:
        failures, peer.dial.failures = peer.dial.failures, peer.dial.failures + 1
        return dial_delay(failures, since_connected, random.random())  # noqa: S311 (spreads load)

    def _addresses(self, peer: Peer) -> list[Address]:
        """Raises TimedOut when there is none to dial now."""
        known = peer.known.addresses_to_dial()
        if not known:
            raise TimedOut("it has told no address at which to reach it")
        now = self._loop.time()
        allowed = [
            each
            for each in known
            if peer.known.addresses[each].worked or self._aim.allow(each[0], now)
        ]
        if not allowed:
            raise TimedOut("its addresses were dialled often; nobody answers there, so ever less")
        return allowed

    async def _dial(self, peer: Peer) -> Session:
        """Raises the error of the attempt that came furthest."""
        topic = self._common_topic(peer)
        try:
            addresses = self._addresses(peer)
        except TimedOut as nowhere:
            self._on_unanswered(peer, topic)
            self._roster.note(peer, Try("dial", None, time.time(), nowhere.message))
            raise
        near, far = self._around.endpoint.dialable(addresses)
        pending = attempts = {
            asyncio.create_task(self._try(peer, group, topic, delay))
            for group, delay in ((near, 0.0), (far, LAN_HEAD_START_S if near else 0.0))
            if group
        }
        failure: HdpdError = TimedOut("nothing answered")
        chosen: Session | None = None
        unanswered = self._loop.call_later(UNANSWERED_S, self._on_unanswered, peer, topic)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    error = task.exception()
                    if error is None:
                        chosen = task.result()
                        return chosen
                    if not isinstance(error, HdpdError):
                        raise error
                    if not isinstance(failure, NoCommonTopic):
                        failure = error
        finally:
            unanswered.cancel()
            for task in attempts:
                task.cancel()
            try:
                await asyncio.wait(attempts)
            except asyncio.CancelledError:
                chosen = None
                raise
            finally:
                # The other one may have finished in the same moment, or we were told to stop in it.
                _close_others(attempts, chosen)
        raise failure

    async def _try(
        self, peer: Peer, addresses: Sequence[Address], topic: Topic, delay: float
    ) -> Session:
        connections = peer.dial.connections
        await asyncio.sleep(delay)
        try:
            connection = self._around.endpoint.dial(peer.peer_id, addresses, topic)
        except ValueError as error:
            raise TimedOut(str(error)) from None
        connections.add(connection)
        result = "given up for another way"
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                session = await dial_hello(connection, self._around, peer.peer_id)
            result = "another address was faster"
        except TimeoutError:
            result = "no answer"
            places = ", ".join(f"{host} port {port}" for host, port in addresses[:4])
            raise TimedOut(f"nothing answered at {places}") from None
        except HdpdError as error:
            result = error.message
            raise
        finally:
            self._note(peer, addresses, result)
        self._note(peer, [session.address], "connected", worked=True)
        return session

    def _note(
        self,
        peer: Peer,
        addresses: Sequence[Address],
        result: str,
        *,
        worked: bool = False,
    ) -> None:
        for address in addresses:
            self._roster.note(peer, Try("dial", shown(*address), time.time(), result, worked))

    def _common_topic(self, peer: Peer) -> Topic:
        """Another one at each attempt: the peer may have left some, and hears no knock of those."""
        common = [topic for topic in self._around.topics() if topic.public_id in peer.known.topics]
        if not common:
            raise NoCommonTopic
        return common[peer.dial.failures % len(common)]


def _close_others(attempts: Iterable[asyncio.Task[Session]], chosen: Session | None) -> None:
    for task in attempts:
        if task.done() and not task.cancelled() and task.exception() is None:
            session = task.result()
            if session is not chosen:
                session.close(ResetCode.DUPLICATE)
