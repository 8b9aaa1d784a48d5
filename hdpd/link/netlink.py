"""What the kernel tells of links and addresses (rtnetlink(7)): the dump and its parser, no more."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

# linux/netlink.h, rtnetlink.h, if_link.h and if_addr.h.
_GETLINK, _NEWLINK, _GETADDR, _NEWADDR = 18, 16, 22, 20
_DONE, _ERROR = 3, 2
_DUMP: Final = 0x001 | 0x300
_IFNAME, _MTU, _MASTER, _LINKINFO, _INFO_KIND = 3, 4, 10, 18, 1
_ADDRESS, _LOCAL, _ADDRESS_FLAGS = 1, 2, 8
_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_ADDR: Final = struct.Struct("=BBBBi")
_ATTRIBUTE: Final = struct.Struct("=HH")
_NESTED_BITS: Final = 0x3FFF
_TIMEOUT_S: Final = 1.0  # the kernel answers within the call
_RECEIVE_BYTES: Final = 1 << 16


class Link(Struct, frozen=True):
    """An interface. `kind` is that of a virtual one (bridge, veth, tun, …), empty for hardware;
    `master` the index of the bridge or bond that it belongs to, or 0.
    """

    index: int
    name: str
    mtu: int
    kind: str
    master: int


class Address(Struct, frozen=True):
    """An address of the interface `index`; `flags` as in linux/if_addr.h."""

    index: int
    host: str
    prefix: int
    flags: int


def links() -> list[Link]:
    """All interfaces. Raises OSError where netlink is refused."""
    return [parse_link(body) for body in _dump(_GETLINK, _NEWLINK, _LINK.size)]


def addresses() -> list[Address]:
    """All addresses of both families. Raises OSError where netlink is refused."""
    bodies = _dump(_GETADDR, _NEWADDR, _ADDR.size)
    return [each for each in map(parse_address, bodies) if each is not None]


def parse_link(body: bytes) -> Link:
    """The interface in the body of an RTM_NEWLINK."""
    _, _, index, _, _ = _LINK.unpack_from(body)
    found = dict(_attributes(body, _LINK.size))
    info = dict(_attributes(found.get(_LINKINFO, b""), 0))
    return Link(
        index,
        _text(found.get(_IFNAME, b"")),
        int.from_bytes(found.get(_MTU, b"\xdc\x05"), sys.byteorder),
        _text(info.get(_INFO_KIND, b"")),
        int.from_bytes(found.get(_MASTER, b""), sys.byteorder),
    )


def parse_address(body: bytes) -> Address | None:
    """The address in the body of an RTM_NEWADDR; None for a family other than IP."""
    family, prefix, flags, _, index = _ADDR.unpack_from(body)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    found = dict(_attributes(body, _ADDR.size))
    packed = found.get(_LOCAL) or found.get(_ADDRESS)
    if packed is None:
        return None
    wide = found.get(_ADDRESS_FLAGS)
    host = str(ipaddress.ip_address(packed))
    return Address(index, host, prefix, int.from_bytes(wide, sys.byteorder) if wide else flags)


def _attributes(data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    while start + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _NESTED_BITS, data[start + _ATTRIBUTE.size : start + length]
        start += (length + 3) & ~3


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def _dump(request: int, answer: int, size: int) -> Iterator[bytes]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as opened:
        opened.settimeout(_TIMEOUT_S)
        length = _HEADER.size + size
        opened.send(_HEADER.pack(length, request, _DUMP, 1, 0) + bytes(size))
        while True:
            data = opened.recv(_RECEIVE_BYTES)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, _, _, _ = _HEADER.unpack_from(data, at)
                if kind in (_DONE, _ERROR) or length < _HEADER.size:
                    return
                if kind == answer:
                    yield data[at + _HEADER.size : at + length]
                at += (length + 3) & ~3
