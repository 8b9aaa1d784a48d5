"""The UDP endpoint: sockets, which connection a datagram is for, who may begin one.

All connections share its sockets. A datagram is known by its connection id, never by its address;
one that belongs to no connection is dropped without an answer unless it begins a connection from
an address that knocked. Whole because sockets, connections and the ids that lead from one
to the other only ever change together.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence

from hdpd.errors import StartError
from hdpd.identity.keys import Identity, PeerId
from hdpd.identity.topics import Topic
from hdpd.link import demux
from hdpd.link.connection import Connection, Path
from hdpd.link.engine import (
    JUMBO_DATAGRAM_BYTES,
    LARGE_DATAGRAM_BYTES,
    LOOPBACK_DATAGRAM_BYTES,
    SAFE_DATAGRAM_BYTES,
    EngineFactory,
    EngineName,
)
from hdpd.link.extra_sockets import ExtraSockets
from hdpd.link.interfaces import (
    InterfaceAddress,
    interface_addresses,
    is_own,
    link_to,
    on_link_payload_bytes,
)
from hdpd.link.knock import NONCE_BYTES, KnockGate, make_knock
from hdpd.link.paths import probe_tag
from hdpd.link.selection import Address, Binding, Selection
from hdpd.link.sockets import Received, SocketAddress, UdpSocket, plain_host
from hdpd.recent import Recent
from hdpd.wire.messages import ResetCode

log = logging.getLogger(__name__)

# One wake-up reads at most so much (64 KiB each) before other work gets its turn.
MAX_BATCHES = 32
HANDSHAKE_TIMEOUT_S = 10.0
MAX_HANDSHAKES = 64  # each costs an engine of about 50 KB and 1 ms of CPU
MAX_HANDSHAKES_PER_ADDRESS = 8
MAX_NARROW = 256  # hosts whose handshake failed, 100 bytes each
NARROW_S = 600.0
MAX_CONNECTIONS = 512  # about 1 MB each when busy
_NOT_THERE_YET = {errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENXIO}


class Endpoint:
    """Owns the UDP sockets and all connections. `on_accept` gets each new incoming connection
    before its first packet is handled.
    """

    def __init__(
        self,
        identity: Identity,
        engine: EngineName,
        on_accept: Callable[[Connection], None] = lambda connection: None,
    ) -> None:
        """Opens nothing yet."""
        self.on_accept = on_accept
        self.identity = identity
        self.engines = EngineFactory(engine, identity.certificate())
        self.gate = KnockGate(identity.peer_id)
        self.unknown_datagrams = 0
        self.selection = Selection()
        self.port = 0  # the one for peers; 0 while no socket could choose one
        self._bound: dict[Binding, UdpSocket] = {}
        self._extra = ExtraSockets(
            self._readable,
            lambda opened: any(each.path.socket is opened for each in self._connections),
        )
        self._writing: set[UdpSocket] = set()
        self._by_cid: dict[bytes, Connection] = {}
        self._by_tag: dict[bytes, Connection] = {}
        self._connections: dict[Connection, set[bytes]] = {}
        self._handshakes: dict[Connection, asyncio.TimerHandle] = {}
        self._interfaces: tuple[InterfaceAddress, ...] = ()
        self._narrow: Recent[str, float] = Recent(MAX_NARROW)
        self._others: dict[int, Callable[[bytes, Path], None]] = {}
        self._loop = asyncio.get_running_loop()

    # Sockets.

    def open(
        self,
        hosts: Sequence[str],
        port: int,
        exclude: Sequence[str] = (),
        *,
        lan_only: bool = False,
    ) -> None:
        """Binds one socket for each of `hosts`, addresses or names of interfaces, or one for all
        addresses when there is none. What this machine does not have yet is bound when it comes:
        see `interfaces_changed`. `exclude` and `lan_only` are those of `Selection`.

        Raises:
            StartError: the port is taken.
        """
        self.selection = Selection(tuple(hosts), tuple(exclude), lan_only)
        self.port = port
        self._interfaces = interface_addresses()
        try:
            for binding in self.selection.bindings(self._interfaces):
                self._bind(binding)
        except StartError:
            self.close_sockets()
            raise
        if not self.port:
            # Nothing is there to bind yet; what is told of us shall hold all the same.
            free = UdpSocket(None, 0)
            self.port = free.port
            free.close()

    def _bind(self, binding: Binding) -> None:
        """Raises StartError for what does not come by waiting."""
        host = binding.host
        # What is bound to an address follows it by itself when another interface gets it.
        if any(b.host == host and s.port == self.port for b, s in self._bound.items()):
            return
        try:
            opened = UdpSocket(host, self.port, binding.interface)
        except OSError as error:
            if error.errno in _NOT_THERE_YET:
                log.info("waiting for the address %s, which this machine does not have now", host)
                return
            where = f"{host} port {self.port}" if host else f"port {self.port}"
            hint = (
                "another program (another hdpd?) has it; choose one with --port"
                if error.errno == errno.EADDRINUSE
                else error.strerror or str(error)
            )
            raise StartError(f"cannot use UDP {where}: {hint}") from None
        self.port = opened.port
        self._bound[binding] = opened
        self._loop.add_reader(opened.fileno(), self._readable, opened)

    def interfaces_changed(self, interfaces: tuple[InterfaceAddress, ...]) -> None:
        """Follows the addresses of this machine: binds those that came, and leaves those of a bound
        interface that are gone; connections go on from what is there.
        """
        self._interfaces = interfaces
        wanted = self.selection.bindings(self._interfaces)
        for binding in [each for each in self._bound if each.interface and each not in wanted]:
            self._unbind(binding)
        for binding in wanted:
            try:
                self._bind(binding)
            except StartError as error:
                log.warning("%s", error)
        self._rehome()

    def _unbind(self, binding: Binding) -> None:
        opened = self._bound.pop(binding)
        self._writing.discard(opened)
        self._loop.remove_reader(opened.fileno())
        self._loop.remove_writer(opened.fileno())
        opened.close()

    def _rehome(self) -> None:
        """Connections whose socket is closed go on from another one to the same place."""
        for connection in list(self._connections):
            path = connection.path
            if path.socket in self._sockets or path.socket in self._extra:
                continue
            other = self.path_to(path.host, path.port)
            if other is not None:
                connection.move(other, self._loop.time())

    def interface_of(self, host: str) -> str | None:
        """By which interface everything leaves from our bound address; None for any."""
        return next((each.interface for each in self._bound if each.host == host), None)

    @property
    def missing(self) -> tuple[str, ...]:
        """What of the addresses and interfaces to bind this machine does not have now."""
        return self.selection.missing(self._interfaces)

    @property
    def interfaces(self) -> tuple[InterfaceAddress, ...]:
        """The addresses of this machine, used or not."""
        return self._interfaces

    @property
    def _sockets(self) -> list[UdpSocket]:
        return list(self._bound.values())

    @property
    def ports(self) -> list[int]:
        """The UDP port of each socket; that which is to come where there is none yet."""
        return [opened.port for opened in self._sockets] or [self.port]

    @property
    def bound_hosts(self) -> tuple[str, ...]:
        """The addresses that the sockets are bound to; empty for all."""
        return tuple(opened.host for opened in self._sockets if opened.host is not None)

    def close_sockets(self) -> None:
        for binding in list(self._bound):
            self._unbind(binding)
        self._extra.close()

    def open_extra(self) -> UdpSocket | None:
        """One more socket beside the main ones, for a birthday run; None when there are too many.

        It is read like the others until `release_extra`, and then as long as it is a connection's
        path.
        """
        binding = next(iter(self._bound), None)
        return None if binding is None else self._extra.open(*binding)

    def release_extra(self, opened: UdpSocket) -> None:
        self._extra.release(opened)

    def is_extra(self, opened: UdpSocket) -> bool:
        """Whether it is one of `open_extra`."""
        return opened in self._extra

    def path_to(self, host: str, port: int, through: UdpSocket | None = None) -> Path | None:
        """The path to an IP literal from `through` or from a main socket; None if there is none, or
        the owner does not want it.
        """
        if not self.selection.may_reach(host, self._interfaces):
            return None
        for opened in (through,) if through else self._sockets:
            address = opened.address_for(host, port)
            if address is not None:
                return Path(opened, address)
        return None

    def close(self) -> None:
        """Ends all connections with a goodbye, then closes the sockets."""
        for connection in list(self._connections):
            connection.close(ResetCode.SHUTTING_DOWN)
        self.close_sockets()

    def network_changed(self) -> None:
        """Lets every connection prove its path anew."""
        now = self._loop.time()
        for connection in list(self._connections):
            connection.probe(connection.path, now)

    def largest_bytes(self, host: str) -> int:
        """How large datagrams to `host` are worth a probe, as our own interface says: more than it
        takes can be sent nowhere, and beyond it anything may be smaller.
        """
        payload = on_link_payload_bytes(host, self._interfaces)
        if payload is None:
            return LARGE_DATAGRAM_BYTES - (20 if ":" in host else 0)
        most = LOOPBACK_DATAGRAM_BYTES if self.is_this_machine(host) else JUMBO_DATAGRAM_BYTES
        return max(SAFE_DATAGRAM_BYTES, min(most, payload))

    def _accepted_bytes(self, host: str) -> int:
        """With which size a connection from `host` begins. The server of qh3 can go down and not
        up, and makes nothing large before the handshake is over: on our own links it begins with
        what they are likely to carry, and the first thing then is to prove it.
        """
        is_narrow = self._narrow.get(host, float("-inf")) > self._loop.time()
        if self.engines.name != "qh3" or is_narrow or not self.is_on_link(host):
            return SAFE_DATAGRAM_BYTES
        return min(LARGE_DATAGRAM_BYTES, self.largest_bytes(host))

    def is_this_machine(self, host: str) -> bool:
        """Whether `host` is one of our own addresses."""
        return is_own(host, self._interfaces)

    def is_on_link(self, host: str) -> bool:
        """Whether `host` is reached without a router."""
        return link_to(host, self._interfaces) is not None

    def dialable(self, told: Iterable[Address]) -> tuple[list[Address], list[Address]]:
        """Of the addresses that a peer told, those to dial on our links, and those behind
        routers.
        """
        return self.selection.dialable(told, self._interfaces)

    # Out.

    def dial(self, target: PeerId, hosts: Iterable[tuple[str, int]], topic: Topic) -> Connection:
        """Begins a connection to whichever of the addresses answers first.

        Raises:
            ValueError: none of the addresses can be reached from these sockets.
        """
        hosts = list(hosts)
        paths = tuple(
            Path(opened, address)
            for host, port in hosts
            if self.selection.may_reach(host, self._interfaces)
            for opened in self._sockets
            if (address := opened.address_for(host, port)) is not None
        )
        if not paths:
            raise ValueError(f"no socket reaches any of {hosts}")
        return self.dial_paths(target, paths, topic)

    def dial_paths(self, target: PeerId, paths: tuple[Path, ...], topic: Topic) -> Connection:
        """Begins a connection on whichever of the paths answers first."""

        def knock() -> bytes:
            return make_knock(topic, target, secrets.token_bytes(NONCE_BYTES))

        engine = self.engines.connect(self._loop.time())
        connection = Connection(self, engine, "client", paths, knock)
        self._add(connection, {engine.host_cid})
        connection.schedule_transmit()
        return connection

    def send(self, datagrams: Sequence[bytes], path: Path) -> None:
        opened = path.socket
        opened.send(datagrams, path.address)
        if (
            opened.wants_to_write
            and opened not in self._writing
            and (opened in self._sockets or opened in self._extra)
        ):
            self._writing.add(opened)
            self._loop.add_writer(opened.fileno(), self._writable, opened)

    def _writable(self, opened: UdpSocket) -> None:
        opened.flush()
        if opened.wants_to_write:
            return
        self._writing.discard(opened)
        self._loop.remove_writer(opened.fileno())
        for connection in list(self._connections):
            if connection.path.socket is opened:
                connection.schedule_transmit()

    # In.

    def _readable(self, opened: UdpSocket) -> None:
        touched: dict[Connection, None] = {}
        now = self._loop.time()
        for batch in opened.receive(MAX_BATCHES):
            self._demultiplex(opened, batch, now, touched)
        for connection in touched:
            connection.after_receive()

    def _demultiplex(
        self, opened: UdpSocket, batch: Received, now: float, touched: dict[Connection, None]
    ) -> None:
        path = Path(opened, batch.address)
        data, size = batch.data, batch.segment_bytes
        for cid, start, end in demux.split_batch(data, size):
            run = data if end - start == len(data) else data[start:end]
            connection = self._by_cid.get(cid) if cid is not None else self._look_at(run, path, now)
            if connection is None:
                self.unknown_datagrams += 1
                continue
            connection.receive(run, size, path, now)
            touched[connection] = None

    def _look_at(self, datagram: bytes, path: Path, now: float) -> Connection | None:
        """A datagram that is no plain QUIC packet: the connection that it is for, perhaps new."""
        if not datagram:
            return None
        if datagram[0] == demux.KNOCK:
            if self.selection.may_reach(path.host, self._interfaces):
                self.gate.receive(datagram, path, now)
            return None
        other = self._others.get(datagram[0])
        if other is not None:
            other(datagram, path)
            return None
        tag = probe_tag(datagram)
        if tag is not None:
            connection = self._by_tag.get(tag)
            if connection is not None:
                connection.probe_received(datagram, path, now)
            return None
        cid = demux.destination_cid(datagram)
        if cid is None:
            return None
        connection = self._by_cid.get(cid)
        if connection is None and demux.is_initial(datagram) and self.gate.is_open(path, now):
            connection = self._accept(cid, path)
        return connection

    def _accept(self, cid: bytes, path: Path) -> Connection | None:
        waiting = [c for c in self._handshakes if c.role == "server"]
        from_there = sum(c.path.address[0] == path.address[0] for c in waiting)
        if (
            len(waiting) >= MAX_HANDSHAKES
            or from_there >= MAX_HANDSHAKES_PER_ADDRESS
            or len(self._connections) >= MAX_CONNECTIONS
        ):
            log.info("no room for another connection from %s", path.host)
            return None
        engine = self.engines.accept(cid, self._accepted_bytes(path.host))
        connection = Connection(self, engine, "server", (path,))
        self._add(connection, {cid, engine.host_cid})
        self.on_accept(connection)
        return connection

    def handle(self, first_bytes: Iterable[int], handler: Callable[[bytes, Path], None]) -> None:
        """Hands datagrams that begin with one of `first_bytes` to another protocol that shares
        the port (RFC 9443): STUN, punching.
        """
        self._others.update(dict.fromkeys(first_bytes, handler))

    # Connections.

    def _add(self, connection: Connection, cids: set[bytes]) -> None:
        self._connections[connection] = set()
        for cid in cids:
            self.add_cid(cid, connection)
        self._handshakes[connection] = self._loop.call_later(
            HANDSHAKE_TIMEOUT_S, connection.handshake_timed_out
        )

    def add_cid(self, cid: bytes, connection: Connection) -> None:
        if connection in self._connections:
            self._by_cid[cid] = connection
            self._connections[connection].add(cid)

    def remove_cid(self, cid: bytes) -> None:
        connection = self._by_cid.pop(cid, None)
        if connection is not None:
            self._connections[connection].discard(cid)

    def established(self, connection: Connection) -> None:
        """The hello is done: no more deadline, and the path may be probed."""
        connection.established = True
        timer = self._handshakes.pop(connection, None)
        if timer is not None:
            timer.cancel()
        if connection.probes is not None:
            self._by_tag[connection.probes.tag] = connection
            connection.look_for_size()

    def forget(self, connection: Connection) -> None:
        if not connection.established and connection.role == "server":
            # Perhaps not even the handshake's datagrams, of 1280 bytes, came through.
            self._narrow.put(connection.path.host, self._loop.time() + NARROW_S)
        for cid in self._connections.pop(connection, ()):
            self._by_cid.pop(cid, None)
        timer = self._handshakes.pop(connection, None)
        if timer is not None:
            timer.cancel()
        if connection.probes is not None:
            self._by_tag.pop(connection.probes.tag, None)
        self._extra.sweep()


def readable_address(address: SocketAddress) -> str:
    host = plain_host(address[0])
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
