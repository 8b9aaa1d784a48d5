"""Punch packets: only the two peers make them, each counts once, nothing of another punch does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.errors import ProtocolError
from hdpd.identity.keys import Identity
from hdpd.punching.packets import (
    PACKET_BYTES,
    REPLAY_WINDOW,
    Packet,
    PacketCodec,
    PunchKeys,
    punch_tag,
)

A, B, EVE = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
TOPIC = b"t" * 32
NONCES = (b"a" * 16, b"b" * 16)


def keys(own: Identity, peer: Identity, nonces: tuple[bytes, bytes] = NONCES) -> PunchKeys:
    return PunchKeys.derive(own, peer.peer_id, peer.exchange_public, TOPIC, nonces)


def pair() -> tuple[PacketCodec, PacketCodec]:
    return PacketCodec(keys(A, B)), PacketCodec(keys(B, A, NONCES[::-1]))


def test_both_sides_derive_the_same() -> None:
    ours, theirs = keys(A, B), keys(B, A, NONCES[::-1])
    assert (ours.tag, ours.key) == (theirs.tag, theirs.key)
    assert ours.is_low != theirs.is_low
    assert ours.key.hex() not in repr(ours)


def test_a_ping_and_its_pong() -> None:
    a, b = pair()
    ping = a.ping(b"n" * 8)
    assert len(ping) == PACKET_BYTES
    assert punch_tag(ping) == keys(A, B).tag
    assert b.read(ping) == Packet(is_ping=True, nonce=b"n" * 8)
    assert a.read(b.pong(b"n" * 8)) == Packet(is_ping=False, nonce=b"n" * 8)


def test_a_packet_counts_once() -> None:
    a, b = pair()
    ping = a.ping(b"n" * 8)
    assert b.read(ping)
    assert b.read(ping) is None


def test_packets_may_overtake_each_other() -> None:
    a, b = pair()
    packets = [a.ping(bytes(8)) for _ in range(REPLAY_WINDOW + 1)]
    assert b.read(packets[-1])
    assert b.read(packets[1])
    assert b.read(packets[1]) is None
    assert b.read(packets[0]) is None  # too old to know whether it was seen


def test_our_own_packets_are_not_the_peers() -> None:
    a, _ = pair()
    assert a.read(a.ping(bytes(8))) is None
    assert a.read(a.pong(bytes(8))) is None


@pytest.mark.parametrize(
    "other",
    [
        keys(A, B, (b"x" * 16, b"b" * 16)),
        keys(A, B, (b"a" * 16, b"x" * 16)),
        keys(EVE, B),
        PunchKeys.derive(A, B.peer_id, B.exchange_public, b"x" * 32, NONCES),
        PunchKeys.derive(A, B.peer_id, EVE.exchange_public, TOPIC, NONCES),
    ],
)
def test_nothing_of_another_punch_counts(other: PunchKeys) -> None:
    _, b = pair()
    tag = keys(A, B).tag
    assert other.tag != tag
    with_right_tag = PacketCodec(PunchKeys(tag, other.key, is_low=other.is_low))
    assert b.read(PacketCodec(other).ping(bytes(8))) is None
    assert b.read(with_right_tag.ping(bytes(8))) is None


@pytest.mark.parametrize("public", [bytes(32), b"\1" + bytes(31)])
def test_an_exchange_key_that_gives_a_known_secret_is_refused(public: bytes) -> None:
    with pytest.raises(ProtocolError):
        PunchKeys.derive(A, B.peer_id, public, TOPIC, NONCES)


@given(st.binary(max_size=2 * PACKET_BYTES))
def test_garbage_is_nothing(data: bytes) -> None:
    _, b = pair()
    assert b.read(data) is None
    assert b.read(data[:1] + keys(A, B).tag + data[9:]) is None


@given(st.integers(0, PACKET_BYTES * 8 - 1))
def test_one_flipped_bit_is_enough(bit: int) -> None:
    a, b = pair()
    packet = bytearray(a.ping(bytes(8)))
    packet[bit // 8] ^= 1 << bit % 8
    assert b.read(bytes(packet)) is None
