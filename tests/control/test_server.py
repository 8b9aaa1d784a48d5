"""Sockets, start and stop, and HTTP around the methods."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from hdpd.config import TcpAddress, UnixAddress
from hdpd.control import endpoints, sockets
from hdpd.control.places import Places
from hdpd.control.protocols import HttpProtocol
from hdpd.errors import StartError
from tests.control.fakes import Daemon, running
from tests.waiting import until

INFO = b'{"jsonrpc":"2.0","id":1,"method":"daemon.info"}'


async def started(tmp_path: Path, *addresses: TcpAddress | UnixAddress, **options: Any) -> None:
    async with running(tmp_path, addresses=addresses, **options):
        pass


async def test_the_socket_file_is_for_owner_and_group_and_goes_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "run" / "hdpd" / "sock"
    async with running(tmp_path, addresses=(UnixAddress(path),)) as daemon:
        assert daemon.addresses == [f"unix:{path}"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert not path.exists()


async def test_a_socket_file_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(os.fspath(path))
    async with running(tmp_path, addresses=(UnixAddress(path),)) as daemon:
        assert (await daemon.http("GET", "/healthz")).body == b"ok\n"


async def test_a_socket_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as used:
        used.bind(os.fspath(path))
        used.listen()
        with pytest.raises(StartError, match=f"^cannot listen on unix:{path}: .* in use"):
            await started(tmp_path, UnixAddress(path))
        assert path.exists()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(StartError, match="no socket"):
        await started(tmp_path, UnixAddress(path))
    assert path.read_text() == "mine"


async def test_a_successors_socket_file_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    async with running(tmp_path, addresses=(UnixAddress(path),)):
        path.unlink()
        path.write_text("a successor's")
    assert path.exists()


async def test_a_port_that_is_in_use_is_named_and_nothing_stays_open(tmp_path: Path) -> None:
    unix = tmp_path / "sock"
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        with pytest.raises(StartError, match=f"^cannot listen on 127.0.0.1:{port}: .* in use"):
            await started(tmp_path, UnixAddress(unix), TcpAddress("127.0.0.1", port))
    assert not unix.exists()


async def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    """One that may come is waited for; a name that nobody knows is a mistake."""
    with pytest.raises(StartError, match=r"^cannot listen on no-such-host\.invalid:0"):
        await started(tmp_path, TcpAddress("no-such-host.invalid", 0))
    later, now = TcpAddress("192.0.2.1", 0), TcpAddress("127.0.0.1", 0)
    async with running(tmp_path, addresses=(later, now)) as daemon:
        assert daemon.control.access.waiting == ["192.0.2.1:0"]
        assert len(daemon.addresses) == 1


async def test_without_ipv6_only_an_address_of_the_defaults_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen = sockets._listen_tcp

    def without_ipv6(family: int, place: tuple[object, ...], places: Places) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        return listen(family, place, places)

    monkeypatch.setattr(sockets, "_listen_tcp", without_ipv6)
    ipv4, ipv6 = TcpAddress("127.0.0.1", 0), TcpAddress("::1", 0)
    async with running(tmp_path, addresses=(ipv4, ipv6), optional=(ipv4, ipv6)) as daemon:
        assert len(daemon.addresses) == 1
    with pytest.raises(StartError, match=r"^cannot listen on \[::1\]:0"):
        await started(tmp_path, ipv4, ipv6)


async def test_several_addresses_and_a_host_name(tmp_path: Path) -> None:
    async with running(
        tmp_path, addresses=(TcpAddress("localhost", 0), UnixAddress(tmp_path / "sock"))
    ) as daemon:
        assert daemon.addresses[0].startswith(("http://127.0.0.1:", "http://[::1]:"))
        assert (await daemon.http("GET", "/healthz")).status == 200
        link = await daemon.call("tokens.login_link")
        assert link["url"].startswith(daemon.addresses[0] + "/#code=")


async def test_a_login_link_to_all_addresses_names_the_machine(tmp_path: Path) -> None:
    addresses = (TcpAddress("0.0.0.0", 0), UnixAddress(tmp_path / "sock"))
    async with running(tmp_path, addresses=addresses) as daemon:
        link = await daemon.call("tokens.login_link")
        assert link["url"].startswith(f"http://{socket.gethostname()}:{daemon.port}/#code=")


async def test_signals_stay_the_daemons_own(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with running(tmp_path):
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


async def test_close_twice_and_without_start_is_fine(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.control.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "word"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/rpc", 405, "method_not_allowed"),
        ("DELETE", "/files/x/y/z", 405, "method_not_allowed"),
    ],
)
async def test_other_urls(tmp_path: Path, method: str, path: str, status: int, word: str) -> None:
    async with running(tmp_path) as daemon:
        answer = await daemon.http(method, path)
        assert (answer.status, answer.json()["error"]) == (status, word)


async def test_posts(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        answer = await daemon.http("POST", "/rpc", INFO)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        notification = b'{"jsonrpc":"2.0","method":"daemon.info"}'
        nothing = await daemon.http("POST", "/rpc", notification)
        assert (nothing.status, nothing.body) == (204, b"")
        assert (await daemon.http("POST", "/rpc", b"x")).json()["error"]["code"] == -32700
        home = await daemon.http("GET", "/")
        assert home.headers["content-type"] == "text/html; charset=utf-8"


async def test_a_body_is_bounded_in_size_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "BODY_S", 0.05)
    async with running(tmp_path) as daemon:
        large = await daemon.http("POST", "/rpc", b" " * (1024 * 1024 + 1))
        assert (large.status, large.json()["error"]) == (413, "request_too_large")
        reader, writer = await asyncio.open_unix_connection(daemon.socket_path)
        writer.write(b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_a_mistake_of_ours_is_logged_and_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as daemon:

        def fail(_raw: bytes) -> None:
            raise ValueError("secret detail")

        monkeypatch.setattr("hdpd.control.files.parse_target", fail)
        answer = await daemon.http("GET", "/files/x/y")
        assert (answer.status, answer.json()["error"]) == (500, "internal_error")
        assert b"secret" not in answer.body
        assert "GET /files/x/y failed" in caplog.text
        assert "secret detail" in caplog.text


async def test_nonsense_gets_no_more_than_a_status(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        for nonsense in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
            writer.write(nonsense)
            assert (await reader.read()).startswith(b"HTTP/1.1 400")
            writer.close()


async def test_who_sends_no_request_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpProtocol, "idle_seconds", 0.05)
    async with running(tmp_path) as daemon:
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        writer.write(b"GET / HT")
        assert await reader.read() == b""
        writer.close()
        # After a request too.
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"ok\n")
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("tls", [False, True])
async def test_idle_connections_are_bounded_from_accept_and_keep_nobody_out(
    tmp_path: Path, tls: bool
) -> None:
    addresses = (TcpAddress("127.0.0.1", 0, tls=tls), UnixAddress(tmp_path / "sock"))
    async with running(tmp_path, addresses=addresses, certificate_dir=tmp_path) as daemon:
        places = daemon.control._listeners.places
        places._share = 3
        idle = [await asyncio.open_connection("127.0.0.1", daemon.port) for _ in range(8)]
        await until(lambda: places.ended == 5)
        assert len(places) == 3
        for reader, _ in idle[:5]:
            async with asyncio.timeout(5.0):
                assert await reader.read() == b""
        if not tls:
            assert (await daemon.http("GET", "/healthz", tcp=True)).body == b"ok\n"
        assert (await daemon.http("GET", "/healthz")).body == b"ok\n"
        for _, writer in idle:
            writer.close()
        await until(lambda: len(places) == 0)


async def test_who_has_shown_a_token_keeps_the_place(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        places = daemon.control._listeners.places
        places._share = 3
        token = (await daemon.call("tokens.new", role="read"))["token"]
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        lines = ("GET /metrics HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}")
        request = "".join(f"{line}\r\n" for line in (*lines, ""))
        writer.write(request.encode())
        assert b"200" in await reader.readline()
        idle = [await asyncio.open_connection("127.0.0.1", daemon.port) for _ in range(8)]
        await until(lambda: places.ended == 5)
        writer.write(request.encode())
        while b"HTTP/1.1 200" not in await reader.readline():
            assert not reader.at_eof()
        for _, each in (*idle, (reader, writer)):
            each.close()


def connections(daemon: Daemon) -> int:
    return sum(len(server.server_state.connections) for server in daemon.control._serving)
