"""Runs what the queue decides: starts and stops runners, settles how downloads end, and tells."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

from hdpd.config.sizes import Reserve
from hdpd.downloads.queue import UNTIL_CONNECTED, Place, Queue, Wish
from hdpd.downloads.records import Download, JsonObject
from hdpd.downloads.removal import purge
from hdpd.downloads.room import RoomKeeper
from hdpd.downloads.runner import Runner
from hdpd.downloads.store import Store
from hdpd.downloads.volumes import Volume, Volumes
from hdpd.errors import (
    DiskFull,
    DiskSilent,
    HdpdError,
    NoCommonTopic,
    PeerNotConnected,
    QuotaReached,
    StorageError,
)
from hdpd.identity.keys import PeerId
from hdpd.rates.throttle import Throttle
from hdpd.remote.reads import Session

log = logging.getLogger(__name__)

Emit = Callable[[str, JsonObject], None]
SessionOf = Callable[[PeerId], Session | None]

PROGRESS_SECONDS = 0.5  # between events of one download
ROOM_SECONDS = 5.0  # between looks at a volume that is written to or waited for
FIRST_LOST_DELAY = 0.5  # seconds until a connected peer is asked again after its stream was lost
MAX_LOST_DELAY = 30.0
QUOTA_SECONDS = 600.0  # between questions whether a new day has begun where the peer is
STOP_SECONDS = 2.0  # a download that a hanging disk holds stops when the disk answers
CLOSE_SECONDS = 2.4  # to record how far everything came
LAST_SECONDS = 0.4  # for what had to be cancelled after that


class Conductor:
    """The unfinished downloads in memory, and the runners of those that run."""

    def __init__(
        self,
        store: Store,
        session_of: SessionOf,
        download_dir: Path,
        throttle: Throttle,
        emit: Emit,
        reserve: Reserve,
    ) -> None:
        self.live: dict[str, Download] = {}
        self._store = store
        self._session_of = session_of
        self._throttle = throttle
        self._emit = emit
        self._queue = Queue()
        self._runners: dict[str, Runner] = {}
        self.room = RoomKeeper(
            Volumes(download_dir, store, self._serve_volume),
            reserve,
            self._runners,
            self._runner_changed,
        )
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._shown: dict[str, str] = {}  # the state last told
        self._measured: dict[str, int] = {}  # bytes received when the rate was last measured
        self._losses: dict[str, int] = {}  # connections lost in a row without a byte between
        self._active = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._deciding = False
        self._closing = False

    async def start(self) -> None:
        """Takes up what the last process left."""
        await self.room.volumes.start()
        for download in await self._store.removed():
            self.purge(download)
        for download in await self._store.unfinished():
            self.take_up(download)
        for peer in {download.peer for download in self.live.values()}:
            if self._session_of(peer) is not None:
                self._queue.connected(peer)
        self._spawn(self._report_progress())

    async def close(self) -> None:
        """Stops everything and records how far it came, within 3 seconds."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        running = set(self._running.values())
        for runner in self._runners.values():
            runner.stop()
        if running:
            await asyncio.wait(running, timeout=CLOSE_SECONDS)
        rest = {*self._running.values(), *self._tasks}
        for task in rest:
            task.cancel()
        # A disk that hangs is not waited for: what is not recorded is fetched again.
        await asyncio.wait({*rest, asyncio.create_task(self._store.flush())}, timeout=LAST_SECONDS)
        self.room.volumes.close()

    # Events

    def peer_connected(self, peer: PeerId) -> None:
        self._queue.connected(peer)
        self._show_all_of(peer)

    def peer_disconnected(self, peer: PeerId) -> None:
        self._queue.disconnected(peer)
        self._show_all_of(peer)

    def take_up(self, download: Download) -> None:
        """Puts an unfinished download into the queue."""
        self.live[download.id] = download
        if self._session_of(download.peer) is not None:
            self._queue.connected(download.peer)
        wish = Wish.PAUSE if download.state == "paused" else Wish.RUN
        self._queue.add(download.id, download.peer, download.position, wish)
        self._shown[download.id] = self.state(download)
        self._decide_soon()

    async def set_wish(self, download: Download, wish: Wish) -> None:
        """Pauses or resumes, if it is unfinished."""
        if download.id not in self._queue or not self._queue.wish(download.id, wish):
            return
        self.room.forget(download.id)
        download.state = "paused" if wish is Wish.PAUSE else "queued"
        download.error = None
        self._decide_soon()
        task = self._running.get(download.id)
        if wish is Wish.PAUSE and task is not None:
            await asyncio.wait({task}, timeout=STOP_SECONDS)
        self.show(download)
        await self._store.save(download)

    async def drop(self, download: Download) -> None:
        """Stops an unfinished download and takes it out of the queue."""
        if download.id not in self._queue:
            return
        self._queue.wish(download.id, Wish.PAUSE)
        self._decide_soon()
        task = self._running.get(download.id)
        if task is not None:
            await asyncio.wait({task}, timeout=STOP_SECONDS)
        if download.id in self._queue:
            self._forget(download)

    def move(self, id_: str, place: Place) -> list[Download]:
        """Those whose position changed."""
        if id_ not in self._queue:
            return []
        moved = []
        for other, position in self._queue.move(id_, place).items():
            self.live[other].position = position
            moved.append(self.live[other])
        self._decide_soon()
        return moved

    # What is shown

    def state(self, download: Download) -> str:
        """The state word that clients see."""
        if download.id not in self._queue:
            return download.state
        state = self._queue.state(download.id)
        runner = self._runners.get(download.id)
        if state == "downloading" and runner is not None:
            if runner.volume.silent:
                return "paused"
            if runner.remote_queued:
                return "remote_queued"
        return state

    def as_json(self, row: Download) -> JsonObject:
        """The object that clients see of a stored download, as it is at this moment."""
        download = self.live.get(row.id, row)
        return download.as_json(self.state(download))

    def active_files(self, id_: str) -> set[int]:
        """Numbers of files under way."""
        runner = self._runners.get(id_)
        return runner.active_files() if runner is not None else set()

    def show(self, download: Download) -> None:
        """Tells of a change of state, if it is one."""
        state = self.state(download)
        if self._shown.get(download.id, state) != state:
            self._shown[download.id] = state
            self._emit("download.changed", download.as_json(state))

    def _show_all_of(self, peer: PeerId) -> None:
        for download in self.live.values():
            if download.peer == peer:
                self._losses.pop(download.id, None)
                self.show(download)
        self._decide_soon()

    async def _report_progress(self) -> None:
        told: dict[str, JsonObject] = {}
        while True:
            await self._active.wait()
            started = time.monotonic()
            await asyncio.sleep(PROGRESS_SECONDS)
            elapsed = time.monotonic() - started
            told = {id_: told.get(id_, {}) for id_ in self._runners}
            for id_, runner in self._runners.items():
                download = runner.download
                download.measure(download.received_bytes - self._measured[id_], elapsed)
                self._measured[id_] = download.received_bytes
                shown = self.as_json(download)
                if told[id_] != shown:
                    told[id_] = shown
                    self._emit("download.changed", shown)
            if not self._runners:
                self._active.clear()

    # Running

    def _decide_soon(self) -> None:
        # Once for all events of one turn of the loop.
        if not self._deciding and not self._closing:
            self._deciding = True
            asyncio.get_running_loop().call_soon(self._decide)

    def _decide(self) -> None:
        self._deciding = False
        if self._closing:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = time.monotonic()
        decision = self._queue.decide(now)
        for id_ in decision.stop:
            if id_ in self._runners:  # else it has just ended by itself
                self._runners[id_].stop()
        for id_ in decision.start:
            self._start(self.live[id_])
        if decision.wake is not None and decision.wake < UNTIL_CONNECTED:
            delay = max(0.0, decision.wake - now)
            self._timer = asyncio.get_running_loop().call_later(delay, self._decide)

    def _start(self, download: Download) -> None:
        session = self._session_of(download.peer)
        if session is None or session.closed:
            self._queue.stopped(download.id, time.monotonic() + FIRST_LOST_DELAY)
            self._decide_soon()
            return
        runner = Runner(
            download,
            session,
            self.room.volumes.of(download),
            self._store,
            self._throttle,
            lambda: self.room.make_sure_it_fits(runner),
            lambda: self._runner_changed(runner),
        )
        download.error = None
        self._runners[download.id] = runner
        self._measured[download.id] = download.received_bytes
        self._active.set()
        task = asyncio.create_task(self._run(runner, session))
        self._running[download.id] = task
        self.show(download)

    def _runner_changed(self, runner: Runner) -> None:
        self.show(runner.download)
        if runner.download.id not in self._queue:  # given up while its disk hung
            return
        # One that waits for a disk needs nothing of its peer, which can serve another.
        draining = runner.draining or runner.volume.silent
        if self._queue.draining(runner.download.id, draining):
            self._decide_soon()

    async def _run(self, runner: Runner, session: Session) -> None:
        download = runner.download
        received = download.received_bytes
        error: HdpdError | None = None
        try:
            await runner.run()
        except HdpdError as raised:
            error = raised
        except Exception:
            log.exception("the download %s stopped", download.id)
            error = StorageError("the download stopped over a mistake in hdpd; see its log")
        del self._runners[download.id]
        download.rate, download.queue_position, download.queue_eta = 0.0, None, None
        if download.received_bytes > received:
            self._losses.pop(download.id, None)
        try:
            if download.id not in self._queue:
                return  # given up while its disk hung
            if runner.stopped:
                self._queue.stopped(download.id)
                await self._store.save(download)
            elif error is None:
                await self._finish(download)
            else:
                await self._interrupt(runner, error, session)
        finally:
            # What is saved above lets the download begin anew already, as another task.
            if self._running.get(download.id) is asyncio.current_task():
                del self._running[download.id]
        self.show(download)
        self._decide_soon()

    async def _finish(self, download: Download) -> None:
        failure = await self._store.first_failure(download) if download.failed_files else None
        if failure is None:
            await self._settle(download, "done", None)
            return
        path, code, message = failure
        if download.type == "directory":
            message = (
                f"{download.failed_files:,} of {download.files:,} files failed; "
                f"the first: {path!r}: {message}"
            )
        await self._settle(download, "failed", (code, message))

    async def _interrupt(self, runner: Runner, error: HdpdError, session: Session) -> None:
        """Decides what becomes of a download whose runner ended early."""
        download, now = runner.download, time.monotonic()
        id_ = download.id
        if isinstance(error, PeerNotConnected):
            losses = self._losses[id_] = self._losses.get(id_, -1) + 1
            delay = min(MAX_LOST_DELAY, FIRST_LOST_DELAY * 2 ** min(losses, 16))
            self._queue.stopped(id_, now + delay)
        elif isinstance(error, NoCommonTopic):
            download.fail_with(error)
            same = self._session_of(download.peer) in (session, None)
            self._queue.stopped(id_, UNTIL_CONNECTED if same else now + FIRST_LOST_DELAY)
        elif isinstance(error, QuotaReached):
            download.fail_with(error)
            self._queue.stopped(id_, now + QUOTA_SECONDS)
        elif isinstance(error, DiskFull | DiskSilent):
            download.fail_with(error)
            await self.room.wait_for(runner, error)
            if id_ not in self._queue:  # given up meanwhile
                return
            self._queue.stopped(id_)
            if download.state != "paused":
                self._queue.wish(id_, Wish.AWAIT_ROOM)
        else:
            await self._settle(download, "failed", (error.code, error.message))
            return
        await self._store.save(download)

    async def _settle(self, download: Download, state: str, error: tuple[str, str] | None) -> None:
        download.state, download.error = state, error
        await self._store.save(download)
        self._forget(download)
        self._emit("download.changed", self.as_json(download))

    def _forget(self, download: Download) -> None:
        self._queue.remove(download.id)
        del self.live[download.id]
        for memory in (self._shown, self._measured, self._losses):
            memory.pop(download.id, None)
        self.room.forget(download.id)

    def _serve_volume(self, volume: Volume) -> None:
        self._spawn(volume.finisher.run())
        self._spawn(self._watch(volume))

    async def _watch(self, volume: Volume) -> None:
        while True:
            await asyncio.sleep(ROOM_SECONDS)
            waiting = [self.live[id_] for id_ in self._queue.awaiting_room()]
            for download in await self.room.look(volume, waiting):
                if self.room.waits(download.id):  # its owner has not paused it meanwhile
                    await self.set_wish(download, Wish.RUN)

    # Removal

    def purge(self, download: Download) -> asyncio.Task[None]:
        """Removes the partial files and the rows of a download that is marked as removed."""
        return self._spawn(purge(download, self._store, self.room.volumes.of(download).disk))

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the downloads failed", exc_info=error)
