"""Gossip: connected peers tell each other about further members of the topics that they share.

Only sealed records are passed on, each at its own topic, as their authors made them. What is new
about a connected peer is told to the others at once, everything known when a session begins; what
was itself heard by gossip goes no further until then, so that news do not circle.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Final

from hdpd.errors import HdpdError
from hdpd.identity.keys import PeerId
from hdpd.link.session import Session
from hdpd.wire.messages import MAX_RECORDS, Announce

MAX_RECORDS_KEPT: Final = 1024  # 700 KB; the one heard longest ago is forgotten
MAX_TOLD_AT_ONCE: Final = 64  # records for a new session, those of connected peers first
SETTLE_S: Final = 0.1  # several records of one moment go out together

_Key = tuple[bytes, PeerId]


class Gossip:
    """Knows the latest record of each peer at each topic, and who told us of it."""

    def __init__(
        self,
        connected: Callable[[], Iterable[Session]],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self._connected = connected
        self._spawn = spawn
        self._records: OrderedDict[_Key, bytes] = OrderedDict()
        self._tellers: dict[_Key, set[PeerId]] = {}
        self._news: set[_Key] = set()
        self._telling: asyncio.TimerHandle | None = None

    def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()

    def heard(self, topic_id: bytes, peer_id: PeerId, record: bytes) -> None:
        """A new record of that peer, from anywhere."""
        key = (topic_id, peer_id)
        self._records[key] = record
        self._records.move_to_end(key)
        if len(self._records) > MAX_RECORDS_KEPT:
            forgotten, _ = self._records.popitem(last=False)
            self._tellers.pop(forgotten, None)
        if any(session.peer_id == peer_id for session in self._connected()):
            self._news.add(key)
            self._tell_soon()

    def told_by(self, topic_id: bytes, peer_id: PeerId, teller: PeerId) -> None:
        """A connected peer passed a record of another one on: it is likely connected with it."""
        key = (topic_id, peer_id)
        if key in self._records:
            self._tellers.setdefault(key, set()).add(teller)

    def tellers(self, topic_id: bytes, peer_id: PeerId) -> set[PeerId]:
        return self._tellers.get((topic_id, peer_id), set())

    def connected_with(self, session: Session) -> None:
        """A session began or has other topics: each side gets what it may want to know."""
        connected = {each.peer_id for each in self._connected()}
        keys = [key for key in reversed(self._records) if self._concerns(key, session)]
        keys.sort(key=lambda key: key[1] not in connected)
        self._spawn(self._tell(session, keys[:MAX_TOLD_AT_ONCE]))
        self._news.update(key for key in self._records if key[1] == session.peer_id)
        self._tell_soon()

    @staticmethod
    def _concerns(key: _Key, session: Session) -> bool:
        topic_id, peer_id = key
        return topic_id in session.topics and peer_id != session.peer_id

    def forget_topics_but(self, topic_ids: Iterable[bytes]) -> None:
        """Topics were left: nothing of them is kept."""
        kept = set(topic_ids)
        for key in [key for key in self._records if key[0] not in kept]:
            del self._records[key]
            self._tellers.pop(key, None)

    def _tell_soon(self) -> None:
        if self._telling is None and self._news:
            self._telling = asyncio.get_running_loop().call_later(SETTLE_S, self._tell_all)

    def _tell_all(self) -> None:
        self._telling = None
        news, self._news = self._news, set()
        for session in self._connected():
            keys = [key for key in news if self._concerns(key, session)]
            self._spawn(self._tell(session, keys))

    async def _tell(self, session: Session, keys: list[_Key]) -> None:
        records = [
            self._records[key]
            for key in keys
            if key in self._records and session.peer_id not in self._tellers.get(key, ())
        ]
        with suppress(HdpdError):
            for start in range(0, len(records), MAX_RECORDS):
                await session.ask(Announce(tuple(records[start : start + MAX_RECORDS])))
