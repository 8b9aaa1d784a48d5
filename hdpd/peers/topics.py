"""The joined topics: those of the configuration and those joined at run time, with their keys.

Deriving a topic's keys takes scrypt's time and memory, so it is done once, in a thread, one at a
time, and the result is kept in state.db (mode 0600). A topic of the configuration is joined at
each start; leaving it lasts until then.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial

from msgspec import Struct

from hdpd.database import Database, Transaction
from hdpd.errors import LimitReached, TopicNotFound
from hdpd.identity.topics import (
    SECRET_BYTES,
    Topic,
    derive_master,
    is_guessable,
    new_name,
    normalise,
)
from hdpd.link.hello import MAX_TOPICS
from hdpd.log import fields
from hdpd.threads.worker import Worker

log = logging.getLogger(__name__)


class TopicStatus(Struct, frozen=True):
    """A joined topic: how many connected peers share it, whether it is in the configuration, and
    whether strangers may find it by trying names.
    """

    name: str
    peers: int
    configured: bool
    guessable: bool


class TopicJoined(Struct, frozen=True):
    """A topic was joined."""

    name: str


class TopicLeft(Struct, frozen=True):
    """A topic was left."""

    name: str


Emit = Callable[[TopicJoined | TopicLeft], None]


class Topics:
    """What is joined now. `on_changed` is called after each change, `on_count` to learn how many
    connected peers share a topic.
    """

    def __init__(self, database: Database, configured: Sequence[str], emit: Emit) -> None:
        self.on_changed: Callable[[], None] = lambda: None
        self.on_count: Callable[[bytes], int] = lambda topic_id: 0
        self._database = database
        self._configured = frozenset(map(normalise, configured))
        self._emit = emit
        self._joined: dict[str, Topic] = {}
        self._by_id: dict[bytes, Topic] = {}
        self._joining = asyncio.Lock()  # so that topics are derived one at a time

    async def start(self) -> None:
        """Joins what the configuration says and what was joined before."""
        stored = await self._database.read(
            lambda t: list(t.execute("SELECT name, master, joined FROM topic ORDER BY joined"))
        )
        masters: dict[str, bytes] = {name: master for name, master, _ in stored}
        names = [*sorted(self._configured), *(name for name, _, joined in stored if joined)]
        for name in dict.fromkeys(names):
            if len(self._joined) >= MAX_TOPICS:
                log.warning("more than %d topics: the others are not joined", MAX_TOPICS)
                break
            if name in masters:
                self._add(Topic.from_master(name, masters[name]))
            else:
                self._add(await self._derive(name, joined=None))
                self._warn_if_guessable(name)

    def current(self) -> tuple[Topic, ...]:
        return tuple(self._joined.values())

    def get(self, topic_id: bytes) -> Topic | None:
        return self._by_id.get(topic_id)

    def names_of(self, topic_ids: frozenset[bytes]) -> list[str]:
        """The names of those of `topic_ids` that are joined, sorted."""
        return sorted(self._by_id[each].name for each in topic_ids if each in self._by_id)

    def list(self) -> list[TopicStatus]:
        """The joined topics by name."""
        return [
            TopicStatus(
                topic.name,
                peers=self.on_count(topic.public_id),
                configured=topic.name in self._configured,
                guessable=is_guessable(topic.name),
            )
            for topic in sorted(self._joined.values(), key=lambda topic: topic.name)
        ]

    async def join(self, name: str | None) -> str:
        """Joins the topic called `name`, or a new unguessable one; returns its normalised name.

        Raises:
            TopicInvalid, LimitReached: the name cannot be one, or 64 are joined already.
        """
        new = name is None
        wanted = new_name(secrets.token_bytes(SECRET_BYTES)) if name is None else normalise(name)
        if await self._join(wanted, joined=time.time()) and not new:
            self._warn_if_guessable(wanted)
        return wanted

    async def _join(self, name: str, joined: float | None) -> bool:
        """Joins it, remembering for how long it stands; False when it was joined already."""
        async with self._joining:
            # Another call may have joined it, or the last one there was room for, meanwhile.
            if name in self._joined:
                return False
            if len(self._joined) >= MAX_TOPICS:
                raise LimitReached(f"{MAX_TOPICS} topics are joined; leave one first")
            self._add(await self._derive(name, joined=joined))
        # At this level the name, too: see `fields`.
        log.debug("a topic was joined", extra=fields(topic=name))
        self._emit(TopicJoined(name))
        self.on_changed()
        return True

    async def leave(self, name: str) -> None:
        """Leaves a topic at once and for good (one of the configuration: until the next start).

        Raises:
            TopicNotFound: it was not joined.
        """
        wanted = normalise(name)
        if wanted not in self._joined:
            raise TopicNotFound(f"the topic {wanted!r} is not joined; `hdpctl topics` lists them")
        await self._database.write(
            lambda t: t.execute("DELETE FROM topic WHERE name = ?", (wanted,))
        )
        topic = self._joined.pop(wanted, None)
        if topic is not None:  # else another call came first
            del self._by_id[topic.public_id]
            log.debug("a topic was left", extra=fields(topic=wanted))
            self._emit(TopicLeft(wanted))
            self.on_changed()

    async def configure(self, configured: Sequence[str]) -> None:
        """Takes over the topics of a new configuration: joins those that it names newly, and leaves
        those that it names no more, unless they were joined at run time, too.

        Raises:
            LimitReached: there are too many; the others are joined.
        """
        before, self._configured = self._configured, frozenset(map(normalise, configured))
        rows = await self._database.read(
            lambda t: list(t.execute("SELECT name FROM topic WHERE joined IS NOT NULL"))
        )
        joined_by_hand = {name for (name,) in rows}
        for name in sorted(before - self._configured - joined_by_hand):
            if name in self._joined:
                await self.leave(name)
        for name in sorted(self._configured - before):
            if await self._join(name, joined=None):
                self._warn_if_guessable(name)

    def _add(self, topic: Topic) -> None:
        self._joined[topic.name] = topic
        self._by_id[topic.public_id] = topic

    async def _derive(self, name: str, joined: float | None) -> Topic:
        deriver = Worker("topic-key")
        derived = deriver.submit(partial(derive_master, name))
        deriver.close()
        master = await derived

        def save(transaction: Transaction) -> None:
            transaction.execute(
                "INSERT OR REPLACE INTO topic (name, master, joined) VALUES (?, ?, ?)",
                (name, master, joined),
            )

        await self._database.write(save)
        return Topic.from_master(name, master)

    @staticmethod
    def _warn_if_guessable(name: str) -> None:
        if is_guessable(name):
            # Without the name: the log is read by more people than those who may know it.
            log.warning(
                "a topic was joined whose name can be guessed: whoever guesses it meets you there; "
                "`hdpctl topics join --new` makes one that nobody can guess"
            )
