"""Peers that the owner gave an address to: they are looked for there whatever is heard of them.

A name is looked up at the start, and again as long as the peer is not connected: it may have
another address by then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from hdpd.config import HostPort
from hdpd.config.peer_rules import PeerRule
from hdpd.discovery.discovery import Found
from hdpd.discovery.records import Candidate
from hdpd.errors import ProtocolError
from hdpd.identity.keys import PeerId
from hdpd.identity.topics import Topic
from hdpd.nat.resolve import Resolver
from hdpd.tasks import keep_running

AGAIN_S: Final = 30.0  # between look-ups for a peer that is not connected


class FixedAddresses:
    """`on_found` gets the address as if the peer had announced it at one of our topics, another
    one each time: the owner says where it is, not where it can be met.
    """

    def __init__(
        self, topics: Callable[[], Sequence[Topic]], session_of: Callable[[PeerId], object]
    ) -> None:
        """`session_of` gives None for a peer that is not connected."""
        self.on_found: Callable[[Found], None] = lambda found: None
        self.unresolved: dict[str, HostPort] = {}  # by peer id: names that lead nowhere now
        self._topics = topics
        self._session_of = session_of
        self._rules: tuple[PeerRule, ...] = ()
        self._resolver = Resolver()
        self._rounds = 0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def set(self, rules: Sequence[PeerRule]) -> None:
        """These are the owner's rules now."""
        self._rules = tuple(rule for rule in rules if rule.address is not None)
        self.unresolved = {}
        self._changed.set()

    def start(self) -> None:
        self._task = keep_running(self._run, "fixed addresses")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            await asyncio.gather(*(self._look_up(rule) for rule in self._rules))
            self._rounds += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S if self._rules else None):
                    await self._changed.wait()

    async def _look_up(self, rule: PeerRule) -> None:
        peer_id, topics = PeerId.parse(rule.id), self._topics()
        if rule.address is None or not topics or self._session_of(peer_id) is not None:
            return
        candidates = []
        found = await self._resolver.resolve(rule.address)
        if found:
            self.unresolved.pop(rule.id, None)
        elif rule in self._rules:
            self.unresolved[rule.id] = rule.address
        for each in found:
            with contextlib.suppress(ProtocolError):
                candidates.append(Candidate(each.host, each.port, "local"))
        if candidates:
            topic = topics[self._rounds % len(topics)]
            self.on_found(Found(peer_id, topic.public_id, "known", tuple(candidates), None, None))
