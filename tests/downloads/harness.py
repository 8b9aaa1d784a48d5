"""A download service with a fake peer, for tests: waits for states instead of sleeping."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from hdpd.database import Database
from hdpd.downloads.downloads import Downloads
from hdpd.downloads.status import (
    DownloadAdded,
    DownloadChanged,
    DownloadRemoved,
    News,
    VerificationChanged,
)
from hdpd.identity.keys import PeerId
from hdpd.rates.limits import DOWNLOAD_SLICE_S, MIN_DOWNLOAD_SLICE
from hdpd.rates.throttle import Throttle
from hdpd.wire.paths import RemotePath
from tests.fake_peer import FakePeer, FakeSession
from tests.waiting import POLL_S, WAIT_S

FINAL = ("done", "failed")


KINDS = {
    DownloadAdded: "download.added",
    DownloadChanged: "download.changed",
    DownloadRemoved: "download.removed",
    VerificationChanged: "verification.changed",
}


def as_dict(value: object) -> dict[str, Any]:
    """The fields of an answer or an event, and of what is in it, with texts for ids and paths."""
    shown = _plain(value)
    assert isinstance(shown, dict)
    return shown


def _plain(value: object) -> Any:
    if isinstance(value, PeerId | RemotePath):
        return value.text
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


class Harness:
    """`root` is the download directory; `events` are all that were emitted."""

    def __init__(
        self,
        base: Path,
        *peers: FakePeer,
        destinations: Mapping[str, Path] | None = None,
        incomplete_dir: Path | None = None,
    ) -> None:
        self.base = base
        self.root = base / "downloads"
        self.peers = {peer.peer_id: peer for peer in peers}
        self.sessions: dict[PeerId, FakeSession] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.database = Database(base / "state.db", "state")
        self.throttle = Throttle(DOWNLOAD_SLICE_S, MIN_DOWNLOAD_SLICE)
        self.downloads = Downloads(
            self.database,
            self.sessions.get,
            self.root,
            self.throttle,
            self._emit,
            destinations=destinations,
            incomplete_dir=incomplete_dir,
        )
        self._changed = asyncio.Event()

    def _emit(self, event: News) -> None:
        data = as_dict(event)
        kind = KINDS[type(event)]
        self.events.append((kind, data.get("download") or data.get("verification") or data))
        self._changed.set()

    def connect(self) -> None:
        for peer_id, peer in self.peers.items():
            if peer_id not in self.sessions:
                self.sessions[peer_id] = peer.session()
                self.downloads.peer_connected(peer_id)

    def lose(self) -> None:
        for peer_id, session in list(self.sessions.items()):
            del self.sessions[peer_id]
            session.lose()
            self.downloads.peer_disconnected(peer_id)

    async def add(self, path: str, to: str | None = None, peer: FakePeer | None = None) -> str:
        peer_id = peer.peer_id if peer else next(iter(self.peers))
        return await self.downloads.add(peer_id, RemotePath.from_text(path), to)

    async def get(self, path: str, to: str | None = None) -> dict[str, Any]:
        """Downloads and waits for the end."""
        return await self.wait(await self.add(path, to))

    async def list(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        """A page of the list."""
        return as_dict(await self.downloads.list(*arguments, **named))

    async def shown(self, id_: str) -> dict[str, Any]:
        listed = await self.list(limit=1000)
        return next(item for item in listed["downloads"] if item["id"] == id_)

    async def files(self, id_: str) -> dict[str, dict[str, Any]]:
        listed = as_dict(await self.downloads.files(id_, limit=1000))
        return {item["path"]: item for item in listed["files"]}

    async def wait(self, id_: str, *states: str) -> dict[str, Any]:
        """Until the download is in one of `states` (without any: done or failed)."""
        return await self.until(id_, lambda item: item["state"] in (states or FINAL))

    async def until(self, id_: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(WAIT_S):
            while True:
                self._changed.clear()
                item = await self.shown(id_)
                if holds(item):
                    return item
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), POLL_S)

    async def received(self, id_: str, size: int) -> dict[str, Any]:
        return await self.until(id_, lambda item: item["received_bytes"] >= size)

    async def tree(self) -> dict[str, bytes | None]:
        """Everything below the download directory; None for a directory."""
        return await asyncio.to_thread(self._tree)

    def _tree(self) -> dict[str, bytes | None]:
        return {
            str(path.relative_to(self.root)): None if path.is_dir() else path.read_bytes()
            for path in sorted(self.root.rglob("*"))
        }

    def crashed_copy(self, base: Path) -> None:
        """What would be there after a loss of power, and worse: partial files end in garbage."""
        base.mkdir()
        database = sqlite3.connect(base / "state.db")
        # As of one moment, before the rest: the files of a database in use are not copied as such.
        with closing(sqlite3.connect(self.base / "state.db")) as live:
            live.backup(database)
        shutil.copytree(
            self.base, base, ignore=shutil.ignore_patterns("state.db*"), dirs_exist_ok=True
        )
        # It is to be the same disk: what a copy would be known by is corrected.
        database.execute("UPDATE site SET root=?", (str(base / "downloads"),))
        database.execute("UPDATE download SET root=?, place=NULL", (str(base / "downloads"),))
        for partial in base.rglob("*.part"):
            id_ = partial.stem.rpartition("-")[2]
            inode = partial.stat().st_ino
            database.execute("UPDATE download_file SET inode=? WHERE partial=?", (inode, id_))
            with partial.open("ab") as file:
                file.write(b"garbage" * 1000)
        database.commit()
        database.close()


@contextlib.asynccontextmanager
async def service(
    base: Path,
    *peers: FakePeer,
    connected: bool = True,
    destinations: Mapping[str, Path] | None = None,
    incomplete_dir: Path | None = None,
) -> AsyncIterator[Harness]:
    base.mkdir(exist_ok=True)
    harness = Harness(base, *peers, destinations=destinations, incomplete_dir=incomplete_dir)
    await harness.database.open()
    try:
        await harness.downloads.start()
        if connected:
            harness.connect()
        yield harness
    finally:
        async with asyncio.timeout(3.0):
            await harness.downloads.close()
        await harness.database.close()
    for volume in harness.downloads._scheduler.room.volumes.all.values():
        assert volume.disk.window.used == 0, "a part of the window was lost"
