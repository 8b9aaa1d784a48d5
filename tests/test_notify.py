"""What systemd hears, over a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hdpd import notify
from hdpd.notify import Notifier


@pytest.fixture
def manager(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[socket.socket]:
    """The service manager's end."""
    path = tmp_path_factory.mktemp("n") / "s"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(5)
        yield server


@pytest.fixture
def notifier() -> Iterator[Notifier]:
    notifier = Notifier()
    yield notifier
    notifier.close()


def test_states_are_told(manager: socket.socket, notifier: Notifier) -> None:
    notifier.ready("2 peers, 日本")
    notifier.status("line\nREADY=1")
    notifier.stopping()
    assert manager.recv(1000).decode() == "READY=1\nSTATUS=2 peers, 日本"
    assert manager.recv(1000) == b"STATUS=line READY=1"
    assert manager.recv(1000) == b"STOPPING=1"


async def test_watchdog_is_pinged_until_cancelled(
    monkeypatch: pytest.MonkeyPatch, manager: socket.socket, notifier: Notifier
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    manager.setblocking(False)
    watchdog = asyncio.create_task(notifier.run_watchdog())
    for _ in range(3):
        async with asyncio.timeout(5):
            assert await asyncio.get_running_loop().sock_recv(manager, 1000) == b"WATCHDOG=1"
    watchdog.cancel()
    await asyncio.wait([watchdog])


def test_a_reload_is_told_with_its_time(manager: socket.socket, notifier: Notifier) -> None:
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.ready("done")
    reloading, monotonic = manager.recv(1000).decode().split("\n")
    assert reloading == "RELOADING=1"
    assert before <= int(monotonic.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert manager.recv(1000).startswith(b"READY=1")


async def test_more_time_is_asked_for_while_it_takes(
    monkeypatch: pytest.MonkeyPatch, manager: socket.socket, notifier: Notifier
) -> None:
    monkeypatch.setattr(notify, "_EXTENSION_S", 0.03)
    manager.setblocking(False)
    async with notifier.extending():
        for _ in range(3):
            async with asyncio.timeout(5):
                data = await asyncio.get_running_loop().sock_recv(manager, 1000)
            assert data == b"EXTEND_TIMEOUT_USEC=30000"


@pytest.mark.parametrize(
    "environ", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}]
)
async def test_no_watchdog_of_ours(
    monkeypatch: pytest.MonkeyPatch, notifier: Notifier, environ: dict[str, str]
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with asyncio.timeout(5):
        await notifier.run_watchdog()


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    notifier.ready("ready")
    notifier.stopping()
    notifier.close()


def test_a_manager_that_went_away_is_harmless(manager: socket.socket, notifier: Notifier) -> None:
    manager.close()
    Path(os.environ["NOTIFY_SOCKET"]).unlink()
    notifier.status("still here")
    notifier.close()
    notifier.stopping()
