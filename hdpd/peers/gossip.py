"""Gossip: connected peers tell each other about further members of the topics that they share.

Only sealed records are passed on, each at its own topic, as their authors made them. What is new
about a connected peer is told to the others at once, but of each peer only so often; everything
known when a session begins. What was itself heard by gossip goes no further until then, so that
news do not circle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from msgspec import Struct, field

from hdpd.errors import HdpdError
from hdpd.identity.keys import PeerId
from hdpd.link.session import Session
from hdpd.peers.peer import Roster
from hdpd.recent import Recent
from hdpd.wire.messages import MAX_RECORDS, Announce

MAX_RECORDS_KEPT: Final = 1024  # 700 KB; the one heard longest ago is forgotten
MAX_TOLD_AT_ONCE: Final = 64  # records for a new session, those of connected peers first
SETTLE_S: Final = 0.1  # several records of one moment go out together
PEER_S: Final = 15.0  # between news of one peer: each goes to everybody

_Key = tuple[bytes, PeerId]


class _Heard(Struct):
    """The latest record of a peer at a topic, and which connected peers told us of that peer."""

    record: bytes
    tellers: set[PeerId] = field(default_factory=set)
    is_news: bool = False  # it is to be told to everybody who is connected
    due: float = 0.0  # not before


class Gossip:
    """Knows the latest record of each peer at each topic, and who told us of it."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._heard: Recent[_Key, _Heard] = Recent(MAX_RECORDS_KEPT)
        self._telling: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()

    def heard(self, topic_id: bytes, peer_id: PeerId, record: bytes) -> None:
        """A new record of that peer, from anywhere."""
        key = (topic_id, peer_id)
        heard = self._heard[key] if key in self._heard else _Heard(record)
        heard.record = record
        self._heard.put(key, heard)
        if self._roster.session(peer_id) is not None:
            heard.is_news = True
            self._tell_by(heard.due)

    def told_by(self, topic_id: bytes, peer_id: PeerId, teller: PeerId) -> None:
        """A connected peer passed a record of another one on: it is likely connected with it."""
        heard = self._heard.get((topic_id, peer_id))
        if heard is not None:
            heard.tellers.add(teller)

    def tellers(self, topic_id: bytes, peer_id: PeerId) -> frozenset[PeerId]:
        """Who told us of that peer at that topic, and is still connected."""
        heard = self._heard.get((topic_id, peer_id))
        return frozenset(() if heard is None else heard.tellers)

    def connected_with(self, session: Session) -> None:
        """A session began or has other topics: each side gets what it may want to know."""
        keys = [key for key in reversed(self._heard) if self._concerns(key, session)]
        keys.sort(key=lambda key: self._roster.session(key[1]) is None)
        self._tell(session, keys[:MAX_TOLD_AT_ONCE])
        for key, heard in self._heard.items():
            if key[1] == session.peer_id:
                heard.is_news = True
                self._tell_by(heard.due)

    def disconnected_from(self, peer_id: PeerId) -> None:
        """What it told may not be known to it any more when it comes again."""
        for heard in self._heard.values():
            heard.tellers.discard(peer_id)

    @staticmethod
    def _concerns(key: _Key, session: Session) -> bool:
        topic_id, peer_id = key
        return topic_id in session.topics and peer_id != session.peer_id

    def forget_topics_but(self, topic_ids: Iterable[bytes]) -> None:
        """Topics were left: nothing of them is kept."""
        kept = set(topic_ids)
        for key in [key for key in self._heard if key[0] not in kept]:
            self._heard.pop(key)

    def _tell_by(self, due: float) -> None:
        when = max(self._loop.time() + SETTLE_S, due)
        if self._telling is not None:
            if self._telling.when() <= when:
                return
            self._telling.cancel()
        self._telling = self._loop.call_at(when, self._tell_all)

    def _tell_all(self) -> None:
        self._telling = None
        now = self._loop.time()
        news = [key for key, heard in self._heard.items() if heard.is_news and heard.due <= now]
        for key in news:
            self._heard[key].is_news, self._heard[key].due = False, now + PEER_S
        for session in self._roster.connected():
            self._tell(session, [key for key in news if self._concerns(key, session)])
        for heard in self._heard.values():
            if heard.is_news:
                self._tell_by(heard.due)

    def _tell(self, session: Session, keys: list[_Key]) -> None:
        peer = self._roster.get(session.peer_id)
        if peer is not None and keys:
            peer.spawn(self._tell_records(session, keys))

    async def _tell_records(self, session: Session, keys: list[_Key]) -> None:
        heard = [self._heard[key] for key in keys if key in self._heard]
        records = [each.record for each in heard if session.peer_id not in each.tellers]
        with suppress(HdpdError):
            for start in range(0, len(records), MAX_RECORDS):
                await session.ask(Announce(tuple(records[start : start + MAX_RECORDS])))
