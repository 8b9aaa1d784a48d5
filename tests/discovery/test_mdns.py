"""mDNS on the interfaces of this machine, and in a network namespace of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence

import pytest
from zeroconf import ServiceInfo

from hdpd.discovery import mdns
from hdpd.discovery.mdns import Mdns, MdnsSighting
from hdpd.identity.keys import Identity, PeerId
from hdpd.identity.topics import Topic
from hdpd.link.interfaces import InterfaceAddress, interface_addresses
from tests.waiting import News

# Other machines and other tests share the network, so topics and peers are this test's own.
ANNA = Identity.from_seed(os.urandom(32)).peer_id
BERT = Identity.from_seed(os.urandom(32)).peer_id
TOPICS = tuple(Topic.from_master(f"topic {number}", os.urandom(32)) for number in range(12))


class Watcher:
    """An Mdns that remembers what it saw."""

    def __init__(
        self,
        peer_id: PeerId,
        addresses: Callable[[], Sequence[InterfaceAddress]] = interface_addresses,
    ) -> None:
        self.mdns = Mdns(peer_id, self._seen, addresses=addresses)
        self.sightings: list[MdnsSighting] = []
        self._news = News()

    def _seen(self, sighting: MdnsSighting) -> None:
        self.sightings.append(sighting)
        self._news.tell()

    async def until(self, condition: Callable[[MdnsSighting], object]) -> MdnsSighting:
        """The first new sighting for which the condition holds."""
        found = await self._news.until(lambda: next(filter(condition, self.sightings), None))
        self.sightings.clear()
        return found


def of(peer_id: PeerId, *topics: Topic) -> Callable[[MdnsSighting], bool]:
    wanted = {topic.public_id for topic in topics}
    return lambda seen: seen.peer_id == peer_id and set(seen.topic_ids) == wanted


async def test_two_on_one_network_see_each_other_for_their_common_topics() -> None:
    anna, bert = Watcher(ANNA), Watcher(BERT)
    anna.mdns.set_topics(TOPICS[:3])
    bert.mdns.set_topics(TOPICS[1:4])
    await anna.mdns.start(1111)
    await bert.mdns.start(2222)
    begun = time.monotonic()
    seen = await anna.until(of(BERT, *TOPICS[1:3]))
    assert time.monotonic() - begun < 1
    assert {candidate.port for candidate in seen.candidates} == {2222}
    assert {candidate.kind for candidate in seen.candidates} == {"local"}
    await bert.until(of(ANNA, *TOPICS[1:3]))
    assert anna.mdns.status().advertised is True
    await asyncio.gather(anna.mdns.close(), bert.mdns.close())
    assert all(sighting.peer_id == BERT for sighting in anna.sightings)


async def test_topics_that_are_joined_later_are_seen_on_both_sides() -> None:
    anna, bert = Watcher(ANNA), Watcher(BERT)
    anna.mdns.set_topics(TOPICS[:1])
    bert.mdns.set_topics(TOPICS[1:2])
    await asyncio.gather(anna.mdns.start(1111), bert.mdns.start(2222))
    bert.mdns.set_topics(TOPICS[:2])
    await anna.until(of(BERT, TOPICS[0]))
    await bert.until(of(ANNA, TOPICS[0]))
    await asyncio.gather(anna.mdns.close(), bert.mdns.close())


async def test_more_topics_than_slots_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdns, "ROTATION_S", 0.2)
    anna, bert = Watcher(ANNA), Watcher(BERT)
    anna.mdns.set_topics(TOPICS)
    bert.mdns.set_topics(TOPICS[-1:])
    await asyncio.gather(anna.mdns.start(1111), bert.mdns.start(2222))
    await bert.until(of(ANNA, TOPICS[-1]))
    await asyncio.gather(anna.mdns.close(), bert.mdns.close())


async def test_a_changed_network_brings_new_labels_and_a_new_sighting() -> None:
    anna, bert = Watcher(ANNA), Watcher(BERT)
    for watcher in (anna, bert):
        watcher.mdns.set_topics(TOPICS[:1])
    await asyncio.gather(anna.mdns.start(1111), bert.mdns.start(2222))
    await anna.until(of(BERT, TOPICS[0]))
    before = bert.mdns._advert
    await bert.mdns.network_changed()
    await anna.until(of(BERT, TOPICS[0]))
    after = bert.mdns._advert
    assert before is not None
    assert after is not None
    assert before.name != after.name
    assert before.server != after.server
    await asyncio.gather(anna.mdns.close(), bert.mdns.close())


async def test_adverts_that_are_not_ours_are_ignored() -> None:
    anna = Watcher(ANNA)
    anna.mdns.set_topics(TOPICS[:1])
    await anna.mdns.start(1111)
    zeroconf = anna.mdns._zeroconf
    assert zeroconf is not None
    for number, properties in enumerate(({}, {"n": b"short"}, {"n": b"x" * 12, "0": b"y" * 48})):
        info = ServiceInfo(
            mdns.SERVICE_TYPE,
            f"garbage{number}-{os.getpid()}.{mdns.SERVICE_TYPE}",
            port=number,
            properties=properties,
            parsed_addresses=["127.0.0.1"],
        )
        await (await zeroconf.async_register_service(info, cooperating_responders=True))
    assert anna.sightings == []
    await anna.mdns.close()


async def test_without_interfaces_it_starts_and_goes_on_when_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mdns, "POLL_S", 0.05)
    addresses: list[InterfaceAddress] = []
    anna, bert = Watcher(ANNA, lambda: addresses), Watcher(BERT, lambda: addresses)
    for watcher in (anna, bert):
        watcher.mdns.set_topics(TOPICS[:1])
        await watcher.mdns.start(1111)
    assert anna.mdns.status().advertised is False
    assert "interface" in str(anna.mdns.status().error)
    addresses += interface_addresses()
    await anna.until(of(BERT, TOPICS[0]))
    await asyncio.gather(anna.mdns.close(), bert.mdns.close())


IN_A_NAMESPACE = """
    import asyncio, subprocess
    from hdpd.discovery import mdns
    from hdpd.identity.keys import Identity
    from hdpd.identity.topics import Topic

    async def main():
        mdns.POLL_S = 0.05
        topic = Topic.from_master("party", bytes(32))
        seen = asyncio.Event()
        def note(sighting):
            print(*sorted(each.host for each in sighting.candidates), flush=True)
            seen.set()
        peers = [Identity.from_seed(bytes([number]) * 32).peer_id for number in (1, 2)]
        both = [mdns.Mdns(peer_id, note) for peer_id in peers]
        for port, each in enumerate(both, 1):
            each.set_topics((topic,))
            await each.start(port)
        assert not both[0].status().advertised
        for command in COMMANDS:
            seen.clear()
            subprocess.run(command, shell=True, check=True)
            await asyncio.wait_for(seen.wait(), 10)
        await asyncio.gather(*(each.close() for each in both))

    asyncio.run(main())
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root (network namespaces)")
def test_interfaces_may_come_and_go() -> None:
    """Starts with no interface at all, then only loopback, then a network card appears."""
    card = "ip link add veth0 type veth peer name veth1; ip link set veth1 up; ip link set veth0 up"
    commands = ["ip link set lo up", f"{card}; ip addr add 192.0.2.9/24 dev veth0"]
    script = textwrap.dedent(IN_A_NAMESPACE).replace("COMMANDS", repr(commands))
    run = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("127.0.0.1")
    assert "192.0.2.9" in run.stdout
