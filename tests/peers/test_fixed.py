"""Peers with an address in hdpd.toml are looked for there until they are connected."""

from __future__ import annotations

import pytest

from hdpd.config import HostPort
from hdpd.config.peer_rules import PeerRule
from hdpd.discovery.discovery import Found
from hdpd.identity.keys import Identity, PeerId
from hdpd.identity.topics import Topic
from hdpd.peers import fixed
from hdpd.peers.fixed import FixedAddresses
from tests.waiting import until

ANNA, BERT = (Identity.from_seed(bytes([n]) * 32).peer_id for n in (1, 2))
TOPICS = tuple(Topic.from_master(f"topic {n}", bytes([n]) * 32) for n in range(2))


async def test_they_are_told_to_be_at_each_topic_in_turn_until_they_are_connected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fixed, "AGAIN_S", 0.02)
    connected: dict[PeerId, str] = {}
    found: list[Found] = []
    addresses = FixedAddresses(lambda: TOPICS, connected.get)
    addresses.on_found = found.append
    addresses.set(
        [
            PeerRule(ANNA.text, address=HostPort("127.0.0.1", 3031)),
            PeerRule(BERT.text, favourite=True),
        ]
    )
    addresses.start()
    await until(lambda: len(found) >= 3)
    assert {each.peer_id for each in found} == {ANNA}
    assert [each.topic_id for each in found[:3]] == [TOPICS[n].public_id for n in (0, 1, 0)]
    assert [(each.host, each.port) for each in found[0].candidates] == [("127.0.0.1", 3031)]
    connected[ANNA] = "a session"
    found.clear()
    await until(lambda: addresses._rounds > 10)
    assert len(found) <= 1
    await addresses.close()


async def test_what_a_reload_brings_is_looked_up_at_once() -> None:
    found: list[Found] = []
    addresses = FixedAddresses(lambda: TOPICS, lambda who: None)
    addresses.on_found = found.append
    addresses.start()
    addresses.set([PeerRule(BERT.text, address=HostPort("localhost", 3031))])
    await until(lambda: found)
    assert found[0].peer_id == BERT
    await addresses.close()
