"""The files that a runner is to fetch next: listed, loaded from the store, or put off."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable

from hdpd.backoff import Backoff
from hdpd.downloads.disk import Disk
from hdpd.downloads.finishing import Finished, missing_directories
from hdpd.downloads.listing import list_next_page
from hdpd.downloads.records import Download, FileRecord
from hdpd.downloads.sameness import COMPARE_BYTES, Sameness
from hdpd.downloads.site import Components
from hdpd.downloads.statedisk import StateDisk
from hdpd.downloads.store import Store
from hdpd.errors import Busy, TimedOut
from hdpd.remote.reads import Session
from hdpd.wire.messages import MAX_BATCH_BYTES, MAX_BATCH_FILES, MAX_BATCH_PATH_BYTES

LOAD_FILES = 512  # rows taken from the database at once ...
LOW_FILES = 256  # ... as soon as there are fewer left
MAX_ATTEMPTS = 5  # of one page of the listing, over 1 + 2 + ... + 16 s
RETRY = Backoff(1.0, 30.0)  # as many attempts as that do not get to the longest


class Feed:
    """At most LOW_FILES + LOAD_FILES files of one download, in order. `wake` tells of new ones."""

    def __init__(
        self,
        download: Download,
        store: Store,
        disk: Disk,
        sameness: Sameness,
        state_disk: StateDisk,
        wake: Callable[[], None],
    ) -> None:
        self._download = download
        self._store = store
        self._disk = disk
        self._sameness = sameness
        self._state_disk = state_disk
        self._wake = wake
        self._files: deque[FileRecord] = deque()
        self._put_off: list[tuple[float, int, FileRecord]] = []  # a heap; reads in flight grow it
        self._last_loaded = 0
        self._listing = not download.listed
        self._more = True
        self._loading = False

    @property
    def exhausted(self) -> bool:
        """Whether no file is left, and none will come."""
        more = self._listing or self._more or self._loading
        return not (more or self._files or self._put_off)

    @property
    def only_put_off(self) -> bool:
        """Whether all that is left, if anything is, is to be tried again later."""
        return not (self._listing or self._more or self._loading or self._files)

    def first(self, now: float) -> FileRecord | None:
        """The file to fetch next."""
        while self._put_off and self._put_off[0][0] <= now:
            self._files.appendleft(heapq.heappop(self._put_off)[2])
        return self._files[0] if self._files else None

    def small_files(self, most_bytes: int) -> list[FileRecord]:
        """The files to fetch next, as far as they are small enough for one request that is
        answered with `most_bytes` or less; none when the first one is not.
        """
        files: list[FileRecord] = []
        room, path_room = most_bytes, MAX_BATCH_PATH_BYTES
        for file in itertools.islice(self._files, MAX_BATCH_FILES):
            size = file.size
            if file.directory or size is None or size > room:
                break
            if file.validator is not None or file.candidate is not None:
                break
            path_room -= len(self._download.path.raw) + 1 + len(file.path.raw)
            if files and (file.alone or path_room < 0):
                break
            files.append(file)
            room = min(room, MAX_BATCH_BYTES) - size
            if file.alone or room < 0:
                break
        return files

    def take(self) -> FileRecord:
        """Takes what `first` showed."""
        return self._files.popleft()

    def put_off(self, file: FileRecord, delay: float) -> None:
        """Lets `first` show it again after `delay` seconds."""
        heapq.heappush(self._put_off, (time.monotonic() + delay, file.number, file))
        asyncio.get_running_loop().call_later(delay, self._wake)

    async def read_listing(self, session: Session) -> None:
        """Stores the listing page by page, if that is not done yet.

        Raises:
            HdpdError: see `list_next_page`.
        """
        attempts = 0
        while not self._download.listed:
            await self._state_disk.make_sure_it_fits()
            try:
                await list_next_page(session, self._download, self._store)
            except (Busy, TimedOut):
                attempts += 1
                if attempts > MAX_ATTEMPTS:
                    raise  # the whole download waits then, and lets others go first
                await asyncio.sleep(RETRY.delay(attempts - 1))
            else:
                attempts = 0
                self._more = True
                self._wake()
        self._listing = False
        self._wake()

    def start_loading(self) -> bool:
        """Whether `load` is to be called now."""
        if self._loading or not self._more or len(self._files) >= LOW_FILES:
            return False
        self._more, self._loading = False, True
        return True

    async def load(self) -> list[tuple[FileRecord, Finished]]:
        """Takes more files from the store; those that were downloaded before are returned."""
        first = self._last_loaded == 0
        files = await self._store.waiting_files(self._download, self._last_loaded, LOAD_FILES)
        if files:
            self._last_loaded = files[-1].number
        if len(files) == LOAD_FILES:
            self._more = True
        if first:
            await self._note_what_is_above()
        await self._look_at_directories([file for file in files if file.directory])
        found = await self._look_for_the_same([file for file in files if not file.directory])
        self._files += [file for file in files if file.number not in found]
        self._loading = False
        self._wake()
        return [(file, found[file.number]) for file in files if file.number in found]

    async def _look_for_the_same(self, files: list[FileRecord]) -> dict[int, Finished]:
        known = [file for file in files if file.size is not None]
        there = await self._sameness.alike(self._download, self._disk, known)
        found = {}
        for file, alike in zip(known, there, strict=True):
            if alike is not None and alike.proven:
                found[file.number] = alike.finished
            elif alike is not None and (file.size or 0) >= COMPARE_BYTES:
                file.candidate = alike.finished
        return found

    async def _look_at_directories(self, files: list[FileRecord]) -> None:
        """Which of them are not there, so that whoever gives the download up can remove them."""
        if not files:
            return
        paths = [(*directory, name) for directory, name in map(self._place, files)]
        missing = await self._disk.submit(missing_directories, self._disk.site, paths)
        for file, made in zip(files, missing, strict=True):
            file.made = made

    async def _note_what_is_above(self) -> None:
        download, anchor = self._download, self._disk.site.anchor
        if download.made is not None or len(download.base) <= len(anchor) + 1:
            return
        above = [download.base[:length] for length in range(len(anchor) + 1, len(download.base))]
        missing = await self._disk.submit(missing_directories, self._disk.site, above)
        download.made = str(sum(missing))

    def _place(self, file: FileRecord) -> tuple[Components, bytes]:
        return file.place(self._download)
