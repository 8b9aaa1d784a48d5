"""WebSockets: answers, events and hits, slow clients, bounds, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed

from hdpd.control import connection as connection_module
from hdpd.control import server
from hdpd.wire.messages import Request
from tests.control.fakes import Daemon, ScriptedSession, entry, running
from tests.fake_peer import FakeStream
from tests.waiting import until

Json = dict[str, Any]


class Client:
    """A WebSocket client that keeps notifications until they are asked for."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.notifications: list[Json] = []

    async def send(self, method: str, id_: int = 1, /, **params: object) -> None:
        request = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
        await self.websocket.send(json.dumps(request))

    async def receive(self) -> Json:
        return dict(json.loads(await self.websocket.recv()))

    async def call(self, method: str, **params: object) -> Json:
        await self.send(method, 1, **params)
        while "id" not in (message := await self.receive()):
            self.notifications.append(message)
        return dict(message["result"])

    async def notification(self) -> Json:
        message = self.notifications.pop(0) if self.notifications else await self.receive()
        assert "id" not in message
        return dict(message["params"])

    async def event(self) -> tuple[str, Json]:
        params = await self.notification()
        return params["type"], params["data"]


@contextlib.asynccontextmanager
async def client_of(daemon: Daemon) -> AsyncIterator[Client]:
    async with unix_connect(daemon.socket_path, "ws://localhost/rpc") as websocket:
        yield Client(websocket)


def gate(session: ScriptedSession) -> asyncio.Event:
    """The peer's answers wait for this event."""
    release = asyncio.Event()
    call = session.call

    async def wait(request: Request, *, budget: int) -> FakeStream:
        await release.wait()
        return await call(request, budget=budget)

    session.call = wait  # type: ignore[method-assign]
    return release


async def test_requests_are_answered_side_by_side(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, client_of(daemon) as client:
        session = ScriptedSession(1)
        daemon.peers.sessions[session.peer_id] = session
        release = gate(session)
        await client.send("files.list", 1, peer=session.name)
        await client.send("daemon.info", 2)
        assert (await client.receive())["id"] == 2
        release.set()
        assert (await client.receive())["id"] == 1


async def test_text_and_bytes_and_nonsense(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, client_of(daemon) as client:
        await client.websocket.send(b'{"jsonrpc":"2.0","id":1,"method":"daemon.info"}')
        assert (await client.receive())["id"] == 1
        await client.websocket.send("nonsense")
        assert (await client.receive())["error"]["code"] == -32700
        await client.websocket.send('[{"jsonrpc":"2.0","id":1,"method":"daemon.info"},2]')
        reply = json.loads(await client.websocket.recv())
        assert ["result" in one for one in reply] == [True, False]


async def test_events_come_after_the_answer_and_are_replayed(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        async with client_of(daemon) as client:
            seq = (await client.call("events.subscribe"))["seq"]
            daemon.events.write("peer.found", {"id": "a"})
            assert await client.event() == ("peer.found", {"id": "a"})
        daemon.events.write("peer.connected", {"id": "a"})
        daemon.events.write("topic.joined", {"name": "t"})
        async with client_of(daemon) as client:
            await client.call("events.subscribe", since=seq + 1, types=["topic.joined"])
            assert await client.event() == ("topic.joined", {"name": "t"})
            # The second subscription takes the place of the first.
            await client.call("events.subscribe", since=seq)
            types = [(await client.event())[0] for _ in range(3)]
            assert types == ["peer.found", "peer.connected", "topic.joined"]
            daemon.events.write("topic.left", {"name": "t"})
            assert await client.event() == ("topic.left", {"name": "t"})
            await client.call("daemon.info")
            assert client.notifications == []
        await until(lambda: not daemon.events._subscriptions)


async def test_a_client_that_lags_gets_the_last_state_and_costs_no_memory(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        reader, writer = await asyncio.open_unix_connection(daemon.socket_path)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text_frame(b'{"jsonrpc":"2.0","id":1,"method":"events.subscribe"}'))
        await reader.readuntil(b'"id":1}')
        for number in range(200):
            data = {"id": "d", "number": number, "x": "x" * 50_000}
            daemon.events.write("download.changed", data, ("download.changed", "d"))
            await asyncio.sleep(0)
        received = bytearray()
        while b'"number":199' not in received:
            received += await reader.read(1_000_000)
        # Not all of the 10 MB went through the socket: old states were left out.
        assert len(received) < 5_000_000
        writer.close()


HANDSHAKE = (
    b"GET /rpc HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def text_frame(text: bytes) -> bytes:
    """A masked text frame (RFC 6455, 5.2) with a mask of zeros."""
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


async def test_a_streamed_search_sends_hits_as_they_come(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, client_of(daemon) as client:
        fast, slow = ScriptedSession(1, {"S/x": b""}), ScriptedSession(2)
        daemon.peers.sessions |= {fast.peer_id: fast, slow.peer_id: slow}
        release = gate(slow)
        slow.script = lambda _r: FakeStream([{"error": "busy", "message": ""}])
        search = (await client.call("files.search", query="x", stream=True))["search"]
        first = await client.notification()
        assert (first["search"], [hit["path"] for hit in first["hits"]]) == (search, ["S/x"])
        assert "done" not in first
        release.set()
        last = await client.notification()
        assert last == {
            "search": search,
            "hits": [],
            "done": True,
            "unanswered": [slow.peer_id.text],
            "truncated": False,
        }


async def test_a_client_that_goes_cancels_its_searches(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        session = ScriptedSession(1)
        daemon.peers.sessions[session.peer_id] = session
        session.script = lambda _r: FakeStream([{"hits": [entry("S/x").to_wire()]}], hold=True)
        async with client_of(daemon) as client:
            await client.call("files.search", query="x", stream=True)
            await client.notification()
            assert not session.streams[0].closed
        await until(lambda: session.streams[0].closed)


async def test_requests_of_one_client_at_once_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MAX_REQUESTS", 2)
    async with running(tmp_path) as daemon, client_of(daemon) as client:
        session = ScriptedSession(1)
        daemon.peers.sessions[session.peer_id] = session
        running_calls, most = 0, 0

        async def call(_request: Request, *, budget: int) -> FakeStream:
            nonlocal running_calls, most
            running_calls += 1
            most = max(most, running_calls)
            await asyncio.sleep(0.01)
            running_calls -= 1
            return FakeStream([{"end": True, "cursor": None}])

        session.call = call  # type: ignore[method-assign, assignment]
        for number in range(10):
            await client.send("files.list", number, peer=session.name)
        assert {(await client.receive())["id"] for _ in range(10)} == set(range(10))
        assert most == 2


async def test_a_message_that_is_too_long_ends_the_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, client_of(daemon) as client:
        with contextlib.suppress(ConnectionClosed):
            await client.websocket.send(" " * (1024 * 1024 + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await client.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_a_client_that_answers_no_ping_is_dropped_even_when_it_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PING_S", 0.05)
    monkeypatch.setattr(server, "PONG_S", 0.05)
    async with running(tmp_path) as daemon:
        reader, writer = await asyncio.open_unix_connection(daemon.socket_path, limit=1000)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text_frame(b'{"jsonrpc":"2.0","id":1,"method":"events.subscribe"}'))
        await until(lambda: bool(daemon.events._subscriptions))
        for number in range(20):
            daemon.events.write("peer.found", {"number": number, "x": "x" * 100_000})
        await until(lambda: not daemon.events._subscriptions)
        await until(lambda: not daemon.control._endpoints.connections)  # after its requests
        writer.close()


async def test_the_last_events_are_sent_before_hdpd_stops(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon, client_of(daemon) as client:
        await client.call("events.subscribe")
        daemon.events.write("peer.disconnected", {})
        daemon.events.write("daemon.stopping", {})
        await daemon.control.close()
        assert [(await client.event())[0] for _ in range(2)] == [
            "peer.disconnected",
            "daemon.stopping",
        ]
        with pytest.raises(ConnectionClosed) as closed:
            await client.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


async def test_hdpd_stops_in_time_while_requests_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MAX_REQUESTS", 1)
    async with running(tmp_path) as daemon, client_of(daemon) as client:
        session = ScriptedSession(1)
        daemon.peers.sessions[session.peer_id] = session
        session.script = lambda _request: FakeStream([], hold=True)
        for number in (1, 2):
            await client.send("files.list", number, peer=session.name)
        await until(lambda: bool(session.streams))
        async with asyncio.timeout(4):
            await daemon.control.close()
        assert session.streams[0].closed


async def test_a_websocket_elsewhere_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        with pytest.raises(Exception, match="403"):
            async with connect(f"ws://127.0.0.1:{daemon.port}/nowhere"):
                raise AssertionError
