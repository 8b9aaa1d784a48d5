"""PCP, NAT-PMP, STUN and SSDP as bytes: what is sent, what is understood, what is refused."""

from __future__ import annotations

import contextlib

import pytest
from aioice import stun
from hypothesis import example, given
from hypothesis import strategies as st

from hdpd.config import HostPort
from hdpd.errors import ProtocolError
from hdpd.nat import natpmp, pcp, stun_codec
from hdpd.nat.upnp import parse_search_answer

ID = bytes(range(12))
NONCE = b"n" * 12
V4_PREFIX = bytes(10) + b"\xff\xff"


def binding_answer(**attributes: object) -> bytes:
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    return bytes(stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, ID, named))


# STUN


def test_a_binding_request_is_twenty_bytes_of_rfc_8489() -> None:
    assert stun_codec.binding_request(ID) == bytes.fromhex("000100002112a442") + ID
    changed = stun_codec.binding_request(ID, stun_codec.OTHER_ADDRESS_AND_PORT)
    assert changed[20:] == bytes.fromhex("0003000400000006")


def test_an_answer_tells_the_address_and_the_servers_other_one() -> None:
    answer = stun_codec.parse_answer(
        binding_answer(
            XOR_MAPPED_ADDRESS=("198.51.100.7", 3031), OTHER_ADDRESS=("203.0.113.3", 3479)
        )
    )
    assert answer.mapped == HostPort("198.51.100.7", 3031)
    assert answer.other == HostPort("203.0.113.3", 3479)


def test_an_old_server_without_xor_and_without_a_second_address_is_understood() -> None:
    answer = stun_codec.parse_answer(
        binding_answer(MAPPED_ADDRESS=("2001:db8::1", 9), CHANGED_ADDRESS=("0.0.0.0", 0))
    )
    assert answer == stun_codec.BindingAnswer(HostPort("2001:db8::1", 9), None)


def test_what_is_no_success_with_a_usable_address_is_refused() -> None:
    error = bytes(
        stun.Message(
            stun.Method.BINDING, stun.Class.ERROR, ID, {"ERROR-CODE": (420, "Unknown Attribute")}
        )
    )
    with pytest.raises(ProtocolError, match="420"):
        stun_codec.parse_answer(error)
    for refused in (
        binding_answer(),
        binding_answer(XOR_MAPPED_ADDRESS=("224.0.0.1", 1)),
        binding_answer(XOR_MAPPED_ADDRESS=("198.51.100.7", 0)),
        stun_codec.binding_request(ID),
        binding_answer(XOR_MAPPED_ADDRESS=("198.51.100.7", 1))[:-1],
    ):
        with pytest.raises(ProtocolError):
            stun_codec.parse_answer(refused)


def test_the_transaction_id_is_read_only_where_there_is_the_magic_cookie() -> None:
    request = stun_codec.binding_request(ID)
    assert stun_codec.transaction_id_of(request) == ID
    assert stun_codec.transaction_id_of(request[:4] + b"\0\0\0\0" + request[8:]) is None
    assert stun_codec.transaction_id_of(request[:19]) is None
    assert stun_codec.transaction_id_of(request + bytes(1100)) is None


@given(st.binary(max_size=120), st.integers(0, 60))
@example(b"\x80\x28\x00\x02\x00\x00", 0)  # a fingerprint of two bytes made the codec raise
def test_no_datagram_makes_the_stun_parser_raise_anything_else(tail: bytes, cut: int) -> None:
    head = b"\x01\x01" + len(tail).to_bytes(2) + stun.COOKIE.to_bytes(4) + ID
    for datagram in (tail, head + tail, (head + tail)[cut:]):
        with contextlib.suppress(ProtocolError):
            stun_codec.parse_answer(datagram)


# PCP


def map_answer(result: int = 0, nonce: bytes = NONCE, lifetime: int = 3600) -> bytes:
    header = bytes([2, 0x81, 0, result]) + lifetime.to_bytes(4) + (99).to_bytes(4) + bytes(12)
    body = nonce + bytes([17, 0, 0, 0]) + (3031).to_bytes(2) + (4000).to_bytes(2)
    return header + body + V4_PREFIX + bytes([198, 51, 100, 7])


def test_a_pcp_request_is_as_rfc_6887_draws_it() -> None:
    request = pcp.map_request(NONCE, "192.168.1.10", 3031, HostPort("0.0.0.0", 3031), 3600)
    own = V4_PREFIX + bytes([192, 168, 1, 10])
    header = bytes([2, 1, 0, 0]) + (3600).to_bytes(4) + own
    ports = bytes([17, 0, 0, 0]) + (3031).to_bytes(2) * 2
    assert request == header + NONCE + ports + V4_PREFIX + bytes(4)
    assert len(pcp.announce_request("2001:db8::1")) == 24


def test_a_pcp_answer_tells_the_external_address_and_how_long() -> None:
    mapping = pcp.parse_map_answer(map_answer(), NONCE, 3031)
    assert mapping == pcp.PcpMapping(HostPort("198.51.100.7", 4000), 3600, 99)


@pytest.mark.parametrize(
    ("before", "now", "elapsed", "restarted"),
    [
        (100, 160, 60.0, False),
        (100, 161, 59.0, False),
        (100, 157, 60.0, False),  # a slow clock
        (100, 99, 0.2, False),
        (100, 3, 60.0, True),
        (100, 120, 60.0, True),  # it was away for a while
        (100, 5000, 60.0, True),
    ],
)
def test_the_epoch_of_a_router_tells_that_it_has_restarted(
    before: int, now: int, elapsed: float, restarted: bool
) -> None:
    assert pcp.has_restarted(before, now, elapsed) == restarted


def test_the_epoch_is_in_the_answer_to_an_announcement() -> None:
    answer = bytes([2, 0x80, 0, 0]) + bytes(4) + (7).to_bytes(4) + bytes(12)
    assert pcp.parse_epoch(answer) == 7
    assert pcp.parse_epoch(answer[:-1]) is None
    assert pcp.parse_epoch(pcp.announce_request("2001:db8::1")) is None


def test_pcp_answers_to_others_are_not_ours() -> None:
    assert pcp.parse_map_answer(map_answer(nonce=b"x" * 12), NONCE, 3031) is None
    assert pcp.parse_map_answer(map_answer(), NONCE, 3032) is None
    assert pcp.parse_map_answer(map_answer()[:40], NONCE, 3031) is None
    assert pcp.parse_map_answer(bytes([0]) + map_answer()[1:], NONCE, 3031) is None


def test_a_pcp_refusal_says_why() -> None:
    with pytest.raises(ProtocolError, match="does not allow"):
        pcp.parse_map_answer(map_answer(result=2), NONCE, 3031)
    with pytest.raises(ProtocolError, match="77"):
        pcp.parse_map_answer(map_answer(result=77), NONCE, 3031)


def test_whether_pcp_is_spoken() -> None:
    assert pcp.is_answer(bytes([2, 0x80, 0, 0]) + bytes(20)) is True
    assert pcp.is_answer(bytes([0, 0x80, 0, 1]) + bytes(4)) is False  # NAT-PMP only
    assert pcp.is_answer(pcp.announce_request("192.168.1.10")) is None


# NAT-PMP


def test_nat_pmp_requests_and_answers_are_as_in_rfc_6886() -> None:
    assert natpmp.map_request(3031, 4000, 3600) == bytes.fromhex("00010000 0bd7 0fa0 00000e10")
    address = natpmp.parse_address_answer(bytes.fromhex("0080000000000063 c6336407"))
    assert address == "198.51.100.7"
    mapping = natpmp.parse_map_answer(bytes.fromhex("0081000000000063 0bd7 0fa0 00000e10"), 3031)
    assert mapping == natpmp.PmpMapping(4000, 3600)


def test_nat_pmp_answers_of_other_kinds_are_passed_over_and_refusals_named() -> None:
    assert (
        natpmp.parse_map_answer(bytes.fromhex("0081000000000063 0bd8 0fa0 00000e10"), 3031) is None
    )
    assert natpmp.parse_address_answer(bytes.fromhex("0081000000000063 c6336407")) is None
    assert natpmp.parse_address_answer(b"") is None
    with pytest.raises(ProtocolError, match="not allow"):
        natpmp.parse_map_answer(bytes.fromhex("00810002 00000063"), 3031)
    with pytest.raises(ProtocolError, match="too short"):
        natpmp.parse_address_answer(bytes.fromhex("00800000 00"))


@given(st.binary(max_size=80))
def test_no_datagram_makes_the_mapping_parsers_raise_anything_else(tail: bytes) -> None:
    for datagram in (tail, b"\x02\x81" + tail, b"\x00\x81" + tail, b"\x00\x80" + tail):
        with contextlib.suppress(ProtocolError):
            pcp.parse_map_answer(datagram, NONCE, 3031)
        with contextlib.suppress(ProtocolError):
            natpmp.parse_map_answer(datagram, 3031)
        with contextlib.suppress(ProtocolError):
            natpmp.parse_address_answer(datagram)
        pcp.is_answer(datagram)


# SSDP

GATEWAY = (
    b"HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
    b"Location:  http://192.168.1.1:5000/rootDesc.xml \r\n\r\n"
)


def test_a_gateway_says_where_its_description_is() -> None:
    assert parse_search_answer(GATEWAY) == "http://192.168.1.1:5000/rootDesc.xml"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff\xfe\0",
        GATEWAY.replace(b"200 OK", b"404 No"),
        GATEWAY.replace(b"http:", b"file:"),
        GATEWAY.replace(b"InternetGatewayDevice", b"MediaServer"),
        b"M-SEARCH * HTTP/1.1\r\nST: InternetGatewayDevice\r\nLocation: http://192.168.1.1/\r\n",
    ],
)
def test_other_answers_are_no_gateway(answer: bytes) -> None:
    assert parse_search_answer(answer) is None
