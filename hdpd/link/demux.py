"""What a datagram is, from its first bytes (RFC 9443, RFC 8999). Pure.

First byte 4 is a knock, 5 and 6 are path probes, 64 to 255 QUIC; all else is not ours. A batch that
the kernel joined may hold datagrams of several connections and is cut where they differ.
"""

from __future__ import annotations

from collections.abc import Iterator

CID_BYTES = 8  # of every connection id that we choose
KNOCK = 0x04
PATH_PING = 0x05
PATH_PONG = 0x06
_QUIC_LOWEST = 0x40
_LONG_HEADER = 0x80
_INITIAL_TYPE_BITS = 0x30
_VERSION_1 = b"\x00\x00\x00\x01"
MIN_INITIAL_BYTES = 1200  # RFC 9000, section 14.1


def is_quic(datagram: bytes) -> bool:
    return len(datagram) > CID_BYTES and datagram[0] >= _QUIC_LOWEST


def destination_cid(datagram: bytes) -> bytes | None:
    """The connection id that a QUIC packet is addressed to, or None when it is no QUIC packet.

    Short headers do not tell the length; all ids that we choose have `CID_BYTES`.
    """
    if not is_quic(datagram):
        return None
    if not datagram[0] & _LONG_HEADER:
        return bytes(datagram[1 : 1 + CID_BYTES])
    if len(datagram) < 6:
        return None
    end = 6 + datagram[5]
    return bytes(datagram[6:end]) if datagram[5] <= 20 and len(datagram) >= end else None


def is_initial(datagram: bytes) -> bool:
    """Whether this may begin a new connection: a full-size version 1 Initial packet."""
    return (
        len(datagram) >= MIN_INITIAL_BYTES
        and bool(datagram[0] & _LONG_HEADER)
        and not datagram[0] & _INITIAL_TYPE_BITS
        and datagram[1:5] == _VERSION_1
        and datagram[5] >= 8  # RFC 9000, section 7.2
    )


def split_batch(buffer: bytes, segment_bytes: int) -> Iterator[tuple[bytes | None, int, int]]:
    """Cuts a joined batch into runs of consecutive datagrams for the same connection.

    Yields (destination id, start, end); the id is None for a single datagram that is not QUIC or
    has a long header, which the caller looks at on its own.
    """
    size = len(buffer)
    if _is_one_flow(buffer, segment_bytes):
        yield buffer[1 : 1 + CID_BYTES], 0, size
        return
    start = 0
    while start < size:
        end = min(start + segment_bytes, size)
        if buffer[start] & 0xC0 != _QUIC_LOWEST or end - start <= CID_BYTES:
            yield None, start, end
            start = end
            continue
        cid = buffer[start + 1 : start + 1 + CID_BYTES]
        while (
            end < size
            and buffer[end] & 0xC0 == _QUIC_LOWEST
            and buffer[end + 1 : end + 1 + CID_BYTES] == cid
        ):
            end = min(end + segment_bytes, size)
        yield cid, start, end
        start = end


def _is_one_flow(buffer: bytes, segment_bytes: int) -> bool:
    """Whether all datagrams are short-header packets with the same destination id, which is nearly
    always so; columns of the batch are compared at once, because there may be 64 datagrams.
    """
    if len(buffer) % segment_bytes and len(buffer) % segment_bytes <= CID_BYTES:
        return False
    first = buffer[::segment_bytes]
    if min(first) < _QUIC_LOWEST or max(first) >= _LONG_HEADER or segment_bytes <= CID_BYTES:
        return False
    return all(
        buffer[at::segment_bytes].count(buffer[at]) == len(first) for at in range(1, 1 + CID_BYTES)
    )
