"""Dials known peers until they are connected: which one, when, at which addresses.

A peer is dialled when it is found, when the network or the topics change, and again with backoff.
All its addresses are tried at once, those on the local network a moment before the others; the
first that finishes the hello wins.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from hdpd.errors import HdpdError, NoCommonTopic, TimedOut
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.identity.topics import Topic
from hdpd.link.session import Session, Surroundings, dial_hello
from hdpd.peers.aim import Aim
from hdpd.peers.backoff import Backoff
from hdpd.peers.book import Address, Book, KnownPeer
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


@dataclass(slots=True)
class _Target:
    """A peer that is to be connected."""

    backoff: Backoff = field(default_factory=Backoff)
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] | None = None
    error: HdpdError | None = None


class Dialler:
    """Owns the attempts. `wanted` says whether a peer should be connected that is not.

    `on_unanswered` is called when an attempt has not succeeded after a moment, `on_tried` with what
    came of each address.
    """

    def __init__(
        self,
        around: Surroundings,
        book: Book,
        wanted: Callable[[KnownPeer], bool],
        on_session: Callable[[Session], None],
    ) -> None:
        self._around = around
        self._book = book
        self._wanted = wanted
        self._on_session = on_session
        self.on_unanswered: Callable[[PeerId, Topic], None] = lambda peer_id, topic: None
        self.on_tried: Callable[[PeerId, Try], None] = lambda peer_id, what: None
        self._targets: dict[PeerId, _Target] = {}
        # Half of the places each, so that made-up peers never keep friends waiting.
        self._places_of_friends = asyncio.Semaphore(MAX_DIALS // 2)
        self._places_of_strangers = asyncio.Semaphore(MAX_DIALS // 2)
        self._aim = Aim()
        self._loop = asyncio.get_running_loop()

    def wake(self, peer_id: PeerId, *, at_once: bool = False) -> None:
        """Something speaks for trying this peer now: forget the backoff."""
        target = self._targets.setdefault(peer_id, _Target())
        target.backoff.reset()
        if target.task is not None:
            return
        own = self._around.identity.peer_id
        waits = own > peer_id and not at_once
        self._schedule(peer_id, target, HIGHER_KEY_DELAY_S if waits else 0.0)

    def wake_all(self) -> None:
        """Topics or the network changed: everybody is worth a try, old friends first."""
        for peer in sorted(self._book, key=lambda peer: peer.last_connected, reverse=True):
            if self._wanted(peer):
                self.wake(peer.peer_id)

    def is_dialling(self, peer_id: PeerId) -> bool:
        target = self._targets.get(peer_id)
        return target is not None and target.task is not None

    def last_error(self, peer_id: PeerId) -> HdpdError | None:
        """Why the last attempt failed."""
        target = self._targets.get(peer_id)
        return target.error if target else None

    def connected(self, peer_id: PeerId) -> None:
        """A session stands: stops trying, and remembers how often that took."""
        target = self._targets.get(peer_id)
        if target is not None:
            target.error = None
            self._stop(target)

    def lost(self, peer_id: PeerId, lasted: float) -> None:
        """The session has ended after `lasted` seconds: tries again, the later the more often
        sessions did not last.
        """
        if lasted >= LASTING_S:
            self.wake(peer_id)
            return
        target = self._targets.setdefault(peer_id, _Target())
        if target.task is None:
            self._schedule(peer_id, target, self._next_delay(target, 0.0))

    def forget(self, peer_id: PeerId) -> None:
        """Stops trying: it is blocked or not wanted any more."""
        target = self._targets.pop(peer_id, None)
        if target is not None:
            self._stop(target)

    @staticmethod
    def _stop(target: _Target) -> None:
        if target.timer is not None:
            target.timer.cancel()
            target.timer = None
        if target.task is not None and target.task is not asyncio.current_task():
            target.task.cancel()
            target.task = None

    async def close(self) -> None:
        tasks = [target.task for target in self._targets.values() if target.task is not None]
        for peer_id in list(self._targets):
            self.forget(peer_id)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _schedule(self, peer_id: PeerId, target: _Target, delay: float) -> None:
        if target.timer is not None:
            target.timer.cancel()
        target.timer = self._loop.call_later(delay, self._begin, peer_id, target)

    def _begin(self, peer_id: PeerId, target: _Target) -> None:
        target.timer = None
        target.task = self._loop.create_task(
            self._attempt(peer_id, target), name=f"dial {name_of(peer_id)}"
        )

    async def _attempt(self, peer_id: PeerId, target: _Target) -> None:
        session: Session | None = None
        peer = self._book.get(peer_id)
        if peer is None or not self._wanted(peer):
            self._targets.pop(peer_id, None)
            return
        places = self._places_of_friends if peer.last_connected else self._places_of_strangers
        try:
            async with places:
                session = await self._dial(peer, target)
            target.error = None
        except HdpdError as error:
            target.error = error
            log.debug("dialling %s: %s", name_of(peer_id), error)
        finally:
            if target.task is asyncio.current_task():
                target.task = None
        if session is not None:
            self._on_session(session)
        elif self._targets.get(peer_id) is target:
            since = time.time() - peer.last_connected
            self._schedule(peer_id, target, self._next_delay(target, since))

    @staticmethod
    def _next_delay(target: _Target, since_connected: float) -> float:
        return target.backoff.delay(since_connected, random.random())  # noqa: S311 (spreads load)

    def _addresses(self, peer: KnownPeer) -> list[Address]:
        """Raises TimedOut when there is none to dial now."""
        known = peer.addresses_to_dial()
        if not known:
            raise TimedOut("it has told no address at which to reach it")
        if peer.last_connected:
            return known
        allowed = [each for each in known if self._aim.allow(each[0], self._loop.time())]
        if not allowed:
            raise TimedOut("its addresses were dialled often in the last minute; it is tried again")
        return allowed

    async def _dial(self, peer: KnownPeer, target: _Target) -> Session:
        """Raises the error of the attempt that came furthest."""
        topic = self._common_topic(peer, target.backoff.failures)
        try:
            addresses = self._addresses(peer)
        except TimedOut as nowhere:
            self.on_unanswered(peer.peer_id, topic)
            self.on_tried(peer.peer_id, Try("dial", None, time.time(), nowhere.message))
            raise
        near, far = self._around.endpoint.dialable(addresses)
        pending = attempts = {
            asyncio.create_task(self._try(peer.peer_id, group, topic, delay))
            for group, delay in ((near, 0.0), (far, LAN_HEAD_START_S if near else 0.0))
            if group
        }
        failure: HdpdError = TimedOut("nothing answered")
        chosen: Session | None = None
        unanswered = self._loop.call_later(
            UNANSWERED_S, lambda: self.on_unanswered(peer.peer_id, topic)
        )
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
        self, peer_id: PeerId, addresses: Sequence[Address], topic: Topic, delay: float
    ) -> Session:
        await asyncio.sleep(delay)
        try:
            connection = self._around.endpoint.dial(peer_id, addresses, topic)
        except ValueError as error:
            raise TimedOut(str(error)) from None
        result = "given up for another way"
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                session = await dial_hello(connection, self._around, peer_id)
            result = "another address was faster"
        except TimeoutError:
            result = "no answer"
            places = ", ".join(f"{host} port {port}" for host, port in addresses[:4])
            raise TimedOut(f"nothing answered at {places}") from None
        except HdpdError as error:
            result = error.message
            raise
        finally:
            self._note(peer_id, addresses, result)
        self._note(peer_id, [session.address], "connected", worked=True)
        return session

    def _note(
        self,
        peer_id: PeerId,
        addresses: Sequence[Address],
        result: str,
        *,
        worked: bool = False,
    ) -> None:
        for address in addresses:
            self.on_tried(peer_id, Try("dial", shown(*address), time.time(), result, worked))

    def _common_topic(self, peer: KnownPeer, attempt: int) -> Topic:
        """Another one at each attempt: the peer may have left some, and hears no knock of those."""
        common = [topic for topic in self._around.topics() if topic.public_id in peer.topics]
        if not common:
            raise NoCommonTopic
        return common[attempt % len(common)]


def _close_others(attempts: Iterable[asyncio.Task[Session]], chosen: Session | None) -> None:
    for task in attempts:
        if task.done() and not task.cancelled() and task.exception() is None:
            session = task.result()
            if session is not chosen:
                session.close(ResetCode.DUPLICATE)
