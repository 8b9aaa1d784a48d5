"""Reads over a session and further connections: where they go, and what the end of one costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from hdpd.downloads import connections as connections_module
from hdpd.downloads.connections import Connections, ConnectionsOfPeers
from hdpd.errors import Busy
from hdpd.wire.messages import Ls, Read, Request
from hdpd.wire.paths import RemotePath
from tests.fake_peer import FakePeer, FakeSession, FakeStream
from tests.waiting import until

READ = Read(RemotePath(b"media/file"), 0, 1)


class Connection(FakeSession):
    """A connection of which it is told how many requests are open, and asked what came."""

    def __init__(self, peer: FakePeer, came: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__(peer.peer_id)
        self.name = "Friend"
        self.rtt = 0.08
        self.open_requests = 0
        self.asked: list[Request] = []
        self._came = came

    @property
    def received_bytes(self) -> int:
        return int(self._came())

    async def call(self, request: Request, *, budget: int) -> FakeStream:
        self.open_requests += 1
        self.asked.append(request)
        return FakeStream()

    def close(self) -> None:
        self.closed = True


class Line:
    """Opens connections; with so many of them `rate` bytes come in a second of a request.

    They are counted by the clock when somebody looks, so that a busy machine changes no rate.
    """

    def __init__(self, rate: Callable[[int], int]) -> None:
        self.peer = FakePeer({})
        self.main = Connection(self.peer, self._count)
        self.opened: list[Connection] = []
        self.refuses = False
        self._rate = rate
        self._counted = 0.0
        self._counted_at = 0.0

    async def open(self, main: Connection) -> Connection:
        assert main is self.main
        if self.refuses:
            raise Busy("no more")
        self.opened.append(Connection(self.peer))
        return self.opened[-1]

    @property
    def standing(self) -> list[Connection]:
        return [connection for connection in (self.main, *self.opened) if not connection.closed]

    def _count(self) -> float:
        now = asyncio.get_running_loop().time()
        standing = self.standing
        if any(connection.open_requests for connection in standing):
            self._counted += self._rate(len(standing)) * (now - self._counted_at)
        self._counted_at = now
        return self._counted


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is 1/100 of one."""
    monkeypatch.setattr(connections_module, "STEP_S", 0.005)
    monkeypatch.setattr(connections_module, "IDLE_S", 0.15)
    monkeypatch.setattr("hdpd.downloads.trials.SETTLE_S", 0.01)
    monkeypatch.setattr("hdpd.downloads.trials.MEASURE_S", 0.02)


@asynccontextmanager
async def running(line: Line) -> AsyncIterator[Connections[Connection]]:
    connections = Connections(line.main, line.open)
    try:
        yield connections
    finally:
        watching = connections._watching
        connections.close()
        if watching is not None:
            await asyncio.wait([watching])


async def test_reads_go_where_fewest_are_open_and_all_else_to_the_session() -> None:
    line = Line(lambda standing: 4_000_000 * standing)
    async with running(line) as connections:
        await connections.call(READ, budget=1)
        await until(lambda: connections.connections == 8, "all connections")
        for _ in range(15):
            await connections.call(READ, budget=1)
        await connections.call(Ls(RemotePath(b"")), budget=1)
        assert [connection.open_requests for connection in line.opened] == [2] * 7
        assert line.main.open_requests == 3


async def test_without_a_gain_they_are_closed_when_their_reads_have_ended() -> None:
    line = Line(lambda standing: 4_000_000)
    async with running(line) as connections:
        await connections.call(READ, budget=1)
        await until(lambda: len(line.opened) == 2, "a trial")
        line.opened[0].open_requests = 1
        await until(lambda: connections.connections == 1 and line.opened[1].closed, "its end")
        assert not line.opened[0].closed
        line.opened[0].open_requests = 0
        await until(lambda: line.opened[0].closed, "the end of the last")


async def test_they_are_closed_when_nothing_is_read_any_more() -> None:
    line = Line(lambda standing: 4_000_000 * standing)
    async with running(line) as connections:
        await connections.call(READ, budget=1)
        await until(lambda: connections.connections == 8, "all connections")
        for connection in line.standing:
            connection.open_requests = 0
        await until(lambda: line.standing == [line.main], "the end of the others")
        await connections.call(READ, budget=1)
        assert line.main.open_requests == 1


async def test_a_connection_that_ends_is_not_asked_again() -> None:
    line = Line(lambda standing: 4_000_000 * standing)
    async with running(line) as connections:
        await connections.call(READ, budget=1)
        await until(lambda: connections.connections == 8, "all connections")
        line.refuses = True
        for connection in line.opened:
            connection.closed = True
        before = line.main.open_requests
        await connections.call(READ, budget=1)
        assert line.main.open_requests == before + 1
        await until(lambda: connections.connections == 1, "what is left")


async def test_each_session_has_connections_of_its_own() -> None:
    line = Line(lambda standing: 4_000_000 * standing)
    sessions = {line.peer.peer_id: line.main}
    peers = ConnectionsOfPeers(sessions.get, line.open)
    first = peers.get(line.peer.peer_id)
    assert first is not None
    assert peers.get(line.peer.peer_id) is first
    first.trials.connections = 3
    line.main.closed = True
    sessions[line.peer.peer_id] = Connection(line.peer)
    second = peers.get(line.peer.peer_id)
    assert second is not None
    assert second is not first
    assert second.trials.connections == 3, "what was found out is forgotten"
    sessions.clear()
    assert peers.get(line.peer.peer_id) is None
    peers.close()
