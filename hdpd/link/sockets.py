"""One UDP socket, read and written in batches.

Linux joins arriving datagrams of one flow (UDP_GRO) and cuts outgoing batches (UDP_SEGMENT), so
that tens of datagrams cost one system call. Where the kernel or the route refuses, datagrams go
singly. The don't-fragment bit is set: a datagram that does not fit is lost, never fragmented.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

log = logging.getLogger(__name__)

SocketAddress = tuple[str, int] | tuple[str, int, int, int]

# linux/udp.h and linux/in.h, in6.h; Python 3.11 does not name them.
_SOL_UDP = 17
_UDP_SEGMENT = 103
_UDP_GRO = 104
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE = 10, 23, 3
_IP_UNICAST_IF, _IPV6_UNICAST_IF = 50, 76
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32

# Enough for 20 ms at 400 MB/s; the kernel clips it to net.core.rmem_max without CAP_NET_ADMIN.
BUFFER_BYTES = 8 * 1024 * 1024
# Of one UDP message that is cut into segments. A little more is possible, but beyond the device's
# gso_max_size (65,536 with all headers) the kernel cuts it up early and the receiver gets pieces.
MAX_MESSAGE_BYTES = 65_400
MAX_SEGMENTS = 64
_MAX_RECEIVE_BYTES = 65_535
_ANCILLARY_BYTES = socket.CMSG_SPACE(4) * 2
# Datagrams that the kernel would not take yet; beyond it they are dropped, as a router would.
MAX_UNSENT_MESSAGES = 256
_BLOCKED = (BlockingIOError, InterruptedError)
_GSO_REFUSED = {errno.EIO, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOPROTOOPT}


class Received(NamedTuple):
    """A batch of datagrams from one address, each `segment_bytes` long but perhaps the last."""

    data: bytes
    segment_bytes: int
    address: SocketAddress


def plain_host(host: str) -> str:
    """`host` without the IPv6 wrapping that a dual-stack socket gives to IPv4 addresses."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


class UdpSocket:
    """A non-blocking UDP socket bound to `host` (`None`: every address of both families). With an
    `interface`, all that it sends leaves there, whatever the routes say.
    """

    def __init__(self, host: str | None, port: int, interface: str | None = None) -> None:
        self._socket = bound_socket(host, port, interface)
        self.family = self._socket.family
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._segmentation = True
        self._unsent: deque[tuple[Sequence[bytes], SocketAddress]] = deque()
        self.dropped = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def address_for(self, host: str, port: int) -> SocketAddress | None:
        """What to pass to `send` for an IP literal; None for a family that this socket lacks."""
        if ":" not in host:
            return (host, port) if self.family == socket.AF_INET else ("::ffff:" + host, port, 0, 0)
        if self.family == socket.AF_INET:
            return None
        host, _, zone = host.partition("%")
        try:
            scope = socket.if_nametoindex(zone) if zone and not zone.isdigit() else int(zone or 0)
        except OSError:
            return None
        return (host, port, 0, scope)

    def receive(self, max_batches: int) -> Iterator[Received]:
        """What has arrived, until there is no more or `max_batches` were taken."""
        receive = self._socket.recvmsg
        for _ in range(max_batches):
            try:
                data, ancillary, _flags, address = receive(_MAX_RECEIVE_BYTES, _ANCILLARY_BYTES)
            except _BLOCKED:
                return
            except OSError as error:
                # An ICMP error for something sent earlier; QUIC has its own timers for that.
                log.debug("receiving: %s", error)
                continue
            if not data:
                continue  # an empty datagram is nothing of ours
            segment = len(data)
            for level, kind, control in ancillary:
                if level == _SOL_UDP and kind == _UDP_GRO:
                    segment = struct.unpack_from("i", control)[0] or segment
            yield Received(data, segment, address)

    def send(self, datagrams: Sequence[bytes], address: SocketAddress) -> None:
        """Sends in order; what the kernel does not take yet waits for `flush`, bounded."""
        for start, end in _runs(datagrams):
            if self._unsent:
                self._keep(datagrams[start:end], address)
            else:
                try:
                    self._send_run(datagrams[start:end], address)
                except _BLOCKED:
                    self._keep(datagrams[start:end], address)

    def send_short(self, datagram: bytes, address: SocketAddress, hops: int) -> None:
        """Sends an IPv4 datagram that dies after so many routers; it is lost when it cannot go."""
        ancillary = [(socket.IPPROTO_IP, socket.IP_TTL, struct.pack("i", hops))]
        try:
            self._socket.sendmsg([datagram], ancillary, 0, address)
        except _BLOCKED:
            self.dropped += 1
        except OSError as error:
            self._failed(error, address)

    def _keep(self, run: Sequence[bytes], address: SocketAddress) -> None:
        if len(self._unsent) >= MAX_UNSENT_MESSAGES:
            self.dropped += len(run)
            return
        self._unsent.append((run, address))

    @property
    def wants_to_write(self) -> bool:
        return bool(self._unsent)

    def flush(self) -> None:
        """Sends what is waiting, as far as the kernel takes it."""
        while self._unsent:
            run, address = self._unsent[0]
            try:
                self._send_run(run, address)
            except _BLOCKED:
                return
            self._unsent.popleft()

    def _send_run(self, run: Sequence[bytes], address: SocketAddress) -> None:
        """One run of equally long datagrams. Raises only BlockingIOError and InterruptedError."""
        if len(run) > 1 and self._segmentation:
            ancillary = [(_SOL_UDP, _UDP_SEGMENT, struct.pack("H", len(run[0])))]
            try:
                self._socket.sendmsg(run, ancillary, 0, address)
            except _BLOCKED:
                raise
            except OSError as error:
                if error.errno in _GSO_REFUSED:
                    log.info("the kernel does not segment UDP here; sending singly: %s", error)
                    self._segmentation = False
                elif error.errno != errno.EMSGSIZE:
                    self._failed(error, address)
                    return
            else:
                return
        for datagram in run:
            try:
                self._socket.sendto(datagram, address)
            except _BLOCKED:
                raise
            except OSError as error:
                self._failed(error, address)

    def _failed(self, error: OSError, address: SocketAddress) -> None:
        # No route, network down, refused by a firewall: all are losses, which QUIC handles.
        self.dropped += 1
        log.debug("sending to %s: %s", address[0], error)


def _runs(datagrams: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Cuts a sequence into what one UDP_SEGMENT message can carry: equal sizes, the last one of a
    run may be shorter.
    """
    sizes = list(map(len, datagrams))
    start, count = 0, len(sizes)
    while start < count:
        size = sizes[start]
        most = min(MAX_SEGMENTS, max(1, MAX_MESSAGE_BYTES // max(1, size)))
        end = min(start + most, count)
        if sizes[start:end].count(size) < end - start:
            other = next(at for at in range(start, end) if sizes[at] != size)
            end = other + 1 if sizes[other] < size else other
        yield start, end
        start = end


def bound_socket(host: str | None, port: int, interface: str | None) -> socket.socket:
    """As `UdpSocket` has it, for what needs no batches."""
    families = (
        [socket.AF_INET6, socket.AF_INET]
        if host is None
        else [socket.AF_INET6 if ":" in host else socket.AF_INET]
    )
    for family in families:
        try:
            made = socket.socket(family, socket.SOCK_DGRAM)
        except OSError:
            if family == families[-1]:
                raise
            continue  # a kernel without IPv6
        try:
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host is None else 1)
            made.bind((host or "", port))
            if interface is not None:
                _leave_by(made, interface)
        except OSError as error:
            made.close()
            if error.errno == errno.EADDRNOTAVAIL and family != families[-1]:
                continue  # IPv6 is compiled in but switched off
            raise
        made.setblocking(False)
        _configure(made)
        return made
    raise AssertionError("unreachable")


def _leave_by(made: socket.socket, interface: str) -> None:
    index = struct.pack("!I", socket.if_nametoindex(interface))
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_UNICAST_IF, index)
    else:
        made.setsockopt(socket.IPPROTO_IP, _IP_UNICAST_IF, index)


def _configure(made: socket.socket) -> None:
    options = [
        (socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE),
        (_SOL_UDP, _UDP_GRO, 1),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES),
        (socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES),
        (socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES),
        (socket.SOL_SOCKET, _SO_SNDBUFFORCE, BUFFER_BYTES),
    ]
    if made.family == socket.AF_INET6:
        options.append((socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE))
    for level, option, value in options:
        try:
            made.setsockopt(level, option, value)
        except OSError as error:
            # An older kernel or no privilege: slower, not wrong.
            log.debug("socket option %d of level %d: %s", option, level, error)
