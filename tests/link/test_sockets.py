"""The UDP socket: batches, and what it does where the kernel refuses or is full."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.link import sockets
from hdpd.link.sockets import MAX_UNSENT_MESSAGES, UdpSocket, plain_host

LOOPBACK = ["127.0.0.1", "::1"]


@pytest.fixture
def two() -> Iterator[tuple[UdpSocket, UdpSocket]]:
    """Two sockets on loopback."""
    made = UdpSocket("127.0.0.1", 0), UdpSocket("127.0.0.1", 0)
    yield made
    for each in made:
        each.close()


class Kernel:
    """Stands between a UdpSocket and its socket; `refuse` may raise for a message."""

    def __init__(self, opened: UdpSocket, refuse: Callable[[str, int], None]) -> None:
        self._socket = opened._socket
        self._refuse = refuse
        self.messages = 0
        self.singles = 0
        opened._socket = self  # type: ignore[assignment]

    def sendmsg(self, buffers: Sequence[bytes], *arguments: Any) -> int:
        self._refuse("sendmsg", self.messages)
        self.messages += 1
        return self._socket.sendmsg(buffers, *arguments)

    def sendto(self, data: bytes, address: Any) -> int:
        self._refuse("sendto", self.singles)
        self.singles += 1
        return self._socket.sendto(data, address)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


def refuse_batches(number: int) -> Callable[[str, int], None]:
    def refuse(call: str, _count: int) -> None:
        if call == "sendmsg":
            raise OSError(number, "refused")

    return refuse


def received(opened: UdpSocket) -> list[bytes]:
    """The datagrams that have arrived, taken apart."""
    found = []
    for batch in opened.receive(1000):
        step = batch.segment_bytes
        found += [batch.data[at : at + step] for at in range(0, len(batch.data), step)]
    return found


def address(of: UdpSocket) -> tuple[str, int]:
    assert of.host is not None
    return of.host, of.port


def numbered(count: int, size: int = 1200) -> list[bytes]:
    return [number.to_bytes(4, "big").ljust(size, b".") for number in range(count)]


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_batch_arrives_in_order(host: str) -> None:
    one, other = UdpSocket(host, 0), UdpSocket(host, 0)
    target = one.address_for(host, other.port)
    assert target is not None
    one.send([*numbered(100), b"the last one is short"], target)
    assert received(other) == [*numbered(100), b"the last one is short"]
    one.close()
    other.close()


def test_datagrams_of_many_sizes_arrive_in_order(two: tuple[UdpSocket, UdpSocket]) -> None:
    one, other = two
    datagrams = [bytes([size % 256]) * size for size in (5, 5, 1200, 1, 1200, 1200, 700, 9, 9, 8)]
    one.send(datagrams, address(other))
    assert received(other) == datagrams


def test_an_empty_datagram_is_passed_over(two: tuple[UdpSocket, UdpSocket]) -> None:
    one, other = two
    one._socket.sendto(b"", address(other))
    one._socket.sendto(b"after it", address(other))
    one._socket.sendto(b"", address(other))
    assert received(other) == [b"after it"]


def test_one_look_takes_no_more_than_it_was_told(two: tuple[UdpSocket, UdpSocket]) -> None:
    one, other = two
    for size in range(1, 20):
        one._socket.sendto(bytes(size), address(other))
    assert len(list(other.receive(5))) <= 5


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL, errno.EOPNOTSUPP])
def test_without_segmentation_datagrams_go_singly(
    two: tuple[UdpSocket, UdpSocket], number: int
) -> None:
    one, other = two
    kernel = Kernel(one, refuse_batches(number))
    one.send(numbered(10), address(other))
    one.send(numbered(10), address(other))
    assert received(other) == numbered(10) * 2
    assert not one._segmentation, "it is not tried again each time"
    assert kernel.singles == 20


def test_a_batch_that_does_not_fit_the_route_goes_singly(
    two: tuple[UdpSocket, UdpSocket],
) -> None:
    one, other = two
    Kernel(one, refuse_batches(errno.EMSGSIZE))
    one.send(numbered(10), address(other))
    assert received(other) == numbered(10)
    assert one._segmentation, "another route may take batches"


def test_a_single_datagram_that_is_refused_is_a_loss(two: tuple[UdpSocket, UdpSocket]) -> None:
    one, other = two

    def refuse(call: str, count: int) -> None:
        if call == "sendmsg" or one.dropped == 0:
            raise OSError(errno.EMSGSIZE, "too large")

    Kernel(one, refuse)
    one.send(numbered(3), address(other))
    assert received(other) == numbered(3)[1:]
    assert one.dropped == 1


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EPERM, errno.ENOBUFS])
def test_a_network_that_refuses_is_a_loss(two: tuple[UdpSocket, UdpSocket], number: int) -> None:
    one, other = two
    kernel = Kernel(one, refuse_batches(number))
    one.send(numbered(10), address(other))
    assert received(other) == []
    assert one.dropped
    assert not one.wants_to_write
    kernel._refuse = lambda call, count: None
    one.send(numbered(2), address(other))
    assert received(other) == numbered(2)


def test_what_a_full_socket_does_not_take_waits_in_order(
    two: tuple[UdpSocket, UdpSocket],
) -> None:
    one, other = two
    full = True

    def refuse(call: str, count: int) -> None:
        if full and count >= 1:
            raise BlockingIOError

    kernel = Kernel(one, refuse)
    one.send(numbered(40), address(other))
    one.send([b"single"], address(other))
    one.send(numbered(200), address(other))
    assert one.wants_to_write
    full = False
    one.flush()
    assert not one.wants_to_write
    assert received(other) == [*numbered(40), b"single", *numbered(200)]
    assert kernel.messages > 1


def test_a_socket_that_stays_full_keeps_a_bounded_queue(
    two: tuple[UdpSocket, UdpSocket],
) -> None:
    one, other = two

    def refuse(call: str, count: int) -> None:
        raise BlockingIOError

    kernel = Kernel(one, refuse)
    for number in range(MAX_UNSENT_MESSAGES + 50):
        one.send([number.to_bytes(4, "big")], address(other))
    one.flush()
    assert one.dropped == 50
    kernel._refuse = lambda call, count: None
    one.flush()
    assert received(other) == [number.to_bytes(4, "big") for number in range(MAX_UNSENT_MESSAGES)]


def test_a_socket_of_all_addresses_reaches_both_families() -> None:
    everywhere, four, six = UdpSocket(None, 0), UdpSocket("127.0.0.1", 0), UdpSocket("::1", 0)
    for each in (four, six):
        assert each.host is not None
        target = everywhere.address_for(each.host, each.port)
        assert target is not None
        everywhere.send([b"to " + each.host.encode()], target)
        assert received(each) == [b"to " + each.host.encode()]
        back = each.address_for(each.host, everywhere.port)
        assert back is not None
        each.send([b"back"], back)
        [batch] = everywhere.receive(10)
        assert plain_host(batch.address[0]) == each.host
        each.close()
    everywhere.close()


def test_addresses_that_a_socket_cannot_reach() -> None:
    four = UdpSocket("127.0.0.1", 0)
    six = UdpSocket("::1", 0)
    assert four.address_for("::1", 1) is None
    assert four.address_for("127.0.0.2", 1) == ("127.0.0.2", 1)
    assert six.address_for("fe80::1%no-such-interface", 1) is None
    assert six.address_for("fe80::1%1", 5) == ("fe80::1", 5, 0, 1)
    assert six.address_for("fe80::1%lo", 5) == ("fe80::1", 5, 0, socket.if_nametoindex("lo"))
    four.close()
    six.close()


def test_a_taken_port_is_an_error() -> None:
    first = UdpSocket("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        UdpSocket("127.0.0.1", first.port)
    first.close()


def test_a_kernel_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    make = socket.socket

    def without_ipv6(family: int, *arguments: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return make(family, *arguments)

    monkeypatch.setattr("hdpd.link.sockets.socket.socket", without_ipv6)
    opened = UdpSocket(None, 0)
    assert opened.family == socket.AF_INET
    opened.close()
    with pytest.raises(OSError, match="no IPv6"):
        UdpSocket("::1", 0)


def test_a_closed_socket_takes_and_gives_nothing(two: tuple[UdpSocket, UdpSocket]) -> None:
    one, other = two
    target = address(other)
    one.close()
    one.send(numbered(3), target)
    assert list(one.receive(3)) == []


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=200))
def test_runs_are_what_the_kernel_cuts_alike(sizes: list[int]) -> None:
    datagrams = [bytes(size) for size in sizes]
    position = 0
    for start, end in sockets._runs(datagrams):
        assert start == position < end
        position = end
        run = sizes[start:end]
        assert all(size == run[0] for size in run[:-1])
        assert run[-1] <= run[0]
        assert sum(run) <= 65_507
        assert len(run) <= 64
    assert position == len(sizes)


def test_addresses_are_shown_without_the_wrapping_of_dual_stack() -> None:
    assert plain_host("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain_host("2001:db8::1") == "2001:db8::1"
    assert plain_host("::ffff:0:1") == "::ffff:0:1"
