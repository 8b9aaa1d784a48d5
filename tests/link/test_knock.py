"""Who may begin a connection: knocks, and that a port scanner gets not one byte back."""

from __future__ import annotations

import asyncio
import secrets
import socket

import pytest

from hdpd.link.demux import KNOCK
from hdpd.link.engine import EngineFactory
from hdpd.link.knock import (
    KNOCK_BYTES,
    MAX_CHECKS_PER_S,
    MAX_NONCES,
    MAX_OPEN_ADDRESSES,
    NONCE_BYTES,
    OPEN_S,
    KnockGate,
    make_knock,
)
from tests.link.helpers import Node, identity, nodes, topic, udp_client
from tests.waiting import until

HERE = identity(1).peer_id
ELSEWHERE = identity(2).peer_id
PARTY = topic("party")
NONCE = bytes(range(16))


def gate(*names: str) -> KnockGate:
    made = KnockGate(HERE)
    made.set_topics([topic(name) for name in names or ("party",)])
    return made


def test_a_knock_opens_its_address_for_a_while() -> None:
    here = gate()
    assert not here.is_open("A", 100.0)
    assert here.receive(make_knock(PARTY, HERE, NONCE), "A", 100.0)
    assert here.is_open("A", 100.0 + OPEN_S)
    assert not here.is_open("A", 100.1 + OPEN_S)
    assert not here.is_open("B", 100.0)


def test_a_knock_has_the_published_form() -> None:
    made = make_knock(PARTY, HERE, NONCE)
    assert len(made) == KNOCK_BYTES == 33
    assert made[0] == KNOCK == 4
    assert made[1:17] == NONCE


@pytest.mark.parametrize(
    "datagram",
    [
        make_knock(topic("another"), HERE, NONCE),
        make_knock(PARTY, ELSEWHERE, NONCE),
        make_knock(PARTY, HERE, NONCE)[:-1],
        make_knock(PARTY, HERE, NONCE) + b"\0",
        make_knock(PARTY, HERE, NONCE)[:-1] + b"\0",
        b"\x05" + make_knock(PARTY, HERE, NONCE)[1:],
        bytes(33),
        b"",
    ],
)
def test_anything_else_opens_nothing(datagram: bytes) -> None:
    here = gate()
    assert not here.receive(datagram, "A", 1.0)
    assert not here.is_open("A", 1.0)
    assert here.refused == 1


def test_a_replayed_knock_opens_nothing() -> None:
    here = gate()
    seen = make_knock(PARTY, HERE, NONCE)
    assert here.receive(seen, "A", 1.0)
    assert not here.receive(seen, "B", 2.0)
    assert not here.is_open("B", 2.0)
    assert not here.receive(seen, "A", 1.0 + OPEN_S)
    assert not here.is_open("A", 1.5 + OPEN_S), "a replay must not keep the address open"


def test_each_topic_opens_until_it_is_left() -> None:
    here = gate("party", "another")
    assert here.receive(make_knock(topic("another"), HERE, NONCE), "A", 1.0)
    here.set_topics([PARTY])
    assert not here.receive(make_knock(topic("another"), HERE, b"n" * 16), "B", 1.0)
    assert here.receive(make_knock(PARTY, HERE, b"m" * 16), "B", 1.0)


def test_without_topics_nobody_is_let_in() -> None:
    here = KnockGate(HERE)
    assert not here.receive(make_knock(PARTY, HERE, NONCE), "A", 1.0)


def test_open_addresses_and_nonces_are_bounded_and_the_oldest_go() -> None:
    here = gate()
    total = MAX_NONCES + 10
    for number in range(total):
        made = make_knock(PARTY, HERE, number.to_bytes(NONCE_BYTES, "big"))
        assert here.receive(made, number, 100.0 + number * 0.001)
    assert len(here._open) == MAX_OPEN_ADDRESSES
    assert len(here._nonces) == MAX_NONCES
    now = 100.0 + total * 0.001
    assert here.is_open(total - 1, now)
    assert not here.is_open(total - MAX_OPEN_ADDRESSES - 1, now)


def test_checks_are_bounded_each_second() -> None:
    here = gate("party", "another")
    wrong = [b"\x04" + secrets.token_bytes(32) for _ in range(MAX_CHECKS_PER_S // 2 + 1)]
    for datagram in wrong:
        here.receive(datagram, "scanner", 50.0)
    good = make_knock(PARTY, HERE, NONCE)
    assert not here.receive(good, "A", 50.0), "the flood used up this second"
    assert here.receive(good, "A", 50.1), "and a moment later the same knock is good"


def test_a_knock_in_time_survives_a_flood_of_nonces_by_others() -> None:
    """Knocks that are refused are not remembered: a stranger cannot push out seen nonces."""
    here = gate()
    seen = make_knock(PARTY, HERE, NONCE)
    assert here.receive(seen, "A", 1.0)
    for _ in range(1000):
        here.receive(b"\x04" + secrets.token_bytes(32), "scanner", 2.0)
    assert not here.receive(seen, "B", 3.0)


def strange_datagrams() -> list[bytes]:
    """What a scanner sends: Initials of a real client, other QUIC, knocks, probes, noise."""
    initial = EngineFactory("aioquic", identity(9).certificate()).connect(0.0)
    seen = make_knock(PARTY, HERE, NONCE)
    return [
        *initial.datagrams_to_send(0.0),
        b"\xc0\xff\x00\x00\x1d\x08" + bytes(1200),  # another version: no negotiation either
        b"\x40" + bytes(1199),  # a stateless reset may not be provoked
        b"\xe0\x00\x00\x00\x01\x08" + bytes(1200),
        b"",
        b"\0",
        *(secrets.token_bytes(size) for size in (1, 8, 21, 33, 100, 1200, 1452)),
        *(bytes([first]) + secrets.token_bytes(32) for first in range(256)),
        seen[:-1],
        make_knock(PARTY, ELSEWHERE, NONCE),
        make_knock(topic("another"), HERE, NONCE),
        b"\0\x01\0\0\x21\x12\xa4\x42" + bytes(12),  # STUN
        b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01",  # DNS
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_port_scanner_gets_not_one_byte(host: str) -> None:
    server = Node(who=identity(1), host=host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    async with nodes(server):
        with udp_client(family) as scanner, udp_client(family) as member:
            # A member's knock, seen on the wire, replayed by the scanner from its own address.
            seen = make_knock(PARTY, HERE, NONCE)
            member.sendto(seen, server.address)
            await until(lambda: server.endpoint.gate._open, "the member's knock")
            for datagram in [seen, *strange_datagrams()]:
                scanner.sendto(datagram, server.address)
                await asyncio.sleep(0)
            # What was sent before this knock has been handled once the knock has been.
            opened = len(server.endpoint.gate._open)
            member.sendto(make_knock(PARTY, HERE, b"m" * 16), server.address)
            nonces = server.endpoint.gate._nonces
            await until(lambda: b"m" * 16 in nonces, "the last datagram")
            assert len(server.endpoint.gate._open) == opened == 1
            assert not server.connections
            for client in (scanner, member):
                with pytest.raises(BlockingIOError):
                    client.recv(2000)


async def test_an_initial_after_a_knock_is_answered() -> None:
    """The counterpart: the scanner's silence is not that of a dead endpoint."""
    server = Node(who=identity(1))
    async with nodes(server):
        with udp_client() as member:
            member.sendto(make_knock(PARTY, HERE, NONCE), server.address)
            client = EngineFactory("aioquic", identity(9).certificate()).connect(0.0)
            for datagram in client.datagrams_to_send(0.0):
                member.sendto(datagram, server.address)
            await until(lambda: server.connections, "the connection")
            received = await asyncio.get_running_loop().sock_recv(member, 2000)
            assert received[0] & 0x80
