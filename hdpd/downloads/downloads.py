"""The download service: what the control interface calls.

The commands change the queue and the store; which downloads then run is the conductor's business.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from hdpd.config.sizes import Reserve
from hdpd.database import Database
from hdpd.downloads.conductor import Conductor, Emit, SessionOf
from hdpd.downloads.finished import FinishedFiles
from hdpd.downloads.queue import Place, Wish
from hdpd.downloads.records import Download, JsonObject
from hdpd.downloads.store import Store
from hdpd.downloads.verify import Verifier
from hdpd.errors import DownloadNotFound, InvalidParams, PathInvalid
from hdpd.identity.keys import PeerId
from hdpd.rates.throttle import Throttle
from hdpd.wire.paths import RemotePath

STATES = frozenset(
    {"queued", "waiting_for_peer", "remote_queued", "downloading", "paused", "done", "failed"}
)
NO_RESERVE = Reserve()
MAX_PAGE = 1000  # objects of one list; about 500 bytes each
REMOVE_SECONDS = 2.0  # the removal of a directory of a million files goes on behind the answer

_CURSOR = re.compile(r"(-?\d{1,18})\.(\d{1,18})")


class Downloads:
    """The persistent download queue.

    `emit` gets `download.added`, `.changed` and `.removed`, for progress at most twice a second
    for each download. Methods taking ids raise DownloadNotFound for one that is not there, and
    then do nothing at all.
    """

    def __init__(
        self,
        database: Database,
        session_of: SessionOf,
        download_dir: Path,
        throttle: Throttle,
        emit: Emit,
        reserve: Reserve = NO_RESERVE,
    ) -> None:
        self.finished = FinishedFiles(database, download_dir)
        self._store = Store(database)
        self._verifier = Verifier(self._store, self.finished, session_of, emit)
        self._conductor = Conductor(self._store, session_of, download_dir, throttle, emit, reserve)
        self._emit = emit
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Takes up what the last process left."""
        await self._conductor.start()

    async def close(self) -> None:
        """Stops everything and records how far it came, within 3 seconds."""
        await self._verifier.close()
        await self._conductor.close()

    def set_reserve(self, reserve: Reserve) -> None:
        """From now on so much of each volume is kept free."""
        self._conductor.room.reserve = reserve

    def peer_connected(self, peer: PeerId) -> None:
        self._conductor.peer_connected(peer)

    def peer_disconnected(self, peer: PeerId) -> None:
        self._conductor.peer_disconnected(peer)

    # The list

    async def add(self, peer: PeerId, path: RemotePath, to: str | None = None) -> str:
        """Queues a file or directory; the id of the download, that of the same unfinished one.

        Raises:
            PathInvalid: `path` is the list of shares, or `to` leads out of the download directory.
            LimitReached: the list is full.
        """
        if path.is_root:
            raise PathInvalid("name a share, or a file or directory in it")
        into = _relative(to)
        async with self._changing:
            for download in self._conductor.live.values():
                if (download.peer, download.path, download.into) == (peer, path, into):
                    return download.id
            id_ = base64.b32encode(secrets.token_bytes(5)).decode().lower()
            download = await self._store.add(id_, peer, path, into, time.time())
            self._conductor.take_up(download)
            self._emit("download.added", self._conductor.as_json(download))
        return id_

    async def list(
        self, states: Sequence[str] | None = None, limit: int = 100, cursor: str | None = None
    ) -> JsonObject:
        """Downloads in the order of the queue; `states` are any of the seven words.

        Raises:
            InvalidParams: an unknown state, or a cursor that no earlier answer gave.
        """
        wanted = STATES if states is None else frozenset(states)
        if wanted - STATES:
            raise InvalidParams(f"a state is one of: {', '.join(sorted(STATES))}")
        limit = max(1, min(limit, MAX_PAGE))
        after = _parse_cursor(cursor)
        stored = wanted & {"done", "failed"}
        if wanted - stored:
            stored |= {"queued", "paused"}
        found: list[JsonObject] = []
        while True:
            page = await self._store.page(sorted(stored), limit, after)
            for row in page:
                shown = self._conductor.as_json(row)
                if shown["state"] not in wanted:
                    continue
                if len(found) == limit and after is not None:
                    return {"downloads": found, "next_cursor": f"{after[0]}.{after[1]}"}
                found.append(shown)
                after = (row.position, row.number)
            if len(page) < limit:
                return {"downloads": found, "next_cursor": None}
            after = (page[-1].position, page[-1].number)

    async def files(self, id_: str, limit: int = 100, cursor: str | None = None) -> JsonObject:
        """The files and directories of a download, in the order of the listing."""
        (download,) = await self._find([id_])
        limit = max(1, min(limit, MAX_PAGE))
        if cursor is not None and not re.fullmatch(r"\d{1,18}", cursor):
            raise InvalidParams("that cursor is not one of ours")
        files = await self._store.files_page(download, int(cursor or 0), limit)
        active = self._conductor.active_files(id_)
        for file in files:
            if file["number"] in active and file["state"] == "waiting":
                file["state"] = "downloading"
        last = files[-1]["number"] if len(files) == limit else None
        return {"files": files, "next_cursor": None if last is None else str(last)}

    async def verify(self, id_: str) -> JsonObject:
        """Begins to compare the finished files with the peer's; raises as `Verifier.start`."""
        (download,) = await self._find([id_])
        return await self._verifier.start(download)

    async def verification(self, id_: str) -> JsonObject:
        """How far that is; raises NotFound when it was not begun."""
        await self._find([id_])
        return self._verifier.state(id_)

    # Commands

    async def pause(self, ids: Sequence[str]) -> None:
        """Stops what is unfinished until `resume`, also over a restart."""
        async with self._changing:
            for download in await self._find(ids):
                await self._conductor.set_wish(download, Wish.PAUSE)

    async def resume(self, ids: Sequence[str]) -> None:
        """Lets paused downloads go on, also those that wait for room on the disk."""
        async with self._changing:
            for download in await self._find(ids):
                await self._conductor.set_wish(download, Wish.RUN)

    async def cancel(self, ids: Sequence[str]) -> None:
        """Takes unfinished and failed downloads out of the list and removes their partial files.

        Files that were finished stay.
        """
        async with self._changing:
            for download in await self._find(ids):
                await self._conductor.drop(download)
                if download.state != "done":
                    await self._remove(download)

    async def clear(self, ids: Sequence[str]) -> None:
        """Takes finished and failed downloads out of the list."""
        async with self._changing:
            for download in await self._find(ids):
                if download.state in ("done", "failed"):
                    await self._remove(download)

    async def retry(self, ids: Sequence[str]) -> None:
        """Queues failed downloads again, for the files that failed or were not tried."""
        async with self._changing:
            for download in await self._find(ids):
                if download.state == "failed":
                    await self._store.retry(download)
                    download.state, download.error, download.failed_files = "queued", None, 0
                    self._conductor.take_up(download)
                    self._emit("download.changed", self._conductor.as_json(download))

    async def move(self, id_: str, to: str) -> None:
        """Moves an unfinished download in the queue: top, up, down or bottom.

        Raises:
            InvalidParams: another word.
        """
        try:
            place = Place(to)
        except ValueError:
            raise InvalidParams("a download is moved to: top, up, down or bottom") from None
        async with self._changing:
            await self._find([id_])
            moved = self._conductor.move(id_, place)
            await self._store.save_positions({d.number: d.position for d in moved})

    # Details

    async def _find(self, ids: Sequence[str]) -> Iterable[Download]:
        stored = {d.id: d for d in await self._store.by_ids(ids)} if ids else {}
        for id_ in ids:
            if id_ not in stored:
                raise DownloadNotFound(f"there is no download {id_!r}")
        return [self._conductor.live.get(id_, download) for id_, download in stored.items()]

    async def _remove(self, download: Download) -> None:
        download.state = "removed"
        await self._store.save(download)
        self._emit("download.removed", {"id": download.id})
        await asyncio.wait({self._conductor.purge(download)}, timeout=REMOVE_SECONDS)


def _relative(to: str | None) -> RemotePath:
    text = (to or "").removesuffix("/")
    try:
        return RemotePath(b"") if text == "." else RemotePath.from_text(text)
    except PathInvalid as error:
        raise PathInvalid(
            f"{to!r} cannot be a directory below the download directory: {error}"
        ) from None


def _parse_cursor(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidParams("that cursor is not one of ours")
    return int(match[1]), int(match[2])
