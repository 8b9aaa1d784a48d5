"""What a datagram is, and how a joined batch is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.link import demux

CID_A = b"aaaaaaaa"
CID_B = b"bbbbbbbb"
INITIAL = b"\xc3\x00\x00\x00\x01\x08" + CID_A + bytes(1200 - 14)


def short(cid: bytes, size: int = 100, first: int = 0x41) -> bytes:
    return (bytes([first]) + cid).ljust(size, b".")


@pytest.mark.parametrize(
    ("datagram", "cid"),
    [
        (short(CID_A), CID_A),
        (INITIAL, CID_A),
        (b"\xc3\x00\x00\x00\x01\x00" + bytes(20), b""),
        (b"\xc3\x00\x00\x00\x01\x14" + bytes(range(20)) + b"!", bytes(range(20))),
        (b"\xc3\x00\x00\x00\x01\x15" + bytes(40), None),  # longer than an id may be
        (b"\xc3\x00\x00\x00\x01\x14" + bytes(10), None),  # cut off
        (b"\x41" + CID_A[:7], None),
        (b"", None),
        (b"\x04" + bytes(32), None),
        (b"\x3f" + bytes(32), None),
    ],
)
def test_the_destination_id(datagram: bytes, cid: bytes | None) -> None:
    assert demux.destination_cid(datagram) == cid


@pytest.mark.parametrize(
    "datagram",
    [
        INITIAL[:1199],  # an amplifier would answer more than it got
        INITIAL.replace(b"\x00\x00\x00\x01", b"\x00\x00\x00\x00", 1),
        INITIAL.replace(b"\x00\x00\x00\x01", b"\x6b\x33\x43\xcf", 1),
        b"\xe3" + INITIAL[1:],  # a handshake packet
        INITIAL[:5] + b"\x07" + INITIAL[6:],
        b"\x43" + INITIAL[1:],
    ],
)
def test_what_cannot_begin_a_connection(datagram: bytes) -> None:
    assert demux.is_initial(INITIAL)
    assert not demux.is_initial(datagram)


def test_a_batch_of_one_connection_stays_whole() -> None:
    batch = short(CID_A) * 9 + short(CID_A, 40)
    assert list(demux.split_batch(batch, 100)) == [(CID_A, 0, 940)]


def test_a_batch_of_two_connections_is_cut_where_they_change() -> None:
    batch = short(CID_A) * 2 + short(CID_B) + short(CID_A)
    assert list(demux.split_batch(batch, 100)) == [
        (CID_A, 0, 200),
        (CID_B, 200, 300),
        (CID_A, 300, 400),
    ]


def test_other_kinds_in_a_batch_stand_alone() -> None:
    batch = short(CID_A) + b"\x04".ljust(100, b"k") + short(CID_A) + short(CID_A)[:8]
    assert list(demux.split_batch(batch, 100)) == [
        (CID_A, 0, 100),
        (None, 100, 200),
        (CID_A, 200, 300),
        (None, 300, 308),
    ]


datagrams = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.builds(short, st.sampled_from([CID_A, CID_B]), st.just(40), st.integers(0, 255)),
)


@given(st.lists(datagrams, min_size=1, max_size=8), st.integers(1, 40))
def test_every_byte_of_a_batch_is_in_one_run(parts: list[bytes], segment: int) -> None:
    batch = b"".join(parts)
    position = 0
    for cid, start, end in demux.split_batch(batch, segment):
        assert start == position < end
        assert start % segment == 0
        position = end
        for at in range(start, end, segment):
            datagram = batch[at : min(at + segment, end)]
            if cid is not None:
                assert demux.destination_cid(datagram) == cid
            else:
                assert end - start <= segment
    assert position == len(batch)


@given(st.binary(max_size=1300))
def test_any_datagram_is_looked_at_without_an_error(datagram: bytes) -> None:
    demux.destination_cid(datagram)
    demux.is_initial(datagram)
