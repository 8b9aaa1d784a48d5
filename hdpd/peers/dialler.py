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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hdpd.errors import HdpdError, NoCommonTopic, TimedOut
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.identity.topics import Topic
from hdpd.link.engine import SAFE_DATAGRAM_BYTES
from hdpd.link.session import Session, Surroundings, dial_hello
from hdpd.peers.backoff import Backoff
from hdpd.peers.book import Address, Book, KnownPeer

log = logging.getLogger(__name__)

MAX_DIALS = 32  # at once; each is an engine and a few datagrams a second
ATTEMPT_TIMEOUT_S = 6.0  # the first flight is sent at 0, 1 and 3 s
# Where both can dial, the peer with the lower key does: the other one waits before it tries.
HIGHER_KEY_DELAY_S = 0.7
LAN_HEAD_START_S = 0.25


@dataclass(slots=True)
class _Target:
    """A peer that is to be connected."""

    backoff: Backoff = field(default_factory=Backoff)
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] | None = None
    error: HdpdError | None = None


class Dialler:
    """Owns the attempts. `wanted` says whether a peer should be connected that is not."""

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
        self._targets: dict[PeerId, _Target] = {}
        self._places = asyncio.Semaphore(MAX_DIALS)
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
        """Topics or the network changed: everybody is worth a try."""
        for peer in list(self._book):
            if self._wanted(peer):
                self.wake(peer.peer_id)

    def is_dialling(self, peer_id: PeerId) -> bool:
        target = self._targets.get(peer_id)
        return target is not None and target.task is not None

    def last_error(self, peer_id: PeerId) -> HdpdError | None:
        """Why the last attempt failed."""
        target = self._targets.get(peer_id)
        return target.error if target else None

    def forget(self, peer_id: PeerId) -> None:
        """Stops trying: it is connected, blocked or not wanted any more."""
        target = self._targets.pop(peer_id, None)
        if target is None:
            return
        if target.timer is not None:
            target.timer.cancel()
        if target.task is not None and target.task is not asyncio.current_task():
            target.task.cancel()

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
        try:
            async with self._places:
                session = await self._dial(peer)
            target.error = None
        except HdpdError as error:
            target.error = error
            log.debug("dialling %s: %s", name_of(peer_id), error)
        finally:
            target.task = None
        if session is not None:
            self._targets.pop(peer_id, None)
            self._on_session(session)
        elif self._targets.get(peer_id) is target:
            since = time.time() - peer.last_connected
            delay = target.backoff.delay(since, random.random())  # noqa: S311 (spreads load only)
            self._schedule(peer_id, target, delay)

    async def _dial(self, peer: KnownPeer) -> Session:
        """Raises the error of the attempt that came furthest."""
        topic = self._common_topic(peer)
        near: list[Address] = []
        far: list[Address] = []
        for address in peer.addresses_to_dial():
            is_near = self._around.endpoint.datagram_bytes_for(address[0]) > SAFE_DATAGRAM_BYTES
            (near if is_near else far).append(address)
        attempts = {
            asyncio.create_task(self._try(peer.peer_id, group, topic, delay))
            for group, delay in ((near, 0.0), (far, LAN_HEAD_START_S if near else 0.0))
            if group
        }
        failure: HdpdError = TimedOut("it has told no address at which to reach it")
        try:
            while attempts:
                done, attempts = await asyncio.wait(attempts, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    error = task.exception()
                    if error is None:
                        return task.result()
                    if not isinstance(error, HdpdError):
                        raise error
                    if not isinstance(failure, NoCommonTopic):
                        failure = error
        finally:
            for task in attempts:
                task.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)
        raise failure

    async def _try(
        self, peer_id: PeerId, addresses: Sequence[Address], topic: Topic, delay: float
    ) -> Session:
        await asyncio.sleep(delay)
        try:
            connection = self._around.endpoint.dial(peer_id, addresses, topic)
        except ValueError as error:
            raise TimedOut(str(error)) from None
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                return await dial_hello(connection, self._around, peer_id)
        except TimeoutError:
            places = ", ".join(f"{host} port {port}" for host, port in addresses[:4])
            raise TimedOut(f"nothing answered at {places}") from None

    def _common_topic(self, peer: KnownPeer) -> Topic:
        for topic in self._around.topics():
            if topic.public_id in peer.topics:
                return topic
        raise NoCommonTopic
