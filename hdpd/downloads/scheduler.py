"""Runs what the queue decides: starts and stops runners, and settles how downloads end.

Whatever happens to a download goes through `_happen`, which keeps to the table of `states`.
Whole because this is the one place where a download changes its state.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from msgspec import Struct

from hdpd import machine
from hdpd.backoff import Backoff
from hdpd.config.sizes import Reserve
from hdpd.downloads.ledger import Ledger
from hdpd.downloads.queue import UNTIL_CONNECTED, Place, Queue
from hdpd.downloads.records import Download, SessionOf, Waiting
from hdpd.downloads.removal import Remover
from hdpd.downloads.reporter import Reporter
from hdpd.downloads.room import RoomKeeper
from hdpd.downloads.runner import Runner
from hdpd.downloads.sameness import Sameness
from hdpd.downloads.statedisk import StateDisk
from hdpd.downloads.states import STARTED, UNFINISHED, Event, State, allows
from hdpd.downloads.status import Emit
from hdpd.downloads.store import Store
from hdpd.downloads.volumes import Volume, Volumes
from hdpd.errors import (
    Busy,
    DiskUnavailable,
    HdpdError,
    NoCommonTopic,
    PeerNotConnected,
    QuotaReached,
    ShareAway,
    StateUnavailable,
    StorageError,
    TimedOut,
)
from hdpd.identity.keys import PeerId
from hdpd.rates.throttle import Throttle
from hdpd.remote.reads import Session
from hdpd.tasks import keep_running

log = logging.getLogger(__name__)

ROOM_S = 5.0  # between looks at a volume that is written to or waited for
LOST = Backoff(0.5, 30.0)  # until a connected peer is asked again after its stream was lost
IDLE_RATE = 16 * 1024  # bytes/s; whoever sends less ...
IDLE_S = 10.0  # ... for so long is in nobody's way
QUOTA_S = 600.0  # between questions whether a new day has begun where the peer is
STOP_S = 2.0  # a download that a hanging disk holds stops when the disk answers
CLOSE_S = 2.4  # to record how far everything came
LAST_S = 0.4  # for what had to be cancelled after that


class End(Struct, frozen=True):
    """How a runner ended. `not_before`: when it may begin again."""

    event: Event
    error: tuple[str, str] | None = None
    not_before: float = 0.0
    lost: bool = False
    """It waits for its peer, the longer the oftener that was in vain."""
    waiting: Waiting | None = None


class Scheduler:
    """The downloads that are not settled, and the runners of those that run."""

    def __init__(
        self,
        store: Store,
        session_of: SessionOf,
        download_dir: Path,
        throttle: Throttle,
        emit: Emit,
        reserve: Reserve,
        destinations: Iterable[Path] = (),
    ) -> None:
        self.queue: Queue[Download] = Queue()
        self.reporter = Reporter(self.queue, emit)
        self.ledger = Ledger(store, self._written)
        self._store = store
        self._session_of = session_of
        self._throttle = throttle
        self._sameness = Sameness(store)
        self._state_disk = StateDisk(store.directory)
        volumes = Volumes(download_dir, store, self._serve_volume, destinations)
        self.room = RoomKeeper(volumes, reserve, self.queue, self._runner_changed)
        self.remover = Remover(store, volumes, self._removed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._deciding = False
        self._closing = False

    async def start(self) -> None:
        """Takes up what the last process left."""
        await self._store.start()
        await self.room.volumes.start()
        for download in await self._store.removed():
            self.queue.add(download)
            self.remover.remove(download)
        for download in await self._store.unfinished():
            self.take_up(download)
        for peer in {download.peer for download in self.queue.all()}:
            if self._session_of(peer) is not None:
                self.queue.connected(peer)
        self._tasks.add(keep_running(self.reporter.run, "tell of downloads"))
        self._tasks.add(keep_running(self._watch_state, "watch the disk of the state"))

    async def close(self) -> None:
        """Stops everything and records how far it came, within 3 seconds."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        running = set()
        for download in self.queue.started():
            if download.runner is not None and download.task is not None:
                download.runner.stop()
                running.add(download.task)
        if running:
            await asyncio.wait(running, timeout=CLOSE_S)
            await self.ledger.written(LAST_S)
        rest: set[asyncio.Task[object]] = {*self._tasks}
        for download in self.queue.started():
            if download.runner is not None and download.task is not None:
                download.runner.abandon()
                rest.add(download.task)
        for task in rest:
            task.cancel()
        # A disk that hangs is not waited for: what is not recorded is fetched again.
        for ending in (self._store.flush(), self.ledger.close(), self.remover.close()):
            rest.add(asyncio.create_task(ending))
        await asyncio.wait(rest, timeout=LAST_S)
        self._sameness.close()
        self._state_disk.close()
        self.room.volumes.close()

    # Events

    def peer_connected(self, peer: PeerId) -> None:
        self.queue.connected(peer)
        self._peer_changed(peer)

    def peer_disconnected(self, peer: PeerId) -> None:
        self.queue.disconnected(peer)
        self._peer_changed(peer)

    def _peer_changed(self, peer: PeerId) -> None:
        downloads = self.queue.of(peer)
        for download in downloads:
            download.losses = 0
        self.reporter.show_soon(downloads)
        self._decide_soon()

    def take_up(self, download: Download) -> None:
        """Puts a download into the queue."""
        if self._session_of(download.peer) is not None:
            self.queue.connected(download.peer)
        self.queue.add(download)
        self.reporter.taken_up(download)
        self._decide_soon()

    # Commands: each tells whether it had to do anything.

    def pause(self, download: Download) -> bool:
        """Stops it until `resume`, also over a restart."""
        return self._command(download, Event.PAUSE)

    def resume(self, download: Download) -> bool:
        """Lets it go on, also if it waits for room on the disk."""
        return self._command(download, Event.RESUME)

    def retry(self, download: Download) -> bool:
        """Lets one that failed, and that the store knows to be queued again, begin."""
        if download.state is not State.FAILED:
            return False
        if download.id not in self.queue:
            self.queue.add(download)
        download.failed_files = 0
        return self._command(download, Event.RETRY)

    def remove(self, download: Download) -> bool:
        """Takes it out of the list, and what is left of it from the disk."""
        if not allows(download.state, Event.REMOVE):
            return False
        if download.id not in self.queue:
            self.queue.add(download)
        self._command(download, Event.REMOVE)
        self.reporter.removed(download)
        if download.state is State.REMOVED:
            self.remover.remove(download)
        return True

    def _command(self, download: Download, event: Event) -> bool:
        if not allows(download.state, event):
            return False
        download.error = None
        self._happen(download, event)
        if download.runner is not None and download.state in (State.PAUSING, State.REMOVING):
            download.runner.stop()
        self.ledger.note(download)
        return True

    async def settled(self, downloads: Iterable[Download], timeout: float) -> None:
        """Waits until no task works for any of them, for so long at most."""
        concerned = frozenset(downloads)
        # Few have a task, and many may be asked about.
        working = (each for each in self.queue.started() if each in concerned)
        tasks = {download.task for download in working if download.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)

    def move(self, download: Download, place: Place) -> None:
        """Moves an unfinished download in the queue."""
        if download.state not in UNFINISHED:
            return
        for moved in self.queue.move(download, place):
            self.ledger.note(moved)
        self._decide_soon()

    # Transitions

    def _happen(self, download: Download, event: Event, not_before: float = 0.0) -> None:
        try:
            self.queue.happened(download, event, not_before)
        except machine.WrongTransition as error:
            machine.refuse(error, download.id, download=download.id)
            return
        if download.state is not State.HELD:
            download.waiting = None
        self._decide_soon()

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
        decision = self.queue.decide(now)
        for download in decision.stop:
            if download.runner is not None:
                download.runner.stop()
            self.reporter.show(download)
        for download in decision.start:
            self._start(download)
        if decision.wake is not None:
            delay = max(0.0, decision.wake - now)
            self._timer = asyncio.get_running_loop().call_later(delay, self._decide)

    # Runners

    def _start(self, download: Download) -> None:
        session = self._session_of(download.peer)
        if session is None or session.closed:
            self._happen(download, Event.RETURN, time.monotonic() + LOST.first)
            return
        volume = self.room.volumes.of(download)
        runner = Runner(
            download,
            session,
            volume,
            self._store,
            self._throttle,
            self._sameness,
            self._state_disk,
            self.room.volumes.apart_of(download),
            lambda: self.room.make_sure_it_fits(runner),
            lambda: self._runner_changed(download),
        )
        download.fail_with(volume.trouble)
        download.runner = runner
        download.began_at = time.monotonic()
        received = download.received_bytes
        task = asyncio.create_task(self._run(download, runner, session))
        download.task = task
        task.add_done_callback(lambda task: self._returned(download, task, received))
        self.reporter.started(download)

    def _runner_changed(self, download: Download) -> None:
        if download.state not in STARTED or download.runner is None:
            return
        if download.state is not State.REMOVING:
            self.reporter.show(download)
        # One that waits for a disk needs nothing of its peer, which can serve another.
        draining = download.runner.draining or download.silent
        if draining != download.draining or (download.remote_queued and not download.idle):
            download.draining, download.idle = draining, download.remote_queued
            self._decide_soon()

    async def _run(self, download: Download, runner: Runner, session: Session) -> End:
        try:
            await runner.run()
        except DiskUnavailable as error:
            waiting = await self.room.reason_to_wait(runner, error)
            return End(Event.HOLD, _pair(error), waiting=waiting)
        except HdpdError as error:
            return self._interrupted(download, error, session)
        if runner.stopped:
            return End(Event.RETURN)
        return await self._complete(download)

    async def _complete(self, download: Download) -> End:
        failure = await self._store.first_failure(download) if download.failed_files else None
        if failure is None:
            return End(Event.FINISH)
        path, code, message = failure
        if download.type == "directory":
            message = (
                f"{download.failed_files:,} of {download.files:,} files failed; "
                f"the first: {path!r}: {message}"
            )
        return End(Event.FAIL, (code, message))

    def _interrupted(self, download: Download, error: HdpdError, session: Session) -> End:
        """What becomes of a download whose runner ended early."""
        now = time.monotonic()
        if isinstance(error, PeerNotConnected):
            return End(Event.RETURN, lost=True)
        if isinstance(error, ShareAway | Busy | TimedOut):
            return End(Event.RETURN, _pair(error), lost=True)
        if isinstance(error, NoCommonTopic):
            same = self._session_of(download.peer) in (session, None)
            not_before = UNTIL_CONNECTED if same else now + LOST.first
            return End(Event.RETURN, _pair(error), not_before)
        if isinstance(error, QuotaReached):
            return End(Event.RETURN, _pair(error), now + QUOTA_S)
        return End(Event.FAIL, _pair(error))

    def _returned(self, download: Download, task: asyncio.Task[End], received: int) -> None:
        """Its runner has ended, in whatever way."""
        download.runner = download.task = None
        download.pending_bytes = 0  # all that came is recorded, or kept by its file
        download.rate, download.queue_position, download.queue_eta = 0.0, None, None
        end = self._end_of(download, task)
        if download.state is not State.PAUSING:  # the owner's own pause has no reason
            download.error = end.error
        if end.event is Event.FINISH:
            download.ended = time.time()
        if download.received_bytes > received:
            download.losses = 0
        not_before = end.not_before
        if end.lost:
            not_before = time.monotonic() + LOST.delay(download.losses)
            download.losses += 1
        download.waiting = end.waiting
        self._happen(download, end.event, not_before)
        if download.state is State.REMOVED:
            self.remover.remove(download)
        elif download.state not in (State.DONE, State.FAILED):  # told once it is written
            self.reporter.show(download)
        self.ledger.note(download)

    def _end_of(self, download: Download, task: asyncio.Task[End]) -> End:
        if task.cancelled():
            return End(Event.RETURN)
        error = task.exception()
        if error is None:
            return task.result()
        log.error("the download %s stopped", download.id, exc_info=error)
        mistake = StorageError("the download stopped over a mistake in hdpd; see its log")
        return End(Event.FAIL, _pair(mistake))

    def _written(self, download: Download) -> None:
        if download.state in (State.DONE, State.FAILED):
            self.reporter.tell(download)
            self.queue.forget(download)

    # Volumes

    def _serve_volume(self, volume: Volume) -> None:
        self._tasks.add(keep_running(volume.finisher.run, "finish files"))
        self._tasks.add(keep_running(partial(self._watch, volume), "watch a volume"))

    async def _watch(self, volume: Volume) -> None:
        while True:
            await asyncio.sleep(ROOM_S)
            self._release(await self.room.look(volume))
            self._note_who_is_idle()

    async def _watch_state(self) -> None:
        while True:
            await asyncio.sleep(ROOM_S)
            held = [d for d in self.queue.held() if d.waiting and d.waiting.volume is None]
            if not held:
                continue
            try:
                await self._state_disk.make_sure_it_fits()
            except StateUnavailable:
                continue
            self._release(held)

    def _release(self, downloads: Iterable[Download]) -> None:
        for download in downloads:
            if download.state is State.HELD:
                self._command(download, Event.RELEASE)
                self.reporter.show(download)

    def _note_who_is_idle(self) -> None:
        """A peer that sends next to nothing takes nobody's turn among those that do."""
        now = time.monotonic()
        for download in self.queue.started():
            slow = download.rate < IDLE_RATE and now - download.began_at > IDLE_S
            if (idle := download.remote_queued or slow) != download.idle:
                download.idle = idle
                self._decide_soon()

    def _removed(self, download: Download) -> None:
        self._happen(download, Event.PURGED)


def _pair(error: HdpdError) -> tuple[str, str]:
    return error.code, error.message
