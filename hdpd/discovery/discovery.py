"""Finds peers at the joined topics, by MQTT and mDNS, and lets them find us; it never dials.

Whole because brokers and mDNS are fed with the same topics, records and clock.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from hdpd.bucket import Bucket
from hdpd.config import MqttServer
from hdpd.discovery.clocks import JUMP_S, ClockDifference, Clocks
from hdpd.discovery.mqtt import Mqtt
from hdpd.discovery.rates import AnnouncementSchedule
from hdpd.discovery.records import (
    MAX_CANDIDATES,
    MAX_CLOCK_DIFFERENCE_S,
    MAX_PUNCH_CANDIDATES,
    NONCE_BYTES,
    Candidate,
    LatestRecords,
    PunchPart,
    Record,
    open_record,
    seal,
)
from hdpd.discovery.status import DiscoveryStatus
from hdpd.discovery.twin import Twin
from hdpd.errors import ClockWrong, ProtocolError
from hdpd.identity.keys import Identity, PeerId
from hdpd.identity.names import name_of
from hdpd.identity.topics import Topic
from hdpd.link.interfaces import InterfaceAddress, interface_addresses
from hdpd.tasks import keep_running

if TYPE_CHECKING:
    from hdpd.discovery.mdns import Mdns, MdnsSighting

FoundBy = Literal["mqtt", "mdns", "gossip", "known"]

# A schedule that cannot be met now is looked at again no sooner than this.
_MIN_WAIT_S: Final = 0.01
CLOCK_LOOK_S: Final = 2.0

# From one topic at one server; the others are dropped before they are decrypted.
MAX_MESSAGES_PER_S: Final = 50.0

log = logging.getLogger(__name__)


class Found(Struct, frozen=True):
    """A peer at a topic, and where it may be reached.

    `exchange_public` and `record` (sealed, to be passed on at that topic) are there when a record
    said so, and None for an mDNS advert.
    """

    peer_id: PeerId
    topic_id: bytes
    found_by: FoundBy
    candidates: tuple[Candidate, ...]
    exchange_public: bytes | None
    record: bytes | None


class Discovery:
    """Owns the brokers, the mDNS advert and the announcement schedule of each topic."""

    def __init__(
        self,
        identity: Identity,
        candidates: Callable[[], Sequence[Candidate]],
        next_seq: Callable[[], int],
        servers: Sequence[MqttServer],
        *,
        mdns: bool,
        addresses: Callable[[], Sequence[InterfaceAddress]] = interface_addresses,
        interface: str | None = None,
    ) -> None:
        """Starts nothing yet. `addresses` are those of this machine that mDNS uses, `interface`
        the one by which brokers are reached, None for any.

        `candidates` gives the current addresses of this peer, the best first; `next_seq` a number
        higher than any before, over restarts too. `on_found` is called in the event loop, once for
        each new record and each time that an advert is seen. `on_punch` gets the punch requests
        that are for us, each once.
        """
        self.on_found: Callable[[Found], None] = lambda found: None
        self.on_punch: Callable[[Record], None] = lambda record: None
        self.on_clock_set: Callable[[], None] = lambda: None
        self._identity = identity
        self._candidates = candidates
        self._next_seq = next_seq
        self._mqtt = Mqtt(servers, self._mqtt_received, self._mqtt_connected, interface)
        self._mdns = _mdns(identity.peer_id, self._mdns_seen, addresses) if mdns else None
        self._topics: dict[bytes, Topic] = {}
        self._schedules: dict[bytes, AnnouncementSchedule] = {}
        self._latest = LatestRecords()
        self._latest_punches = LatestRecords()
        # One for each joined topic and configured server, so that a flood at one broker does not
        # silence the others.
        self._heard: dict[tuple[bytes, str], Bucket] = {}  # by topic and server
        self._timer: asyncio.TimerHandle | None = None
        self._clocks = Clocks()
        self._twin = Twin(time.time())
        self._watching: asyncio.Task[None] | None = None

    async def start(self, port: int) -> None:
        """Begins to announce and to look; mDNS tells the UDP `port`. Never waits for others."""
        await self._mqtt.start()
        self._watching = keep_running(self._watch_clock, "clock")
        if self._mdns is not None:
            await self._mdns.start(port)

    def set_topics(self, topics: Collection[Topic]) -> None:
        """Meets at exactly these topics from now on."""
        wanted = {topic.public_id: topic for topic in topics}
        for public_id in self._topics.keys() - wanted.keys():
            self._leave(self._topics[public_id])
        for public_id in wanted.keys() - self._topics.keys():
            self._join(wanted[public_id])
        self._arm()
        if self._mdns is not None:
            self._mdns.set_topics(tuple(self._topics.values()))

    def candidates_changed(self) -> None:
        """Announces the new addresses soon."""
        for schedule in self._schedules.values():
            schedule.addresses_changed(_now())
        self._arm()

    async def network_changed(self) -> None:
        """Follows interfaces that came or went, without waiting for the next look at them."""
        self._mqtt.retry_now()
        if self._mdns is not None:
            await self._mdns.network_changed()

    def inside_changed(self) -> None:
        """Follows networks of containers, of which others see nothing."""
        if self._mdns is not None:
            self._mdns.inside_changed()

    def own_record(self, topic: Topic, *, wants_answer: bool = False) -> bytes:
        """A new sealed record of this peer for the topic."""
        reachable = [candidate for candidate in self._candidates() if not candidate.has_zone]
        return self._seal(topic, reachable[:MAX_CANDIDATES], wants_answer=wants_answer)

    def punch_request(
        self, topic: Topic, punch: PunchPart, candidates: Sequence[Candidate]
    ) -> bytes:
        """A sealed request to one peer, to be sent by `publish` or through another peer; of the
        candidates, which are those of the punch, the first 8 are told.
        """
        reachable = [candidate for candidate in candidates if not candidate.has_zone]
        return self._seal(topic, reachable[:MAX_PUNCH_CANDIDATES], punch=punch)

    def _seal(
        self,
        topic: Topic,
        candidates: Sequence[Candidate],
        *,
        wants_answer: bool = False,
        punch: PunchPart | None = None,
    ) -> bytes:
        record = Record(
            purpose="punch" if punch else "announce",
            topic_id=topic.public_id,
            peer_id=self._identity.peer_id,
            exchange_public=self._identity.exchange_public,
            candidates=tuple(candidates),
            seq=self._next_seq(),
            time=int(time.time()),
            wants_answer=wants_answer,
            punch=punch,
        )
        blob = seal(record, self._identity, topic, os.urandom(NONCE_BYTES))
        self._twin.made(blob)
        return blob

    def publish(self, topic: Topic, blob: bytes) -> bool:
        """Sends a sealed record to the topic's brokers; False when none is connected."""
        if not self._mqtt.is_connected:
            return False
        self._mqtt.publish(topic, blob)
        return True

    def receive_gossip(self, blob: bytes, topic_ids: Collection[bytes], teller: PeerId) -> Record:
        """Takes and returns a record that a peer told, for a topic in common with that peer; what
        it tells of itself is no gossip.

        Raises ProtocolError when it can be opened with none of them.
        """
        record = self.open_any(blob, topic_ids)
        found_by: FoundBy = "known" if record.peer_id == teller else "gossip"
        self._take(record, blob, self._topics[record.topic_id], found_by)
        return record

    def open_any(self, blob: bytes, topic_ids: Collection[bytes]) -> Record:
        """The record in `blob`, which is for one of those topics.

        Raises ProtocolError when it can be opened with none of them.
        """
        refusal = ProtocolError("a record is for no common topic")
        for topic_id in topic_ids:
            topic = self._topics.get(topic_id)
            if topic is None:
                continue
            try:
                return open_record(blob, topic, time.time())
            except ClockWrong as error:
                self._note_clock(PeerId(error.peer_id), error.seconds)
                refusal = error
            except ProtocolError as error:
                refusal = error
        raise refusal

    def status(self) -> DiscoveryStatus:
        """How each way to find peers does."""
        return DiscoveryStatus(
            self._mqtt.status(), None if self._mdns is None else self._mdns.status()
        )

    async def close(self) -> None:
        """Goes away, saying goodbye on the local network."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await asyncio.gather(self._mqtt.close(), *([self._mdns.close()] if self._mdns else []))

    def _join(self, topic: Topic) -> None:
        schedule = AnnouncementSchedule(random.random)
        schedule.joined(_now())
        self._topics[topic.public_id] = topic
        self._schedules[topic.public_id] = schedule
        self._mqtt.subscribe(topic)

    def _leave(self, topic: Topic) -> None:
        del self._topics[topic.public_id]
        del self._schedules[topic.public_id]
        for key in [key for key in self._heard if key[0] == topic.public_id]:
            del self._heard[key]
        self._latest.forget_topic(topic.public_id)
        self._latest_punches.forget_topic(topic.public_id)
        self._mqtt.unsubscribe(topic)

    # Announcing

    def _arm(self) -> None:
        """Sets the one timer to the next announcement; without a broker there is none."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = min((schedule.due for schedule in self._schedules.values()), default=math.inf)
        if due < math.inf and self._mqtt.is_connected:
            when = max(due, _now() + _MIN_WAIT_S)
            self._timer = asyncio.get_running_loop().call_at(when, self._announce)

    def _announce(self) -> None:
        now = _now()
        for public_id, schedule in self._schedules.items():
            if schedule.due <= now and self._mqtt.is_connected:
                topic = self._topics[public_id]
                wants_answer = schedule.announced(now)
                self._mqtt.publish(topic, self.own_record(topic, wants_answer=wants_answer))
        self._arm()

    def _mqtt_connected(self) -> None:
        for schedule in self._schedules.values():
            schedule.joined(_now())
        self._arm()

    # Clocks and keys

    async def _watch_clock(self) -> None:
        """What we signed before our clock was set has a date that others refuse."""
        before = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        while True:
            await asyncio.sleep(CLOCK_LOOK_S)
            now = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
            if abs(now - before) > JUMP_S:
                log.info("the clock was set by %+d s; all are told of us anew", now - before)
                self._clocks.forget_all()
                self._mqtt_connected()
                self.on_clock_set()
            before = now

    def _note_clock(self, peer_id: PeerId, seconds: float) -> bool:
        """Whether it is wrong, and news."""
        is_news = peer_id != self._identity.peer_id and self._clocks.heard(peer_id, seconds, _now())
        if is_news:
            log.warning(
                "the clock of %s and ours differ by %.1f hours; with more than a day between them "
                "they do not meet",
                name_of(peer_id),
                abs(seconds) / 3600,
            )
        return is_news

    def wrong_clocks(self) -> tuple[list[ClockDifference], int]:
        """Peers whose clocks differ from ours by over an hour, and of how many we know."""
        return self._clocks.wrong(_now())

    def refused_clock(self, peer_id: PeerId) -> float | None:
        """By how many seconds the clock of a peer is ahead of ours, where its records are refused
        for it.
        """
        seconds = self._clocks.difference(peer_id, _now())
        if seconds is None or abs(seconds) <= MAX_CLOCK_DIFFERENCE_S:
            return None
        return seconds

    def _warn_of_twin(self) -> None:
        """Says so here, and announces us, so that it is said there, too."""
        self._mqtt_connected()
        log.warning("another machine uses the key of this peer: %s", self.twin())

    def twin(self) -> str | None:
        """Where another machine that uses our key was seen, None where none was."""
        return self._twin.place(time.time())

    # Finding

    def _mqtt_received(self, topic_id: bytes, payload: bytes, server: str) -> None:
        topic = self._topics.get(topic_id)
        if topic is None:
            return
        now = _now()
        heard = self._heard.get((topic_id, server))
        if heard is None:
            heard = Bucket(MAX_MESSAGES_PER_S, MAX_MESSAGES_PER_S)
            self._heard[topic_id, server] = heard
        if not heard.allow(now):
            return
        try:
            record = open_record(payload, topic, time.time())
        except ClockWrong as error:
            if self._note_clock(PeerId(error.peer_id), error.seconds):
                # Asked or not: it does not know yet, and has an owner, too.
                self._schedules[topic_id].addresses_changed(now)
                self._arm()
            return
        except ProtocolError as error:
            log.debug("a message at %s was dropped: %s", server, error)
            return
        self._take(record, payload, topic, "mqtt")

    def _take(self, record: Record, blob: bytes, topic: Topic, found_by: FoundBy) -> None:
        """Reports a record when it is a new one of another peer."""
        if record.peer_id == self._identity.peer_id:
            if found_by == "mqtt" and self._twin.heard(record, blob, time.time()):
                self._warn_of_twin()
            return
        self._note_clock(record.peer_id, record.time - time.time())
        if record.punch is not None:
            is_for_us = record.punch.target == self._identity.peer_id
            if is_for_us and self._latest_punches.accept(record, time.time()):
                self.on_punch(record)
            return
        if not self._latest.accept(record, time.time()):
            return
        if found_by == "mqtt" and record.wants_answer:
            peers = self._latest.count(topic.public_id)
            self._schedules[topic.public_id].newcomer_asked(_now(), peers)
            self._arm()
        self.on_found(
            Found(
                peer_id=record.peer_id,
                topic_id=topic.public_id,
                found_by=found_by,
                candidates=record.candidates,
                exchange_public=record.exchange_public,
                record=blob,
            )
        )

    def _mdns_seen(self, sighting: MdnsSighting) -> None:
        if sighting.peer_id == self._identity.peer_id:
            hosts = ", ".join(each.host for each in sighting.candidates[:3])
            if self._twin.seen_at(hosts, time.time()):
                self._warn_of_twin()
            return
        for topic_id in sighting.topic_ids:
            self.on_found(
                Found(sighting.peer_id, topic_id, "mdns", sighting.candidates, None, None)
            )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _mdns(
    peer_id: PeerId,
    on_seen: Callable[[MdnsSighting], None],
    addresses: Callable[[], Sequence[InterfaceAddress]],
) -> Mdns:
    # Its library takes three megabytes, wanted or not.
    from hdpd.discovery.mdns import Mdns  # noqa: PLC0415

    return Mdns(peer_id, on_seen, addresses=addresses)
