"""Endpoints on loopback in one process, each with its own identity, topics and sessions."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from functools import cache

from hdpd.errors import HdpdError
from hdpd.identity.keys import Identity
from hdpd.identity.topics import Topic
from hdpd.link.connection import Connection
from hdpd.link.endpoint import Endpoint
from hdpd.link.engine import EngineName
from hdpd.link.engine import _load as load
from hdpd.link.session import Handler, Session, Surroundings, accept_hello, dial_hello
from hdpd.link.stream import Stream
from hdpd.wire.messages import Request
from tests.waiting import WAIT_S, until

ENGINES: tuple[EngineName, ...] = ("qh3", "aioquic")
PAIRS = list(itertools.product(ENGINES, ENGINES))

for engine_name in ENGINES:
    load(engine_name)  # here, so that the import does not hold up the loop of the first test


@cache
def topic(name: str) -> Topic:
    """A topic without the cost of scrypt."""
    return Topic.from_master(name, hashlib.sha256(name.encode()).digest())


def identity(number: int | None = None) -> Identity:
    """The identity of a number, or a new one."""
    seed = secrets.token_bytes(32) if number is None else hashlib.sha256(b"%d" % number).digest()
    return Identity.from_seed(seed)


class Node:
    """One peer: an endpoint whose accepted connections become sessions."""

    def __init__(
        self,
        engine: EngineName = "qh3",
        *,
        topics: tuple[Topic, ...] = (topic("party"),),
        handlers: dict[str, Handler] | None = None,
        who: Identity | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.identity = who or identity()
        self.topics = topics
        self.host = host
        self.handlers: dict[str, Handler] = handlers or {}
        self.sessions: list[Session] = []
        self.refusals: list[HdpdError] = []
        self.connections: list[Connection] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.endpoint = Endpoint(self.identity, engine, self._accept)
        self.around = Surroundings(self.identity, self.endpoint, lambda: self.topics, self.handlers)
        self.endpoint.open([host], 0)
        self.endpoint.gate.set_topics(topics)

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.endpoint.ports[0]

    def set_topics(self, *topics: Topic) -> None:
        self.topics = topics
        self.endpoint.gate.set_topics(topics)

    def _accept(self, connection: Connection) -> None:
        self.connections.append(connection)
        task = asyncio.get_running_loop().create_task(self._shake_hands(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shake_hands(self, connection: Connection) -> None:
        try:
            self.sessions.append(await accept_hello(connection, self.around))
        except HdpdError as error:
            self.refusals.append(error)

    def connect(self, to: Node, at: tuple[str, int] | None = None) -> Connection:
        """A connection without a hello, in the name of the first topic."""
        return self.endpoint.dial(to.identity.peer_id, [at or to.address], self.topics[0])

    async def dial(self, to: Node, at: tuple[str, int] | None = None) -> Session:
        async with asyncio.timeout(WAIT_S):
            session = await dial_hello(self.connect(to, at), self.around, to.identity.peer_id)
        self.sessions.append(session)
        return session

    async def close(self) -> None:
        self.endpoint.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def nodes(*made: Node) -> AsyncIterator[tuple[Node, ...]]:
    """Closes the nodes at the end, also after a failure."""
    try:
        yield made
    finally:
        for node in made:
            await node.close()
        await asyncio.sleep(0)  # lets cancelled requests finish


@contextlib.asynccontextmanager
async def pair(
    engines: tuple[EngineName, EngineName] = ("qh3", "qh3"),
    *,
    handlers: dict[str, Handler] | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[tuple[Node, Node, Session, Session]]:
    """A client, a server, and the session between them from either end."""
    client = Node(engines[0], handlers=handlers, host=host)
    server = Node(engines[1], handlers=handlers, host=host)
    async with nodes(client, server):
        near = await client.dial(server)
        await until(lambda: server.sessions, "the server's session")
        yield client, server, near, server.sessions[0]


async def answer_ok(session: Session, request: Request, stream: Stream) -> None:
    """A handler that has nothing to say."""
    await stream.send_message({"ok": True}, end=True)


def connection_of(session: Session) -> Connection:
    return session._connection


async def drain(stream: Stream) -> None:
    """Takes what comes until the stream says, by an error, that there will be no more."""
    while True:
        await stream.receive_bytes(1 << 20)


async def round_trip(session: Session) -> None:
    """Until the other side has handled all that was sent to it, unless something was lost."""
    connection = connection_of(session)
    acknowledged = asyncio.Event()
    on_ping, connection.on_ping = connection.on_ping, lambda uid: acknowledged.set()
    connection.ping(1 << 30)
    async with asyncio.timeout(WAIT_S):
        await acknowledged.wait()
    connection.on_ping = on_ping


@contextlib.contextmanager
def udp_client(family: socket.AddressFamily = socket.AF_INET) -> Iterator[socket.socket]:
    """A plain UDP socket on loopback, as a stranger has it."""
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        made.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        yield made


class Relay(asyncio.DatagramProtocol):
    """A NAT: forwards between the one who sends to it and `target`, from a port that can change."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.client: tuple[str, int] | None = None
        self.forwarded = 0
        self.to_server: list[bytes] = []
        self.keep = False  # the datagrams to the server
        self._inside: asyncio.DatagramTransport | None = None
        self._outside: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, target: tuple[str, int]) -> Relay:
        self = cls(target)
        loop = asyncio.get_running_loop()
        self._inside, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        await self.rebind()
        return self

    @property
    def address(self) -> tuple[str, int]:
        assert self._inside is not None
        host, port = self._inside.get_extra_info("sockname")[:2]
        return host, port

    @property
    def outside_port(self) -> int:
        assert self._outside is not None
        port: int = self._outside.get_extra_info("sockname")[1]
        return port

    async def rebind(self) -> None:
        """A new mapping; what is sent to the old one is lost from now on."""
        old = self._outside
        self._outside, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Outside(self), local_addr=("127.0.0.1", 0)
        )
        if old is not None:
            old.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.client = addr
        if self.keep:
            self.to_server.append(data)
        if self._outside is not None:
            self._outside.sendto(data, self.target)

    def from_server(self, data: bytes) -> None:
        self.forwarded += len(data)
        if self._inside is not None and self.client is not None:
            self._inside.sendto(data, self.client)

    def close(self) -> None:
        for transport in (self._inside, self._outside):
            if transport is not None:
                transport.close()


class _Outside(asyncio.DatagramProtocol):
    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._relay.from_server(data)
