"""The composition root: nothing begins before all is wired, and nobody meets a half of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hdpd.app import App
from hdpd.config import Config, command_line
from hdpd.config.resolve import resolve
from hdpd.database import Database
from hdpd.errors import HdpdError
from hdpd.link.session import Session, dial_hello
from hdpd.state_directory import StateDirectory
from hdpd.wire.messages import Ls
from hdpd.wire.paths import RemotePath
from tests.link.helpers import Node, nodes
from tests.peers.helpers import quick_master
from tests.waiting import until

R = TypeVar("R")


@pytest.fixture(autouse=True)
def own_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What hdpd changes of its process is changed back; keys of topics without their price."""
    monkeypatch.setattr("hdpd.peers.topics.derive_master", quick_master)
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def config_at(path: Path, port: int = 0) -> Config:
    """An hdpd by itself: no broker, no mDNS, no STUN, nothing of this user's."""
    (path / "share").mkdir()
    (path / "share" / "file").write_text("content")
    flags = ["--topic=party", f"--port={port}", "--bind=127.0.0.1", "--no-mdns"]
    flags += ["--mqtt-server=none", "--stun-server=none", f"--control=unix:{path}/sock"]
    flags += [f"--share-dir={path}/share", f"--download-dir={path}", f"--state-dir={path}/state"]
    (path / "hdpd.toml").write_text("[network]\nport_mapping = false\n")
    flags += [f"--config={path}/hdpd.toml"]
    return resolve(command_line.parse(flags), {})


@asynccontextmanager
async def made(config: Config) -> AsyncIterator[App]:
    """An hdpd that is not started yet; stopped in the end."""
    directory = StateDirectory(config.state_dir)
    try:
        app = App(config, directory, lambda: config)
        try:
            yield app
        finally:
            await app.close()
    finally:
        directory.close()


async def test_nothing_begins_before_all_is_wired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_at(tmp_path)
    begun: list[str] = []

    def noting(what: str, call: Callable[..., R]) -> Callable[..., R]:
        def noted(*arguments: Any, **options: Any) -> R:
            begun.append(what)
            return call(*arguments, **options)

        return noted

    loop = asyncio.get_running_loop()
    with monkeypatch.context() as watched:
        for name in ("call_later", "call_at", "call_soon", "create_task", "add_reader"):
            watched.setattr(loop, name, noting(name, getattr(loop, name)))
        watched.setattr(socket, "socket", noting("socket", socket.socket))
        watched.setattr(threading.Thread, "start", noting("thread", threading.Thread.start))
        async with made(config):
            assert begun == []


async def test_a_peer_that_dials_during_the_start_finds_all_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The start is slow, as on a busy machine, and the peer knocks all the time."""
    caplog.set_level(logging.WARNING)
    read = Database.read

    async def slow(self: Database, function: Callable[..., R]) -> R:
        await asyncio.sleep(0.1)
        return await read(self, function)

    monkeypatch.setattr(Database, "read", slow)
    port = free_port()
    async with made(config_at(tmp_path, port)) as app:
        node = Node()
        peer_id = app._identity.peer_id
        sessions: list[Session] = []

        async def dial() -> None:
            while not sessions:
                connection = node.endpoint.dial(peer_id, [("127.0.0.1", port)], node.topics[0])
                with contextlib.suppress(HdpdError, TimeoutError):
                    async with asyncio.timeout(0.3):
                        sessions.append(await dial_hello(connection, node.around, peer_id))

        async with nodes(node), asyncio.TaskGroup() as group:
            group.create_task(dial())
            await asyncio.sleep(0.05)
            await app.start()
            await until(lambda: sessions, "a session")
            with await sessions[0].call(Ls(RemotePath(b"")), budget=1 << 16) as stream:
                assert "entries" in await stream.receive()
            assert app.peers.get(node.identity.peer_id) is not None
            sessions[0].close()
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
