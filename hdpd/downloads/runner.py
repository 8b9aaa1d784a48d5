"""One download while its peer is connected: lists, asks for files and ranges, settles them.

Whole because it is one loop, and what it asks next depends on all that is under way.
"""

from __future__ import annotations

import asyncio
import operator
import time
from collections.abc import Awaitable, Callable, Coroutine

from hdpd.backoff import Backoff
from hdpd.downloads.asking import Asker
from hdpd.downloads.feed import Feed
from hdpd.downloads.finisher import Ending, Step
from hdpd.downloads.finishing import Finished
from hdpd.downloads.largefile import AlreadyThere, LargeFile
from hdpd.downloads.ranges import FILE_COST, FileRanges, Range
from hdpd.downloads.records import Download, FileRecord
from hdpd.downloads.sameness import Sameness
from hdpd.downloads.smallfiles import SmallFiles
from hdpd.downloads.space import Claim
from hdpd.downloads.statedisk import StateDisk
from hdpd.downloads.store import Store
from hdpd.downloads.volumes import Volume
from hdpd.errors import Busy, FileChanged, HdpdError, ShareAway, TimedOut
from hdpd.rates.throttle import Throttle
from hdpd.remote.reads import FATAL, AskAgain, Session
from hdpd.wire.messages import Read

MAX_LARGE_FILES = 4  # open side by side, so that the end of one does not hold up the next
MAX_ENDINGS = 2048  # files that wait to be settled, about 1 kB each, before more are looked at

MAX_RESTARTS = 3  # of a file that changes while it is fetched
MAX_ATTEMPTS = 5  # in a row that end in a passing trouble, before all else goes first
RETRY = Backoff(1.0, 30.0)  # of a file that had a passing trouble
RESTART_S = 1.0  # more for each time that a file has changed; the first time it is fetched at once
MAX_COMPARING = 2  # files whose digests are computed side by side


class Runner:
    """Fetches one download over one session; `run` is to be called once.

    `make_sure_it_fits` is awaited before anything is fetched of what has become known, and raises
    what ends the runner. `changed` is called when `remote_queued` or `draining` may have changed.
    """

    def __init__(
        self,
        download: Download,
        session: Session,
        volume: Volume,
        store: Store,
        throttle: Throttle,
        sameness: Sameness,
        state_disk: StateDisk,
        apart: Volume | None,
        make_sure_it_fits: Callable[[], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        self.download = download
        self.stopped = False
        self.draining = False
        """Whether nothing more is needed of the peer."""
        self.volume = volume
        self._apart = apart
        self.volumes = [volume] if apart is None else [volume, apart]
        """Those that it writes to: where the files go, and where partial ones are kept apart."""
        self._session = session
        self._disk = disk = volume.disk
        self._store = store
        self._finisher = volume.finisher
        self._make_sure_it_fits = make_sure_it_fits
        self._fitting = (-1, -1)
        """What it still needs of the disks, which was found to fit."""
        self._prepared = self._preparing = False
        self._comparing = 0
        self._passing: HdpdError | None = None
        """The last trouble of a file that has had it often."""
        self._changed = changed
        self._wake = asyncio.Event()
        self._asker = Asker(session, download, disk, throttle, self._wake.set)
        self._tasks = asyncio.TaskGroup()
        self._fetching: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._sameness = sameness
        self._feed = Feed(download, store, disk, sameness, state_disk, self._wake.set)
        self._large: dict[int, LargeFile] = {}
        self._endings = 0
        self._small = SmallFiles(download, self._asker, disk, self._end, self._try_again)
        self._unsettled: HdpdError | None = None

    @property
    def remote_queued(self) -> bool:
        return self._asker.remote_queued

    @property
    def devices(self) -> set[bytes]:
        """Those of its volumes."""
        return {volume.device for volume in self.volumes}

    def claim_on(self, volume: Volume) -> Claim:
        """What it still takes of the device of that volume."""
        claim = self.download.claim
        if self._apart is None or self._apart.device == self.volume.device:
            return claim
        if volume.device == self._apart.device:
            return Claim(claim.id, self._missing_apart, len(self._large))
        # What lies apart is still to be brought here.
        brought = sum(large.received for large in self._large.values())
        return claim._replace(size=claim.size + brought)

    @property
    def _missing_apart(self) -> int:
        return 0 if self._apart is None else sum(e.missing for e in self._large.values())

    def active_files(self) -> set[int]:
        """The numbers of the large files under way."""
        return set(self._large)

    async def run(self) -> None:
        """Returns when every file is settled, well or not, or when `stop` was called.

        Raises:
            HdpdError: why it cannot go on; what was fetched so far is kept.
        """
        self._fetching = asyncio.create_task(self._fetch())
        try:
            await asyncio.wait({self._fetching})
        finally:
            # Nothing may be under way any more, even when this task itself was cancelled.
            self._fetching.cancel()
            self._leaving = asyncio.create_task(self._leave())
            await _end_of(self._leaving)
            if not self._fetching.cancelled():
                self._fetching.exception()  # seen, whether or not it is raised below
        self._leaving.result()
        if not self._fetching.cancelled():
            self._fetching.result()

    def stop(self) -> None:
        """Lets `run` record how far everything came, and return."""
        self.stopped = True
        if self._fetching is not None:
            self._fetching.cancel()

    def give_up(self, error: HdpdError) -> None:
        """Lets `run` record how far everything came, and raise `error`."""
        self._unsettled = error
        self._wake.set()

    def abandon(self) -> None:
        """Lets `run` end without the disk, which hangs, when nothing is to come after it."""
        if self._leaving is not None:
            self._leaving.cancel()

    async def _fetch(self) -> None:
        await self._look_for_room()
        try:
            async with self._tasks:
                self._spawn(self._feed.read_listing(self._session))
                await self._work()
        except BaseExceptionGroup as group:
            raise _first(group) from None

    async def _work(self) -> None:
        while not self._all_settled():
            self._wake.clear()
            await self._look_for_room()
            for large in [*self._large.values()]:
                if large.trouble is not None:
                    await self._large_trouble(large, large.trouble)
            if self._endings < MAX_ENDINGS and self._feed.start_loading():
                self._spawn(self._load())
            now = time.monotonic()
            while self._ask(now):
                pass
            self._note_progress()
            if self._passing is not None and self._only_waits(now):
                raise self._passing  # others may come first meanwhile
            await self._wake.wait()
            if self._unsettled is not None:
                raise self._unsettled

    async def _look_for_room(self) -> None:
        need = self.download.need, self._missing_apart
        if any(map(operator.gt, need, self._fitting)):
            await self._make_sure_it_fits()
        # What is settled leaves as much room as it took before.
        self._fitting = need

    async def _get_ready(self) -> None:
        """To be called before anything is written."""
        await self._look_for_room()
        if not self._prepared:
            await self.volume.prepare()
            self._prepared = True
            self._wake.set()

    def _only_waits(self, now: float) -> bool:
        """Whether all that is left is to be tried again later."""
        return (
            self._feed.only_put_off
            and not (self._asker.reads or self._endings or self._comparing)
            and all(now < large.not_before for large in self._large.values())
        )

    async def _leave(self) -> None:
        if self._fetching is not None:
            await asyncio.wait({self._fetching})
        open_files = [large for large in self._large.values() if not large.ending]
        await asyncio.gather(*(large.suspend() for large in open_files))
        while self._endings:
            self._wake.clear()
            await self._wake.wait()
        self._small.close()
        self._asker.close()

    def _nothing_to_ask(self) -> bool:
        return (
            self._feed.exhausted
            and not self._asker.reads
            and not self._comparing
            and all(large.ending for large in self._large.values())
        )

    def _all_settled(self) -> bool:
        return self._nothing_to_ask() and not self._large and not self._endings

    def _note_progress(self) -> None:
        self.draining = self._nothing_to_ask()
        self._changed()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.create_task(work)

    async def _load(self) -> None:
        for file, finished in await self._feed.load():
            self._end(file, finished)

    # Asking

    def _ask(self, now: float) -> bool:
        """Begins one more read, or makes a directory; False when there is none to begin now."""
        length = self._asker.range_length
        for large in self._large.values():
            if large.ending or large.ranges.exhausted or now < large.not_before:
                continue
            if not self._asker.may_ask(length + FILE_COST, held_already=large.ranges.retrying):
                return False
            asked = large.next_range(length, now)
            if asked is None:
                return False
            path = large.file.source(self.download)
            request = Read(path, asked.start, asked.length, large.file.validator)
            self._asker.reserve(request)
            self._spawn(self._fetch_range(large, request, asked, large.ranges))
            return True
        file = self._feed.first(now)
        if file is None or not self._is_ready_for(file):
            return False
        return self._ask_for_next_file(file, length)

    def _is_ready_for(self, file: FileRecord) -> bool:
        """Whether the disk is prepared, unless that waits for the size of the file."""
        if not (self._prepared or self._preparing) and (file.directory or file.size is not None):
            self._preparing = True
            self._spawn(self._get_ready())
        return self._prepared or (file.size is None and not file.directory)

    def _ask_for_next_file(self, file: FileRecord, range_length: int) -> bool:
        if file.directory:
            directory, name = file.place(self.download)
            self._end(self._feed.take(), (*directory, name))
            return True
        if file.candidate is not None:
            if self._comparing >= MAX_COMPARING:
                return False
            self._comparing += 1
            self._spawn(self._compare(self._feed.take(), file.candidate))
            return True
        if small := self._feed.small_files(range_length):
            if not self._small.may_ask(small):
                return False
            for _ in small:
                self._feed.take()
            self._spawn(self._small.fetch(small))
            return True
        if len(self._large) >= MAX_LARGE_FILES or not self._asker.may_ask(FILE_COST):
            return False
        large = LargeFile(
            self._feed.take(),
            self.download,
            self._disk,
            self._store,
            self._sameness,
            self._get_ready,
            self._wake.set,
            self._apart,
        )
        self._large[file.number] = large
        if file.validator is not None:
            large.blocked = True
            self._spawn(self._reopen(large))
        return True

    async def _compare(self, file: FileRecord, there: Finished) -> None:
        """Settles a file that is there already, if it is the same."""
        file.candidate = None
        try:
            disk = self._disk
            if await self._sameness.is_equal(self.download, file, there, disk, self._session):
                self._end(file, there)
            else:
                self._feed.put_off(file, 0.0)
        finally:
            self._comparing -= 1
            self._wake.set()

    def _try_again(self, file: FileRecord, error: HdpdError) -> None:
        delay = self._delay(file, error)
        if delay is None:
            self._end(file, error)
        else:
            self._feed.put_off(file, delay)

    def _delay(self, file: FileRecord, error: HdpdError) -> float | None:
        """Seconds until the file is asked for again; None: it failed. Raises what ends the runner.

        Only what is wrong with the file itself fails it; a peer that is busy, slow or without the
        disk of its share is waited for.
        """
        if isinstance(error, (*FATAL, ShareAway)):
            raise error
        if isinstance(error, AskAgain):
            return 0.0
        if isinstance(error, FileChanged):
            file.restarts += 1
            return RESTART_S * (file.restarts - 1) if file.restarts <= MAX_RESTARTS else None
        if isinstance(error, Busy | TimedOut):
            file.attempts += 1
            if file.attempts > MAX_ATTEMPTS:
                self._passing = error
            return RETRY.delay(file.attempts - 1)
        return None

    # Large files

    async def _reopen(self, large: LargeFile) -> None:
        try:
            await large.open()
        except HdpdError as error:
            large.blocked = False
            await self._large_trouble(large, error)
        else:
            large.blocked = False
            self._go_on(large)
        self._wake.set()

    async def _fetch_range(
        self, large: LargeFile, request: Read, asked: Range, plan: FileRanges
    ) -> None:
        try:
            await self._asker.read(request, lambda read: large.copy(read, asked, plan))
        except AlreadyThere as there:
            if there.alike.proven:
                self._end_large(large, there.alike.finished)
            else:
                large.file.candidate = there.alike.finished
                large.release()
                del self._large[large.file.number]
                self._feed.put_off(large.file, 0.0)
        except HdpdError as error:
            plan.failed(asked)
            if plan is large.ranges:
                await self._large_trouble(large, error)
        except BaseException:
            plan.failed(asked)
            raise
        else:
            large.file.attempts = 0
            self._go_on(large)

    def _go_on(self, large: LargeFile) -> None:
        """Finishes a file that is complete, else moves its watermark on."""
        if large.ending:
            return
        if large.finishable:
            self._end_large(large, large.finish())
        elif large.record_due(time.monotonic()):
            self._spawn(self._record(large))

    async def _record(self, large: LargeFile) -> None:
        if large.ending:
            return  # since this was begun: what it still had to record is counted by its end
        try:
            await large.record()
        except HdpdError as error:
            await self._large_trouble(large, error)
        else:
            self._go_on(large)
        self._wake.set()

    async def _large_trouble(self, large: LargeFile, error: HdpdError) -> None:
        if large.ending or large.blocked:
            return
        delay = self._delay(large.file, error)
        if delay is None:
            await large.abandon()
            self._end_large(large, error)
            return
        if isinstance(error, FileChanged):
            await large.start_anew()
        large.not_before = time.monotonic() + delay
        asyncio.get_running_loop().call_later(delay, self._wake.set)

    def _end_large(self, large: LargeFile, step: Step) -> None:
        large.ending = True

        def release() -> None:
            large.release()
            del self._large[large.file.number]

        self._end(large.file, step, large.pending, release)

    # Settling

    def _end(
        self,
        file: FileRecord,
        step: Step,
        pending: int = 0,
        release: Callable[[], None] | None = None,
    ) -> None:
        def settled(error: HdpdError | None) -> None:
            self._endings -= 1
            self._unsettled = error or self._unsettled
            if release is not None:
                release()
            self._wake.set()

        self._endings += 1
        self._finisher.submit(Ending(self.download, file, step, pending, settled))


async def _end_of(task: asyncio.Task[None]) -> None:
    """Waits for the end of `task`, also while the one who waits is cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception to raise for several: a mistake of ours before any error of others."""
    flat: list[BaseException] = []
    pending = [group.exceptions]
    while pending:
        for error in pending.pop():
            if isinstance(error, BaseExceptionGroup):
                pending.append(error.exceptions)
            else:
                flat.append(error)
    return min(flat, key=lambda error: isinstance(error, HdpdError))
