"""Asking routers for a mapping: a scripted router on loopback, and which protocol is chosen."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from hdpd.backoff import Backoff
from hdpd.config import HostPort
from hdpd.errors import ProtocolError, TimedOut
from hdpd.nat import gateway, natpmp, pcp, port_mapper
from hdpd.nat.gateway import Granted, PcpWay, PmpWay
from hdpd.nat.port_mapper import _Door
from hdpd.nat.report import MappingProtocol
from hdpd.nat.routes import DefaultRoute
from hdpd.nat.upnp import unmap_request
from hdpd.nat.upnp_jobs import Outcome
from tests.waiting import until

HERE = "127.0.0.1"
NONCE = b"n" * 12
EXTERNAL = HostPort("198.51.100.7", 4000)
V4_PREFIX = bytes(10) + b"\xff\xff"

Answer = Callable[[bytes], bytes | None]


class Router(asyncio.DatagramProtocol):
    """Answers each datagram as `answer` says; keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[bytes] = []
        self._answer = answer

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked.append(data)
        answer = self._answer(data)
        if answer is not None:
            self._transport.sendto(answer, addr)


@contextlib.asynccontextmanager
async def router(answer: Answer, patch: pytest.MonkeyPatch) -> AsyncIterator[Router]:
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(
        lambda: Router(answer), local_addr=(HERE, 0)
    )
    for module in (pcp, natpmp):
        patch.setattr(module, "SERVER_PORT", transport.get_extra_info("sockname")[1])
    try:
        yield made
    finally:
        transport.close()


def speaks_pcp(request: bytes) -> bytes | None:
    if request[0] != 2:
        return None
    header = bytes([2, request[1] | 0x80, 0, 0]) + request[4:8] + bytes(16)
    if request[1] == 0:
        return header
    return (
        header + request[24:42] + struct.pack("!H", EXTERNAL.port) + V4_PREFIX + b"\xc6\x33\x64\x07"
    )


def speaks_nat_pmp(request: bytes) -> bytes | None:
    if request[0] == 2:
        return bytes([0, 0x81, 0, 1]) + bytes(4)
    if request[1] == 0:
        return bytes.fromhex("0080000000000063c6336407")
    return bytes.fromhex("0081000000000063") + request[4:6] + b"\x0f\xa0" + request[8:12]


async def test_pcp_maps_renews_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with router(speaks_pcp, monkeypatch) as made:
        way = PcpWay(HERE, HERE, NONCE)
        assert await way.is_spoken()
        granted = await way.map(3031, None)
        assert granted == Granted(EXTERNAL, gateway.LIFETIME_S)
        assert await way.map(3031, granted.external) == granted
        await way.unmap()
        lifetimes = [int.from_bytes(each[4:8]) for each in made.asked[1:]]
        assert lifetimes == [gateway.LIFETIME_S, gateway.LIFETIME_S, 0]
        assert {each[24:36] for each in made.asked[1:]} == {NONCE}


async def test_nat_pmp_maps_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with router(speaks_nat_pmp, monkeypatch) as made:
        assert not await PcpWay(HERE, HERE, NONCE).is_spoken()
        way = PmpWay(HERE, HERE)
        assert await way.is_spoken()
        assert await way.map(3031, None) == Granted(EXTERNAL, gateway.LIFETIME_S)
        await way.unmap()
        assert made.asked[-1] == natpmp.map_request(3031, 0, 0)


async def test_a_silent_router_speaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "RETRANSMIT_S", (0.01, 0.01, 0.01))
    async with router(lambda _: None, monkeypatch) as made:
        assert not await PcpWay(HERE, HERE, NONCE).is_spoken()
        assert not await PmpWay(HERE, HERE).is_spoken()
        with pytest.raises(TimedOut):
            await PmpWay(HERE, HERE).map(3031, None)
        assert len(made.asked) == 9


async def test_garbage_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "RETRANSMIT_S", (0.05, 0.05))
    junk = iter([b"", b"\x02", b"\x02\x81" + bytes(58), bytes(1400)])

    def answer(request: bytes) -> bytes | None:
        return next(junk, None)

    async with router(answer, monkeypatch):
        with pytest.raises(TimedOut):
            await PcpWay(HERE, HERE, NONCE).map(3031, None)


# Which protocol is chosen.


class FakeWay:
    """A protocol that does as it is told."""

    def __init__(
        self, protocol: MappingProtocol, *, spoken: bool, refusal: str | None = None
    ) -> None:
        self.protocol: MappingProtocol = protocol
        self.spoken = spoken
        self.refusal = refusal
        self.mapped = 0
        self.unmapped = 0
        self.checked = 0

    async def is_spoken(self) -> bool:
        return self.spoken

    async def map(self, port: int, suggested: HostPort | None) -> Granted:
        if self.refusal is not None:
            raise ProtocolError(self.refusal)
        self.mapped += 1
        return Granted(EXTERNAL, 3600)

    async def check(self, port: int, granted: Granted) -> Granted:
        self.checked += 1
        if self.refusal is not None:
            raise ProtocolError(self.refusal)
        return granted

    async def unmap(self) -> None:
        self.unmapped += bool(self.mapped)


ROUTE = DefaultRoute("eth0", "192.168.1.1", 0, 4)


async def states(ways: list[FakeWay]) -> list[str]:
    """What becomes of these protocols; the door is closed at the end."""
    door = _Door("192.168.1.10", ROUTE, 3031, ways, lambda: None)
    try:
        await until(lambda: all(each.state != "asking" for each in door.mappings))
        return [each.state for each in door.mappings]
    finally:
        await door.close()


async def test_the_first_that_is_spoken_maps_and_the_others_do_not() -> None:
    ways = [
        FakeWay("pcp", spoken=False),
        FakeWay("nat-pmp", spoken=True),
        FakeWay("upnp", spoken=True),
    ]
    assert await states(ways) == ["absent", "mapped", "answers"]
    assert [way.mapped for way in ways] == [0, 1, 0]
    assert [way.unmapped for way in ways] == [0, 1, 0]


async def test_after_a_refusal_the_next_is_tried() -> None:
    ways = [FakeWay("pcp", spoken=True, refusal="no"), FakeWay("upnp", spoken=True)]
    assert await states(ways) == ["refused", "mapped"]


async def test_a_changed_network_is_looked_at_anew() -> None:
    way = FakeWay("pcp", spoken=True)
    door = _Door("192.168.1.10", ROUTE, 3031, [way], lambda: None)
    await until(lambda: way.mapped == 1)
    door.try_now()
    await until(lambda: way.checked == 1)
    await door.close()
    assert way.unmapped == 1


async def test_what_the_router_has_lost_is_mapped_again_within_two_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert port_mapper.CHECK_S + port_mapper.RETRY.longest + 10 < 150
    assert port_mapper.RETRY.longest < 120
    monkeypatch.setattr(port_mapper, "CHECK_S", 0.05)
    monkeypatch.setattr(port_mapper, "RETRY", Backoff(0.05, 80.0))
    way = FakeWay("upnp", spoken=True)
    door = _Door("192.168.1.10", ROUTE, 3031, [way], lambda: None)
    await until(lambda: way.mapped == 1)
    way.refusal = "forgotten"
    await until(lambda: door.mappings[0].state == "refused")
    assert door.mappings[0].external is None
    way.refusal = None
    await until(lambda: door.mappings[0].state == "mapped")
    assert way.mapped == 2
    await door.close()


async def test_a_look_on_request_tells_what_is_so_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_mapper, "FRESH_S", 0.0)
    way = FakeWay("pcp", spoken=True)
    door = _Door("192.168.1.10", ROUTE, 3031, [way], lambda: None)
    await until(lambda: door.mappings[0].state == "mapped")
    await door.verify()
    told = [door.mappings[0].state]
    way.refusal = "forgotten"
    await door.verify()
    told.append(door.mappings[0].state)
    assert told == ["mapped", "refused"]
    await door.close()


# The end of a UPnP mapping.


def test_a_upnp_mapping_is_ended_by_one_request() -> None:
    mapped = Outcome(
        "198.51.100.7", 4000, 3600, "http://192.168.1.1:5000/ctl/IPConn?x=1", 'a"service'
    )
    head, _, body = unmap_request(mapped).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /ctl/IPConn?x=1 HTTP/1.1"
    assert "Host: 192.168.1.1:5000" in lines
    assert 'SOAPAction: "a&quot;service#DeletePortMapping"' in lines
    assert f"Content-Length: {len(body)}" in lines
    assert b"<NewExternalPort>4000</NewExternalPort><NewProtocol>UDP</NewProtocol>" in body


def test_a_router_cannot_smuggle_lines_into_that_request() -> None:
    mapped = Outcome("2001:db8::5", 1, 1, "http://[fd00::1]/a b", "x\r\nEvil: 1", pinhole=7)
    head, _, body = unmap_request(mapped).partition(b"\r\n\r\n")
    assert b"\r\nEvil" not in head
    assert b"POST /a%20b HTTP/1.1" in head
    assert b"<UniqueID>7</UniqueID>" in body
