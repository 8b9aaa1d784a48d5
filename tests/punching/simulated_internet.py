"""A simulated internet: realms, NATs of every kind of RFC 4787, hosts, a fake clock, seeded luck.

A realm is a network with its own addresses; a NAT stands between its inner realm and an outer one.
A packet that is for nobody in a realm goes to the realm's NAT, is translated and goes on outside.
A short-lived one gets through the NATs of its sender, and nowhere beyond them.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

Address = tuple[str, int]
# RFC 4787, sections 4.1 and 5: endpoint-independent, address-dependent, address and port-dependent.
Behaviour = Literal["independent", "address", "port"]
BEHAVIOURS: tuple[Behaviour, ...] = ("independent", "address", "port")


class Node(Protocol):
    """What has an address in a realm."""

    def receive(self, source: Address, destination: Address, data: bytes) -> None: ...


class Internet:
    """The clock and everything under way. `realm` is the public one."""

    def __init__(self, seed: int, *, delay: float = 0.02, loss: float = 0.0) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.delay = delay
        self.loss = loss
        self.realm = Realm(self, None)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), what))

    def run(self, until: Callable[[], bool], limit: float) -> None:
        """Lets time pass until the condition holds or `limit` seconds have gone by."""
        end = self.now + limit
        while self._events and not until():
            when, _, what = heapq.heappop(self._events)
            if when > end:
                return
            self.now = when
            what()


class Realm:
    """A network; `gateway` leads out of it."""

    def __init__(self, internet: Internet, gateway: Nat | None) -> None:
        self.internet = internet
        self.gateway = gateway
        self.nodes: dict[str, Node] = {}

    def send(
        self, source: Address, destination: Address, data: bytes, *, short: bool = False
    ) -> None:
        """Delivers after a while, or loses it."""
        internet = self.internet
        if internet.random.random() < internet.loss:
            return
        # What leaves opens the own NATs at once; the way beyond them takes time.
        self.route(source, destination, data, short=short)

    def route(
        self, source: Address, destination: Address, data: bytes, *, short: bool = False
    ) -> None:
        node = self.nodes.get(destination[0])
        if node is not None:
            internet = self.internet
            if not short or self.gateway is not None:
                delay = internet.delay * (0.8 + 0.4 * internet.random.random())
                internet.at(internet.now + delay, lambda: node.receive(source, destination, data))
        elif self.gateway is not None:
            self.gateway.outbound(source, destination, data, short=short)


@dataclass
class _Mapping:
    inner: Address
    last_used: float
    contacted: set[Address] = field(default_factory=set)


class Nat:
    """A NAT at the address `outer` of the realm `outside`."""

    def __init__(
        self,
        outside: Realm,
        outer: str,
        mapping: Behaviour,
        filtering: Behaviour,
        *,
        hairpin: bool = False,
        remembers_strangers: bool = False,
        timeout: float = 30.0,
    ) -> None:
        """One that `remembers_strangers` keeps in mind who sent to which port uninvited, and gives
        its own side another port towards them, as Linux does where the router accepts packets.
        """
        self.inside = Realm(outside.internet, self)
        self.outer = outer
        self.mapping = mapping
        self.filtering = filtering
        self._outside = outside
        self._hairpin = hairpin
        self._timeout = timeout
        self._strangers: set[tuple[int, Address]] | None = set() if remembers_strangers else None
        self._internet = outside.internet
        self._ports: dict[tuple[object, ...], int] = {}
        self._mappings: dict[int, _Mapping] = {}
        self._forwarded: list[int] = []
        outside.nodes[outer] = self

    def rebind(self) -> None:
        """Forgets everything, as after a restart."""
        self._ports.clear()
        self._mappings.clear()
        self._forwarded.clear()

    def forward(self, inner: Address) -> Address:
        """A port mapping as PCP or UPnP makes it: open to everybody."""
        port = self._new_port()
        self._mappings[port] = _Mapping(inner, float("inf"))
        self._forwarded.append(port)
        return self.outer, port

    def _answered_by(self, source: Address, destination: Address) -> int | None:
        """The forwarded port at which `destination` asked, whose answers go out from there."""
        for port in self._forwarded:
            mapping = self._mappings[port]
            if mapping.inner == source and destination in mapping.contacted:
                return port
        return None

    def _new_port(self) -> int:
        while True:
            port = self._internet.random.randrange(1024, 65536)
            if port not in self._mappings:
                return port

    def outbound(
        self, source: Address, destination: Address, data: bytes, *, short: bool = False
    ) -> None:
        if destination[0] == self.outer and not self._hairpin:
            return
        forwarded = self._answered_by(source, destination)
        if forwarded is not None:
            self._outside.route((self.outer, forwarded), destination, data, short=short)
            return
        key: tuple[object, ...] = (source,)
        if self.mapping != "independent":
            key += (destination[0],)
        if self.mapping == "port":
            key += (destination[1],)
        port = self._ports.get(key)
        if self._strangers and (port, destination) in self._strangers:
            key = (source, destination)
            port = self._ports.get(key)
        if port is None or not self._is_alive(port):
            port = self._ports[key] = self._new_port()
            self._mappings[port] = _Mapping(source, self._internet.now)
        mapping = self._mappings[port]
        mapping.last_used = self._internet.now
        mapping.contacted.add(destination)
        self._outside.route((self.outer, port), destination, data, short=short)

    def _is_alive(self, port: int) -> bool:
        mapping = self._mappings.get(port)
        return mapping is not None and self._internet.now - mapping.last_used <= self._timeout

    def receive(self, source: Address, destination: Address, data: bytes) -> None:
        mapping = self._mappings.get(destination[1])
        if mapping is None or not self._is_alive(destination[1]):
            self._remember(destination[1], source)
            return
        if destination[1] in self._forwarded:
            mapping.contacted.add(source)
        elif not passes(self.filtering, mapping.contacted, source):
            self._remember(destination[1], source)
            return
        self.inside.route(source, mapping.inner, data)

    def _remember(self, port: int, stranger: Address) -> None:
        if self._strangers is not None:
            self._strangers.add((port, stranger))


def passes(filtering: Behaviour, contacted: set[Address], source: Address) -> bool:
    """Whether a packet from `source` may come in where packets went out to `contacted`."""
    if filtering == "independent":
        return True
    if filtering == "address":
        return source[0] in {host for host, _ in contacted}
    return source in contacted


class Host:
    """A machine at `host`; with `firewall`, only answers come in."""

    def __init__(self, realm: Realm, host: str, *, firewall: Behaviour | None = None) -> None:
        self.realm = realm
        self.host = host
        self.on_datagram: Callable[[int, Address, bytes], None] = lambda port, source, data: None
        self._firewall = firewall
        self._contacted: dict[int, set[Address]] = {}
        realm.nodes[host] = self

    def send(self, port: int, destination: Address, data: bytes, *, short: bool = False) -> None:
        self._contacted.setdefault(port, set()).add(destination)
        self.realm.send((self.host, port), destination, data, short=short)

    def receive(self, source: Address, destination: Address, data: bytes) -> None:
        contacted = self._contacted.get(destination[1], set())
        if self._firewall is None or passes(self._firewall, contacted, source):
            self.on_datagram(destination[1], source, data)


class Echo(Host):
    """A STUN server in spirit: remembers from where it was asked."""

    def __init__(self, realm: Realm, host: str) -> None:
        super().__init__(realm, host)
        self.seen: dict[bytes, Address] = {}

    def receive(self, source: Address, destination: Address, data: bytes) -> None:
        self.seen[data] = source
