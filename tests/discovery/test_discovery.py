"""Discovery as a whole: peers of one topic find each other, strangers find nobody."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from hdpd.backoff import Backoff
from hdpd.config import MqttServer
from hdpd.discovery import discovery, mqtt
from hdpd.discovery.discovery import Discovery, Found
from hdpd.discovery.mqtt import SUBTOPIC_PREFIX
from hdpd.discovery.records import RECORD_BYTES, Candidate, open_record
from hdpd.errors import ProtocolError
from hdpd.identity.keys import Identity, PeerId
from hdpd.identity.topics import Topic
from tests.mosquitto import Mosquitto, broker, needs_mosquitto
from tests.waiting import News, until

__all__ = ["broker"]

PARTY = Topic.from_master("party", os.urandom(32))
CHOIR = Topic.from_master("choir", os.urandom(32))
TELLER = PeerId(b"t" * 32)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "RETRY", Backoff(first=0.05, longest=0.2))


class Peer:
    """A Discovery with one address, that remembers whom it found."""

    def __init__(self, seed: bytes, *servers: MqttServer, mdns: bool = False) -> None:
        self.identity = Identity.from_seed(seed * 32)
        self.candidates = [Candidate("192.0.2.1", seed[0], "stun")]
        self.found: list[Found] = []
        self._news = News()
        self.discovery = Discovery(
            self.identity,
            lambda: self.candidates,
            itertools.count(int(time.time() * 1000)).__next__,
            servers,
            mdns=mdns,
        )
        self.discovery.on_found = self._found

    def _found(self, found: Found) -> None:
        self.found.append(found)
        self._news.tell()

    async def until(self, condition: Callable[[Found], object]) -> Found:
        """The first peer found, from now on or before, for which the condition holds."""
        return await self._news.until(lambda: next(filter(condition, self.found), None))

    async def finds(self, other: Peer, topic: Topic = PARTY) -> Found:
        return await self.until(
            lambda found: (
                (found.peer_id, found.topic_id) == (other.identity.peer_id, topic.public_id)
            )
        )


async def start(*peers: Peer) -> None:
    for peer in peers:
        await peer.discovery.start(1234)


async def close(*peers: Peer) -> None:
    await asyncio.gather(*(peer.discovery.close() for peer in peers))


@needs_mosquitto
async def test_two_meet_at_a_broker(broker: Mosquitto) -> None:
    anna, bert = Peer(b"a", broker.server), Peer(b"b", broker.server)
    for peer in (anna, bert):
        peer.discovery.set_topics([PARTY])
    await start(anna)
    await start(bert)
    found = await anna.finds(bert)
    assert found.found_by == "mqtt"
    assert found.candidates == (Candidate("192.0.2.1", ord("b"), "stun"),)
    assert found.exchange_public == bert.identity.exchange_public
    assert found.record is not None
    assert open_record(found.record, PARTY, time.time()).peer_id == bert.identity.peer_id
    await bert.finds(anna)
    assert anna.discovery.status().mdns is None
    await close(anna, bert)
    assert {found.peer_id for found in anna.found} == {bert.identity.peer_id}


@needs_mosquitto
async def test_who_joins_later_is_found_and_who_left_finds_nobody(broker: Mosquitto) -> None:
    anna, bert, mia = (Peer(seed, broker.server) for seed in (b"a", b"b", b"m"))
    anna.discovery.set_topics([PARTY])
    bert.discovery.set_topics([PARTY, CHOIR])
    mia.discovery.set_topics([CHOIR])
    await start(anna, bert, mia)
    await anna.finds(bert)
    await bert.finds(mia, CHOIR)
    assert mia.identity.peer_id not in {found.peer_id for found in anna.found}
    mia.discovery.set_topics([CHOIR, PARTY])
    await anna.finds(mia)
    await mia.finds(anna)
    mia.found.clear()
    mia.discovery.set_topics([])
    anna.discovery.candidates_changed()
    bert.found.clear()
    await bert.finds(anna)
    assert mia.found == []
    await close(anna, bert, mia)


@needs_mosquitto
async def test_a_changed_address_is_announced(broker: Mosquitto) -> None:
    anna, bert = Peer(b"a", broker.server), Peer(b"b", broker.server)
    for peer in (anna, bert):
        peer.discovery.set_topics([PARTY])
    await start(anna, bert)
    await anna.finds(bert)
    bert.candidates = [Candidate("fe80::1%1", 5, "local"), Candidate("198.51.100.9", 5, "stun")]
    bert.discovery.candidates_changed()
    await anna.until(lambda found: found.candidates == (Candidate("198.51.100.9", 5, "stun"),))
    await close(anna, bert)


@needs_mosquitto
async def test_they_meet_again_after_the_broker_restarted(broker: Mosquitto) -> None:
    anna, bert = Peer(b"a", broker.server), Peer(b"b", broker.server)
    for peer in (anna, bert):
        peer.discovery.set_topics([PARTY])
    await start(anna, bert)
    await asyncio.gather(anna.finds(bert), bert.finds(anna))
    await asyncio.to_thread(broker.stop)
    anna.found.clear()
    await asyncio.to_thread(broker.start)
    await anna.finds(bert)
    await close(anna, bert)


@needs_mosquitto
async def test_a_flood_is_dropped_before_it_is_decrypted(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bytes] = []

    def note_and_refuse(blob: bytes, _topic: Topic, _now: float) -> None:
        opened.append(blob)
        raise ProtocolError("counted")

    monkeypatch.setattr(discovery, "open_record", note_and_refuse)
    anna = Peer(b"a", broker.server)
    anna.discovery.set_topics([PARTY])
    await start(anna)
    await until(lambda: opened)  # its own announcement, as the broker returned it
    stranger = paho.Client(CallbackAPIVersion.VERSION2)
    stranger.connect("127.0.0.1", broker.port)
    stranger.loop_start()
    begun = time.monotonic()
    for _ in range(1000):
        stranger.publish(SUBTOPIC_PREFIX + PARTY.public_id.hex(), os.urandom(RECORD_BYTES))
    await until(lambda: anna.discovery._mqtt._brokers[0]._packets > 300)
    assert 50 <= len(opened) <= 50 + 51 * (time.monotonic() - begun)
    stranger.disconnect()
    stranger.loop_stop()
    await close(anna)


async def test_two_meet_by_mdns_without_any_broker() -> None:
    anna, bert = Peer(b"a", mdns=True), Peer(b"b", mdns=True)
    for peer in (anna, bert):
        peer.discovery.set_topics([PARTY])
    await start(anna, bert)
    found = await anna.finds(bert)
    assert (found.found_by, found.exchange_public, found.record) == ("mdns", None, None)
    await bert.finds(anna)
    await anna.discovery.network_changed()
    await close(anna, bert)


async def test_gossip_counts_for_common_topics_and_once() -> None:
    anna, bert = Peer(b"a"), Peer(b"b")
    anna.discovery.set_topics([PARTY, CHOIR])
    blob = bert.discovery.own_record(PARTY)
    with pytest.raises(ProtocolError):
        anna.discovery.receive_gossip(blob, [CHOIR.public_id, b"unknown"], TELLER)
    assert anna.found == []
    for _ in range(2):
        anna.discovery.receive_gossip(blob, [CHOIR.public_id, PARTY.public_id], TELLER)
    assert [found.found_by for found in anna.found] == ["gossip"]
    anna.discovery.receive_gossip(anna.discovery.own_record(PARTY), [PARTY.public_id], TELLER)
    assert len(anna.found) == 1
