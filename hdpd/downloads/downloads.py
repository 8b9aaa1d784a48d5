"""The download service: what the control interface calls.

The commands change the queue and the store; which downloads then run is the scheduler's business.
Whole because it is the list of what clients may ask.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from hdpd.config.sizes import Reserve
from hdpd.database import Database, DatabaseError
from hdpd.downloads.finished import FinishedFiles
from hdpd.downloads.housekeeper import Housekeeper
from hdpd.downloads.queue import Place
from hdpd.downloads.records import Download, Key, SessionOf
from hdpd.downloads.scheduler import STOP_S, Scheduler
from hdpd.downloads.states import State
from hdpd.downloads.status import DownloadInfo, DownloadsPage, Emit, FilesPage, VerificationInfo
from hdpd.downloads.store import New, Store
from hdpd.downloads.turns import breathe
from hdpd.downloads.verify import Verifier
from hdpd.errors import (
    DownloadNotFound,
    HdpdError,
    InvalidParams,
    PathInvalid,
    PathNotFound,
    StateUnavailable,
)
from hdpd.identity.keys import PeerId
from hdpd.rates.throttle import Throttle
from hdpd.remote.pages import ask_for_page
from hdpd.tasks import keep_running
from hdpd.wire.messages import Ls
from hdpd.wire.paths import RemotePath

log = logging.getLogger(__name__)

STATES = frozenset(
    {"queued", "waiting_for_peer", "remote_queued", "downloading", "paused", "done", "failed"}
)
NO_RESERVE = Reserve()
MAX_PAGE = 1000  # objects of one list; about 500 bytes each
LOOK_S = 5.0  # for the answers before something is queued
LOOKS = 16  # side by side, of the 128 requests that a peer takes
CLEAR_S = 60.0  # between looks for what is to leave the list by itself
CLEAR_AT_ONCE = 1000
WRITE_S = 10.0  # a disk that takes longer to write down a command does it behind the answer
REMOVE_S = 2.0  # the removal of a directory of a million files goes on behind the answer

_CURSOR = re.compile(r"(-?\d{1,18})\.(\d{1,18})")


class Downloads:
    """The persistent download queue.

    `emit` gets what happens to them, for progress at most twice a second for each. Methods taking
    ids raise DownloadNotFound for one that is not there, and then do nothing at all; `cancel` and
    `clear` only for one that never was.
    """

    def __init__(
        self,
        database: Database,
        session_of: SessionOf,
        download_dir: Path,
        throttle: Throttle,
        emit: Emit,
        reserve: Reserve = NO_RESERVE,
        destinations: Mapping[str, Path] | None = None,
        incomplete_dir: Path | None = None,
    ) -> None:
        self.finished = FinishedFiles(database, download_dir)
        self._root = download_dir
        self._partials = None if incomplete_dir is None else str(incomplete_dir)
        self._session_of = session_of
        self._store = Store(database)
        self._verifier = Verifier(self._store, self.finished, session_of, emit)
        self._destinations = destinations or {}
        self._scheduler = Scheduler(
            self._store,
            session_of,
            download_dir,
            throttle,
            emit,
            reserve,
            [*self._destinations.values(), *([] if incomplete_dir is None else [incomplete_dir])],
        )
        self._clear_after: float | None = None
        self._clearing: asyncio.Task[None] | None = None
        self.housekeeper = Housekeeper(self._store, self._scheduler.room.volumes)
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Takes up what the last process left."""
        await self._scheduler.start()
        self._clearing = keep_running(self._clear_old, "clear old downloads")

    async def close(self) -> None:
        """Stops everything and records how far it came, within 3 seconds."""
        if self._clearing is not None:
            self._clearing.cancel()
            await asyncio.wait({self._clearing})
        await self._verifier.close()
        await self._scheduler.close()

    def set_reserve(self, reserve: Reserve) -> None:
        """From now on so much of each volume is kept free."""
        self._scheduler.room.reserve = reserve

    def set_clear_finished(self, age: float | None) -> None:
        """From now on downloads that are done leave the list when they are `age` seconds old; None:
        they stay. Their files stay in any case.
        """
        self._clear_after = age

    def peer_connected(self, peer: PeerId) -> None:
        self._scheduler.peer_connected(peer)

    def peer_disconnected(self, peer: PeerId) -> None:
        self._scheduler.peer_disconnected(peer)

    # The list

    async def add(self, peer: PeerId, path: RemotePath, to: str | None = None) -> str:
        """Queues a file or directory; the id of the download, that of the same unfinished one.

        `to` is a directory below the download directory, or `NAME:` of a destination with one
        below that.

        Raises:
            PathInvalid: `path` is the list of shares, or `to` leads out of the download directory.
            LimitReached: the list is full.
        """
        (id_,) = await self.add_all([(peer, path)], to)
        return id_

    async def add_all(
        self, wanted: Sequence[tuple[PeerId, RemotePath]], to: str | None = None
    ) -> Sequence[str]:
        """Like `add`, for many at once; all or none."""
        if any(path.is_root for _, path in wanted):
            raise PathInvalid("name a share, or a file or directory in it")
        root, into = self._destination(to)
        async with self._changing:
            ids: dict[Key, str] = {}
            rows = []
            now = time.time()
            for number, (peer, path) in enumerate(wanted):
                key = (peer, path, into, root)
                if (known := self._scheduler.queue.like(key)) is not None:
                    ids[key] = known.id
                elif key not in ids:
                    ids[key] = id_ = _new_id()
                    rows.append(New(id_, *key, now, self._partials))
                await breathe(number)
            for number, download in enumerate(await self._store.add(rows) if rows else ()):
                self._scheduler.take_up(download)
                self._scheduler.reporter.added(download)
                await breathe(number)
        return [ids[peer, path, into, root] for peer, path in wanted]

    async def make_sure_they_are_there(self, peer: PeerId, paths: Sequence[RemotePath]) -> None:
        """Asks the peer, if it is connected, and does not wait long for its answers.

        Raises:
            PathNotFound: there is no such file or directory as one of them.
        """
        if (session := self._session_of(peer)) is None:
            return
        rest = iter([path for path in paths if not path.is_root])
        missing: list[PathNotFound] = []

        async def look() -> None:
            for path in rest:
                try:
                    await ask_for_page(session, Ls(path, recursive=False, limit=1), LOOK_S)
                except PathNotFound as error:
                    missing.append(error)
                except HdpdError:
                    pass  # a file, or whatever the download itself meets and waits for
                if missing:
                    return

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S), asyncio.TaskGroup() as group:
                for _ in range(min(LOOKS, len(paths))):
                    group.create_task(look())
        if missing:
            raise missing[0]

    async def list(
        self, states: Sequence[str] | None = None, limit: int = 100, cursor: str | None = None
    ) -> DownloadsPage:
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
        found: list[DownloadInfo] = []
        while True:
            page = await self._store.page(sorted(stored), limit, after)
            for row in page:
                shown = self._scheduler.reporter.info(row)
                if shown.state not in wanted:
                    continue
                if len(found) == limit and after is not None:
                    return DownloadsPage(found, f"{after[0]}.{after[1]}")
                found.append(shown)
                after = (row.position, row.number)
            if len(page) < limit:
                return DownloadsPage(found, None)
            after = (page[-1].position, page[-1].number)

    async def files(self, id_: str, limit: int = 100, cursor: str | None = None) -> FilesPage:
        """The files and directories of a download, in the order of the listing."""
        (download,) = await self._find([id_])
        limit = max(1, min(limit, MAX_PAGE))
        if cursor is not None and not re.fullmatch(r"\d{1,18}", cursor):
            raise InvalidParams("that cursor is not one of ours")
        files = await self._store.files_page(download, int(cursor or 0), limit)
        last = files[-1].number if len(files) == limit else None
        active = download.runner.active_files() if download.runner is not None else set()
        for place, file in enumerate(files):
            if file.number in active and file.state == "waiting":
                files[place] = replace(file, state="downloading")
            if file.saved_as is None and file.state != "done":
                files[place] = replace(files[place], saved_as=download.other_name(file))
        return FilesPage(files, None if last is None else str(last))

    async def verify(self, id_: str) -> VerificationInfo:
        """Begins to compare the finished files with the peer's; raises as `Verifier.start`."""
        (download,) = await self._find([id_])
        return await self._verifier.start(download)

    async def verification(self, id_: str) -> VerificationInfo:
        """How far that is; raises NotFound when it was not begun."""
        await self._find([id_])
        return self._verifier.state(id_)

    # Commands

    async def pause(self, ids: Sequence[str]) -> None:
        """Stops what is unfinished until `resume`, also over a restart."""
        changed = await self._each(ids, self._scheduler.pause)
        await self._scheduler.settled(changed, STOP_S)
        self._scheduler.reporter.show_all(changed)

    async def resume(self, ids: Sequence[str]) -> None:
        """Lets paused downloads go on, also those that wait for room on the disk."""
        self._scheduler.reporter.show_all(await self._each(ids, self._scheduler.resume))

    async def cancel(self, ids: Sequence[str]) -> None:
        """Takes unfinished and failed downloads out of the list and removes their partial files.

        Files that were finished stay. One that is out of the list already is no mistake.
        """
        await self._remove(ids, lambda download: download.state is not State.DONE)

    async def clear(self, ids: Sequence[str]) -> None:
        """Takes finished and failed downloads out of the list."""
        await self._remove(ids, lambda download: download.state in (State.DONE, State.FAILED))

    async def retry(self, ids: Sequence[str]) -> None:
        """Queues failed downloads again, for the files that failed or were not tried."""
        async with self._changing:
            for download in await self._find(ids):
                if download.state is State.FAILED:
                    await self._store.retry(download)
                    self._scheduler.retry(download)

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
            (download,) = await self._find([id_])
            self._scheduler.move(download, place)
            await self._scheduler.ledger.written(WRITE_S)

    # Details

    def _destination(self, to: str | None) -> tuple[str, RemotePath]:
        """The root and the directory below it that `to` names."""
        name, colon, below = (to or "").partition(":")
        if colon and name in self._destinations:
            return str(self._destinations[name]), _relative(below)
        return str(self._root), _relative(to)

    async def _clear_old(self) -> None:
        while True:
            await asyncio.sleep(CLEAR_S)
            if self._clear_after is None:
                continue
            try:
                old = await self._store.done_before(time.time() - self._clear_after, CLEAR_AT_ONCE)
                await self.clear(old)
            except DownloadNotFound:
                pass  # somebody else was quicker
            except (DatabaseError, StateUnavailable) as error:  # the next time
                log.warning("old downloads could not be cleared: %s", error)

    async def _find(self, ids: Sequence[str], *, or_removed: bool = False) -> Sequence[Download]:
        found: dict[str, Download] = {}
        elsewhere, gone = [], []
        for number, id_ in enumerate(dict.fromkeys(ids)):
            if (download := self._scheduler.queue.get(id_)) is None:
                elsewhere.append(id_)
            elif download.state in (State.REMOVING, State.REMOVED):
                gone.append(id_)
            else:
                found[id_] = download
            await breathe(number)
        if elsewhere:
            found |= {each.id: each for each in await self._store.by_ids(elsewhere)}
            gone += [id_ for id_ in elsewhere if id_ not in found]
        removed = await self._store.were_removed(gone) if or_removed and gone else set()
        for id_ in gone:
            if id_ not in removed:
                raise DownloadNotFound(f"there is no download {id_!r}")
        # It may have come to the queue, or left it, meanwhile.
        return [self._scheduler.queue.get(id_) or download for id_, download in found.items()]

    async def _each(
        self, ids: Sequence[str], command: Callable[[Download], bool], *, or_removed: bool = False
    ) -> Sequence[Download]:
        """Gives a command to all of them; those that it changed, which are written down."""
        changed = []
        async with self._changing:
            for number, download in enumerate(await self._find(ids, or_removed=or_removed)):
                if command(download):
                    changed.append(download)
                await breathe(number)
            await self._scheduler.ledger.written(WRITE_S)
        return changed

    async def _remove(self, ids: Sequence[str], which: Callable[[Download], bool]) -> None:
        def remove(download: Download) -> bool:
            return which(download) and self._scheduler.remove(download)

        removed = await self._each(ids, remove, or_removed=True)
        await self._scheduler.settled(removed, STOP_S)
        await self._scheduler.remover.removed(REMOVE_S)


def _new_id() -> str:
    return base64.b32encode(secrets.token_bytes(5)).decode().lower()


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
