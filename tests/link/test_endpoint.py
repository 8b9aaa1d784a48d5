"""The endpoint: which connection a datagram is for, limits, faults that stay apart, paths."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from hdpd.errors import ConnectionLost, HdpdError, PeerNotConnected, StartError
from hdpd.link import endpoint as endpoint_module
from hdpd.link import session as session_module
from hdpd.link.connection import Path
from hdpd.link.engine import Engine, EngineName
from hdpd.link.interfaces import InterfaceAddress
from hdpd.link.knock import make_knock
from hdpd.link.session import Session
from hdpd.link.sockets import Received, UdpSocket
from hdpd.link.stream import REQUEST_BUDGET, Stream
from hdpd.wire.messages import Announce, Request, ResetCode
from tests.link.helpers import (
    ENGINES,
    PAIRS,
    Node,
    Relay,
    answer_ok,
    connection_of,
    drain,
    identity,
    nodes,
    pair,
    round_trip,
    topic,
    udp_client,
)
from tests.waiting import until

MIB = 1024 * 1024
BLOCK = MIB // 4
REQUEST = Announce(())
PARTY = topic("party")


@asynccontextmanager
async def three(
    engine: EngineName = "qh3",
) -> AsyncIterator[tuple[Node, list[Session], list[Session]]]:
    """A server and two clients: the server, the clients' sessions, the server's."""
    handlers: dict[str, Any] = {"announce": answer_ok}
    server = Node(engine, handlers=handlers)
    clients = [Node(engine, handlers=handlers) for _ in range(2)]
    async with nodes(server, *clients):
        near = [await client.dial(server) for client in clients]
        await until(lambda: len(server.sessions) == 2, "both sessions")
        by_id = {session.peer_id: session for session in server.sessions}
        yield server, near, [by_id[client.identity.peer_id] for client in clients]


# Demultiplexing.


async def test_datagrams_of_two_connections_in_one_batch() -> None:
    """As the kernel joins them when two connections share a path: between the same two sockets."""
    client, server = Node(handlers={"announce": answer_ok}), Node(handlers={"announce": answer_ok})
    async with nodes(client, server):
        one, other = await client.dial(server), await client.dial(server)
        await until(lambda: len(server.sessions) == 2, "both sessions")
        await round_trip(one)
        await round_trip(other)
        # Both requests are built, and then arrive as one batch of alternating datagrams.
        sent: list[bytes] = []
        [opened] = client.endpoint._sockets
        send, opened.send = opened.send, lambda datagrams, address: sent.extend(datagrams)  # type: ignore[method-assign]
        asking = [asyncio.create_task(each.ask(REQUEST)) for each in (one, other) * 3]
        await until(lambda: len(sent) >= 2, "the requests")
        opened.send = send  # type: ignore[method-assign]
        size = max(map(len, sent))
        padded = [datagram for datagram in sent if len(datagram) == size]
        [inlet] = server.endpoint._sockets
        receive = inlet.receive

        def joined(max_batches: int) -> Any:
            inlet.receive = receive  # type: ignore[method-assign]
            yield Received(b"".join(padded), size, ("127.0.0.1", client.endpoint.ports[0]))

        inlet.receive = joined  # type: ignore[method-assign]
        server.endpoint._readable(inlet)
        assert await asyncio.gather(*asking) == [{"ok": True}] * 6


async def test_a_stranger_cannot_stop_the_reading_of_others() -> None:
    async with pair(handlers={"announce": answer_ok}) as (_, server, near, _):
        with udp_client() as stranger:
            for number in range(300):
                for datagram in (b"", b"\x40", b"\x40" + bytes(20), bytes([number % 256]) * 40):
                    stranger.sendto(datagram, server.address)
                if number % 50 == 0:
                    assert await near.ask(REQUEST, timeout=5) == {"ok": True}


# Faults.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "method", ["receive_batch", "datagrams_to_send", "timer", "dispatch", "handle_timer", "ping"]
)
async def test_an_engine_that_raises_ends_its_own_connection_only(
    engine: EngineName, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with three(engine) as (_, near, far):
        broken = connection_of(far[0])._engine

        def fail(*arguments: Any) -> Any:
            raise RuntimeError("a bug in the library")

        if method == "handle_timer":
            monkeypatch.setattr(broken, "timer", lambda: 0.0)
        monkeypatch.setattr(broken, method, fail)
        far[0]._connection.ping(77)
        near[0]._connection.ping(77)
        await until(lambda: far[0].closed, "the end of the broken connection")
        assert isinstance(far[0].end, ConnectionLost)
        with pytest.raises(PeerNotConnected):
            await far[0].ask(REQUEST)
        for session in (near[1], far[1]):
            assert not session.closed
            assert await session.ask(REQUEST) == {"ok": True}


async def test_a_sender_whose_engine_raises_gets_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with pair(handlers={"announce": answer_ok}) as (_, _, near, _):

        def fail(*arguments: Any) -> None:
            raise ValueError("a bug in the library")

        monkeypatch.setattr(connection_of(near)._engine, "send", fail)
        with pytest.raises(ConnectionLost):
            await near.ask(REQUEST)
        assert near.closed


async def test_a_library_that_raises_in_the_handshake_may_recover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """qh3 raises while it answers an aioquic client, and goes on with its timers."""
    client, server = Node(), Node()
    failures = 3
    send = Engine.datagrams_to_send

    def fail_at_first(self: Engine, now: float, most: int) -> list[bytes]:
        nonlocal failures
        if failures:
            failures -= 1
            raise RuntimeError("packet builder capacity exhausted")
        return send(self, now, most)

    accept = server.endpoint.engines.accept

    def accept_failing(cid: bytes, datagram_bytes: int) -> Engine:
        engine = accept(cid, datagram_bytes)
        monkeypatch.setattr(engine, "datagrams_to_send", partial(fail_at_first, engine))
        return engine

    monkeypatch.setattr(server.endpoint.engines, "accept", accept_failing)
    async with nodes(client, server):
        # Nothing but the timer of the engine makes it send again.
        session = await client.dial(server)
        assert not session.closed


# What a peer may not do.


@pytest.mark.parametrize("engine", ENGINES)
async def test_more_than_the_budget_ends_the_connection(engine: EngineName) -> None:
    async def send_too_much(session: Session, request: Request, stream: Stream) -> None:
        await stream.send(bytes(MIB), end=True)

    async with pair((engine, "qh3"), handlers={"announce": send_too_much}) as (_, _, near, far):
        stream = await near.call(REQUEST, budget=MIB // 2)
        with stream, pytest.raises(HdpdError):
            await drain(stream)
        assert near.closed
        await until(lambda: far.closed, "the end on the other side")
        assert far.close_code == ResetCode.PROTOCOL_ERROR


async def test_of_a_request_no_more_than_a_frame_is_kept() -> None:
    """It is refused with its stream, or with the connection when all of it came at once."""
    async with pair() as (_, _, near, far):
        stream = await connection_of(near).open_stream(REQUEST_BUDGET)
        with contextlib.suppress(HdpdError):
            for _ in range(100):
                await stream.send(bytes([0, 0, 255, 255]) + bytes(100_000))
                await asyncio.sleep(0.001)
        assert stream.complete
        await until(lambda: not connection_of(far)._streams, "the end of the stream")


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_unidirectional_stream_ends_the_connection(engine: EngineName) -> None:
    async with pair(("aioquic", engine)) as (_, _, near, far):
        library = connection_of(near)._engine._connection
        stream_id = library.get_next_available_stream_id(is_unidirectional=True)
        library.send_stream_data(stream_id, b"hello", False)
        connection_of(near).schedule_transmit()
        await until(lambda: far.closed, "the end")
        await until(lambda: near.closed, "the end here")
        assert near.close_code == ResetCode.PROTOCOL_ERROR


# Limits.


async def test_handshakes_from_one_address_are_limited() -> None:
    client, server = Node(), Node()
    server.endpoint.on_accept = server.connections.append
    async with nodes(client, server):
        most = endpoint_module.MAX_HANDSHAKES_PER_ADDRESS
        for _ in range(most + 5):
            client.connect(server)
        await until(lambda: len(server.connections) == most, "as many as may be")
        # One ends, and another one may come, when its client tries again.
        server.connections[0].close(ResetCode.REFUSED)
        await until(lambda: len(server.connections) == most + 1, "the next one")
        assert len(server.endpoint._handshakes) == most


@pytest.mark.parametrize(("limit", "value"), [("MAX_HANDSHAKES", 3), ("MAX_CONNECTIONS", 3)])
async def test_connections_are_limited_in_total(
    limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, limit, value)
    clients, server = [Node() for _ in range(5)], Node()
    server.endpoint.on_accept = server.connections.append
    async with nodes(server, *clients):
        for client in clients:
            client.connect(server)
        await until(lambda: len(server.connections) == value, "as many as may be")
        knocks = server.endpoint.gate
        await until(lambda: len(knocks._open) == len(clients), "the knocks of all")
        assert len(server.connections) == value


async def test_a_handshake_that_stops_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "HANDSHAKE_TIMEOUT_S", 0.2)
    client, server = Node(), Node()
    server.endpoint.on_accept = server.connections.append
    async with nodes(client, server):
        client.connect(server)
        await until(lambda: server.connections, "the connection")
        await until(lambda: server.connections[0].ended, "its end")
        assert not server.endpoint._connections
        assert not server.endpoint._by_cid
        assert not server.endpoint._handshakes


async def test_nothing_is_kept_of_an_ended_connection() -> None:
    async with pair() as (client, server, near, far):
        near.close()
        await until(lambda: far.closed, "the end")
        for node in (client, server):
            assert not node.endpoint._connections
            assert not node.endpoint._by_cid
            assert not node.endpoint._by_tag
            assert not node.endpoint._handshakes


# Sockets.


async def test_a_port_that_is_taken() -> None:
    server = Node()
    other = Node()
    async with nodes(server, other):
        with pytest.raises(StartError, match="--port"):
            other.endpoint.open(["127.0.0.1"], server.endpoint.ports[0])


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL, errno.EMSGSIZE])
async def test_a_kernel_that_does_not_segment(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transfer goes on with one datagram for each call."""

    class Unable(socket.socket):
        def sendmsg(self, *arguments: Any) -> int:
            raise OSError(number, "refused")

    monkeypatch.setattr("hdpd.link.sockets.socket.socket", Unable)
    async with pair(handlers={"announce": send_2_mib}) as (_, _, near, _):
        await take_2_mib(near)


async def test_a_full_socket_goes_on_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = 0

    class Full(socket.socket):
        def sendmsg(self, *arguments: Any) -> int:
            nonlocal blocked
            blocked += 1
            if blocked % 2:
                raise BlockingIOError
            return super().sendmsg(*arguments)

    monkeypatch.setattr("hdpd.link.sockets.socket.socket", Full)
    async with pair(handlers={"announce": send_2_mib}) as (_, _, near, _):
        await take_2_mib(near)
        assert blocked > 4


async def send_2_mib(session: Session, request: Request, stream: Stream) -> None:
    for number in range(8):
        await stream.send(bytes([number]) * (MIB // 4), end=number == 7)


async def take_2_mib(session: Session) -> None:
    taken = bytearray()
    with await session.call(REQUEST, budget=2 * MIB) as stream:
        while len(taken) < 2 * MIB:
            taken += await stream.receive_bytes(MIB)
    assert taken == b"".join(bytes([number]) * (MIB // 4) for number in range(8))


# Paths.


@asynccontextmanager
async def relayed(
    engines: tuple[EngineName, EngineName], handlers: dict[str, Any]
) -> AsyncIterator[tuple[Relay, Node, Session, Session]]:
    """A session through a NAT of the test's own."""
    client, server = Node(engines[0], handlers=handlers), Node(engines[1], handlers=handlers)
    relay = await Relay.open(server.address)
    try:
        async with nodes(client, server):
            near = await client.dial(server, relay.address)
            await until(lambda: server.sessions, "the session")
            yield relay, server, near, server.sessions[0]
    finally:
        relay.close()


@pytest.mark.parametrize("engines", PAIRS, ids="-".join)
@pytest.mark.parametrize("uploader", ["client", "server"])
async def test_a_nat_that_forgets_does_not_stop_a_transfer(
    engines: tuple[EngineName, EngineName], uploader: str
) -> None:
    """The mapping changes in the middle; what the other side sends to the old one is lost."""
    go_on = asyncio.Event()

    async def send(session: Session, request: Request, stream: Stream) -> None:
        await stream.send(bytes(BLOCK))
        await go_on.wait()
        for number in range(4):
            await stream.send(bytes(BLOCK), end=number == 3)

    async with relayed(engines, {"announce": send}) as (relay, _, near, far):
        loop = asyncio.get_running_loop()
        taker = near if uploader == "server" else far
        taken = 0
        with await taker.call(REQUEST, budget=8 * MIB) as stream:
            while taken < BLOCK:
                taken += len(await stream.receive_bytes(BLOCK))
            old = relay.outside_port
            await relay.rebind()
            started = loop.time()
            go_on.set()
            taken += len(await stream.receive_bytes(MIB, timeout=10))
            assert loop.time() - started < 3.0
            while taken < 5 * BLOCK:
                taken += len(await stream.receive_bytes(BLOCK))
        assert relay.outside_port != old
        assert far.address == ("127.0.0.1", relay.outside_port)
        assert not near.closed


async def test_a_network_change_proves_the_path_at_once() -> None:
    async with relayed(("qh3", "qh3"), {}) as (relay, _, near, far):
        await relay.rebind()
        near._around.endpoint.network_changed()
        await until(lambda: far.address[1] == relay.outside_port, "the new path")


async def test_forged_and_replayed_datagrams_never_move_the_path() -> None:
    """A stranger that sees every datagram sends them again from its own address."""
    async with relayed(("qh3", "qh3"), {"announce": answer_ok}) as (relay, server, near, far):
        relay.keep = True
        path = far.address
        near._around.endpoint.network_changed()  # a path ping is among them
        for _ in range(5):
            assert await near.ask(REQUEST) == {"ok": True}
        await round_trip(near)
        assert any(datagram[0] == 5 for datagram in relay.to_server)
        with udp_client() as attacker:
            for datagram in relay.to_server:
                attacker.sendto(datagram, server.address)
                attacker.sendto(datagram[:-1] + bytes([datagram[-1] ^ 1]), server.address)
                await asyncio.sleep(0)
            for _ in range(5):
                assert await near.ask(REQUEST) == {"ok": True}
            assert far.address == path
            # It was asked to prove itself, and got less than it sent.
            answers = []
            while True:
                try:
                    answers.append(attacker.recv(2000))
                except BlockingIOError:
                    break
            assert {len(answer) for answer in answers} <= {33}
            assert len(answers) <= len(relay.to_server)


async def test_two_of_one_link_that_are_on_different_paths_agree_on_one() -> None:
    """Each hears the other on the path that it is not on itself: both must not follow."""
    client, server = Node(), Node()
    for node in (client, server):
        node.endpoint.close_sockets()
        node.endpoint.open(["127.0.0.1", "127.0.0.2"], 0)
    async with nodes(client, server):
        near = await client.dial(server)
        await until(lambda: server.sessions, "the server's session")
        far = server.sessions[0]
        second = client.endpoint._sockets[1]
        moves: list[str] = []
        near.move(Path(second, ("127.0.0.2", server.endpoint.port)))
        near._connection.on_path = lambda: moves.append("client")
        far._connection.on_path = lambda: moves.append("server")
        for _ in range(30):
            near.ping_now()
            far.ping_now()
            await asyncio.sleep(0.05)
        assert near.address[0] == far.address[0] == "127.0.0.2"
        assert moves == ["server"]


async def test_the_first_of_several_addresses_that_answers_is_the_path() -> None:
    client, server = Node(), Node()
    async with nodes(client, server):
        with udp_client() as silent:
            connection = client.endpoint.dial(
                server.identity.peer_id, [silent.getsockname(), server.address], PARTY
            )
            session = await session_module.dial_hello(
                connection, client.around, server.identity.peer_id
            )
            assert session.address == server.address
            silent.recv(2000)
            await round_trip(session)
            while True:  # only the first flight went there
                try:
                    silent.recv(2000)
                except BlockingIOError:
                    break
            await round_trip(session)
            with pytest.raises(BlockingIOError):
                silent.recv(2000)


async def test_addresses_that_no_socket_reaches() -> None:
    client = Node()
    async with nodes(client):
        with pytest.raises(ValueError, match="no socket reaches"):
            client.endpoint.dial(identity(5).peer_id, [("2001:db8::1", 1)], PARTY)


async def test_a_knock_opens_one_path_only() -> None:
    """The same machine, another port: other users behind one address stay strangers."""
    server = Node(who=identity(1))
    async with nodes(server):
        with udp_client() as member:
            knock = make_knock(PARTY, identity(1).peer_id, bytes(16))
            member.sendto(knock, server.address)
            gate = server.endpoint.gate
            await until(lambda: gate._open, "the knock")
            [path] = gate._open
            assert isinstance(path, Path)
            assert path.address == member.getsockname()


async def test_no_size_is_probed_that_our_own_interface_does_not_take() -> None:
    server = Node()
    async with nodes(server):
        server.endpoint._interfaces = (
            InterfaceAddress("eth0", "192.0.2.1", 24, 1500),
            InterfaceAddress("eth1", "2001:db8::1", 64, 1400),
            InterfaceAddress("tun0", "198.51.100.1", 24, 1000),
        )
        for host, size in {
            "192.0.2.77": 1472,
            "2001:db8::77": 1352,
            "198.51.100.77": 1200,  # smaller ones carry no QUIC
            "203.0.113.77": 1472,
            "2001:db8:1::77": 1452,
        }.items():
            assert server.endpoint.largest_bytes(host) == size
        assert server.endpoint.is_on_link("198.51.100.77")
        assert not server.endpoint.is_on_link("203.0.113.77")


def test_a_connection_needs_no_socket_to_be_described() -> None:
    opened = UdpSocket("127.0.0.1", 0)
    path = Path(opened, ("::ffff:192.0.2.1", 5, 0, 0))
    assert (path.host, path.port) == ("192.0.2.1", 5)
    opened.close()
