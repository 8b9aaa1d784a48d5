"""One share: whether it is there, when it is scanned, and what is known of it.

Whole because each of the three decides about the others.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from hdpd.errors import ShareAway
from hdpd.log import MessageId, fields
from hdpd.shares.calls import ShareCalls
from hdpd.shares.jobs import Job, Reach, Report, ShareJob
from hdpd.shares.mounts import mounts_around
from hdpd.shares.opening import Place
from hdpd.shares.presence import Presence, look_at
from hdpd.shares.scan_times import Schedule
from hdpd.shares.scanning import run_scanner
from hdpd.shares.status import ShareChanged, ShareState, ShareStatus
from hdpd.shares.watching import Watching
from hdpd.wire.paths import text_from_bytes

LOG = logging.getLogger(__name__)

# Between looks whether the directory is there, where nobody tells.
LOOK_S = 15.0
ANSWER_S = 10.0  # a file system that takes longer for one look is away


class Indexed(NamedTuple):
    """What the index holds of a share from its last complete scan."""

    root: int
    mount_point: bool
    files: int
    directories: int
    bytes: int
    skipped: int
    scanned_at: float | None
    searchable: bool
    file_system: int = 0
    read_at: float = 0.0
    """When everything was last read, changed or not; 0 is never."""


NOT_INDEXED = Indexed(0, False, 0, 0, 0, 0, None, False)


class Surroundings(Struct):
    """What all shares have in common."""

    database_path: Path
    emit: Callable[[ShareChanged], None]
    devices: dict[int, asyncio.Lock]
    """One scan at a time for each file system: two would only make its disk seek."""
    forgotten: list[int]
    """Root directories of removed shares that the index still may hold."""
    count_shares: Callable[[], int]
    max_watches: int
    """How many directories may be watched in all."""
    index_changed: Callable[[], None]
    """To be told after what listings show may be another thing."""

    def watches_for_each(self) -> int:
        """How many directories of one share may be watched."""
        return self.max_watches // max(1, self.count_shares())


class Share:
    """A directory that is offered under a name; `keep` is its life."""

    def __init__(
        self,
        name: str,
        place: Place,
        *,
        configured: bool,
        rescan: float | None,
        indexed: Indexed,
        surroundings: Surroundings,
    ) -> None:
        """`rescan` is as in the configuration: seconds, infinity, or None for as needed."""
        self.name = name
        self.place = place
        self.configured = configured
        self.calls = ShareCalls(name)
        self.state: ShareState = "scanning" if indexed.scanned_at is None else "ready"
        self.root = indexed.root
        """The id of its directory in the index, 0 until the first scan has begun."""
        self._counts = indexed
        self._reasons: list[str] = []
        self._error: str | None = None
        self._surroundings = surroundings
        self._schedule = Schedule(rescan, _age(indexed.read_at), time.monotonic())
        self._watching: Watching | None = None
        self._device = 0
        self._woken = asyncio.Event()
        self._must_look = True
        self._mounts = mounts_around(place.path)

    def status(self) -> ShareStatus:
        """What the owner is shown of it."""
        counts = self._counts
        return ShareStatus(
            name=self.name,
            path=text_from_bytes(self.place.path),
            state=self.state,
            searchable=counts.searchable,
            files=counts.files,
            directories=counts.directories,
            bytes=counts.bytes,
            skipped=counts.skipped,
            skipped_first=tuple(self._reasons),
            scanned_at=counts.scanned_at,
            watched=self._watching.count if self._watching else 0,
            error=self._error,
            configured=self.configured,
        )

    def rescan(self) -> None:
        """Reads everything as soon as possible, once more when a scan is running."""
        self._schedule.ask()
        self._woken.set()
        if self.state == "ready":
            self._become("scanning")  # so that whoever waits for the end does not see the last one

    def set_rescan(self, rescan: float | None) -> None:
        """Takes over the interval of a new configuration."""
        self._schedule.set_interval(rescan)
        self._woken.set()

    def look_again(self) -> None:
        """Sees soon whether the directory is there: something may have been mounted."""
        self._must_look = True
        self._woken.set()

    def mounts_changed(self) -> None:
        """Something was mounted or unmounted; looks whether it concerns this share."""
        mounts = mounts_around(self.place.path)
        if mounts != self._mounts:
            self._mounts = mounts
            self.look_again()

    def directory_changed(self) -> None:
        """A watched directory changed."""
        self._schedule.changed(time.monotonic())
        self._woken.set()

    def changes_missed(self) -> None:
        """Things happened that nobody could keep count of."""
        self._schedule.distrust()
        self._woken.set()

    root_moved = look_again

    def require_present(self) -> None:
        """Raises ShareAway when the directory was not there at the last look."""
        if self.state == "away":
            raise ShareAway(f"the share {self.name!r} is away: {self._error}")

    async def keep(self) -> None:
        """Looks after the share until cancelled."""
        try:
            while True:
                presence = await self._look() if self._should_look() else None
                if presence is not None and self.state == "away":
                    self._become("ready")
                reach = self._schedule.due(time.monotonic()) if self.state != "away" else None
                if reach is not None:
                    await self._scan_in_turn(reach, presence)
                    continue
                await self._sleep()
        finally:
            self._stop_watching()

    def _should_look(self) -> bool:
        """While its own directory is watched the share is left alone, so its disk can sleep."""
        return self._must_look or self._watching is None or not self._watching.holds_root

    async def _sleep(self) -> None:
        seconds = self._schedule.wait(time.monotonic())
        if self._should_look():
            seconds = min(seconds, LOOK_S) if self.state != "away" else LOOK_S
        try:
            async with asyncio.timeout(seconds if seconds < math.inf else None):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()

    async def _scan_in_turn(self, reach: Reach, presence: Presence | None) -> None:
        if reach == "named":  # few directories, which somebody waits for
            await self._scan(reach)
            return
        if presence is None and (presence := await self._look()) is None:
            return
        lock = self._surroundings.devices.setdefault(presence.device, asyncio.Lock())
        async with lock:
            await self._scan(reach)

    def _stop_watching(self) -> None:
        if self._watching is not None:
            self._watching.close()
            self._watching = None

    async def _look(self) -> Presence | None:
        self._must_look = False
        counts = self._counts
        try:
            presence = await self.calls.run(
                lambda: look_at(
                    self.place,
                    was_mount_point=counts.mount_point,
                    held_files_on=(counts.file_system or None) if counts.files else None,
                ),
                ANSWER_S,
            )
        except ShareAway as error:
            self._go_away(error.message)
            return None
        if presence.device != self._device:
            self._device = presence.device
            self._schedule.distrust()
        return presence

    def _go_away(self, reason: str) -> None:
        self._device = 0  # whatever comes back may be another disk
        self._stop_watching()
        if (self.state, self._error) != ("away", reason):
            LOG.warning(
                "the share %r is away: %s",
                self.name,
                reason,
                extra=fields(
                    message_id=MessageId.SHARE_AWAY, path=self.name, error_code="share_away"
                ),
            )
            self._become("away", reason)

    def _prepare(self, reach: Reach) -> ShareJob:
        """The job, with the watches that go with it: a scan that sees everything makes them anew,
        one that follows changes adds to them.
        """
        place = self.place
        watching = self._watching
        named = watching.take_changed() if watching and reach == "named" else []
        if reach != "named":
            self._stop_watching()
            try:
                watching = self._watching = Watching(self, hidden=place.hidden)
            except OSError as error:
                LOG.warning("the share %r cannot be watched: %s", self.name, error.strerror)
                watching = None
        return ShareJob(
            self.name,
            text_from_bytes(place.path),
            place.hidden,
            list(place.ignore or ()),
            reach=reach,
            named=named,
            inotify=watching.fd if watching else -1,
            watches=self._surroundings.watches_for_each(),
        )

    async def _scan(self, reach: Reach) -> None:
        if reach != "named":
            self._become("scanning")
        started = time.monotonic()
        self._schedule.begin(reach)
        job = Job(
            text_from_bytes(os.fsencode(self._surroundings.database_path)),
            list(self._surroundings.forgotten) if reach != "named" else [],
            self._prepare(reach),
        )
        last = await run_scanner(job, partial(self._hear, reach), self._answers)
        ended = time.monotonic()
        if last.phase == "away":
            self._schedule.distrust()
            self._go_away(last.message)
        elif last.phase == "failed":
            self._schedule.fail(started, ended)
            LOG.error("scanning the share %r failed: %s", self.name, last.message)
            self._become("error", last.message)
        else:
            self._finish(reach, started, ended, last.unwatched)

    def _finish(self, reach: Reach, started: float, ended: float, unwatched: int) -> None:
        watching = self._watching
        if watching is None:  # every directory is without one
            unwatched = self._counts.directories + 1
        else:
            watching.settle()
            unwatched += watching.trim(self._surroundings.watches_for_each())
        was_first = not self._counts.searchable
        self._schedule.end(reach, started, ended, unwatched)
        if was_first and watching is not None and watching.holds_root and unwatched:
            # It was not known yet which directories deserve the watches most.
            self._schedule.distrust()
        self._counts = self._counts._replace(searchable=True)
        self.state, self._error = "scanning" if self._schedule.asked else "ready", None
        self._surroundings.emit(ShareChanged(self.status()))

    async def _answers(self) -> bool:
        return await self._look() is not None

    def _hear(self, reach: Reach, report: Report) -> None:
        if report.phase == "watching":
            if self._watching is not None:
                self._watching.claim(report.watches)
            return
        self.root = report.root
        self._surroundings.index_changed()
        if self._watching is not None:
            self._watching.root = report.root
        if report.phase == "scanned" and reach == "all":
            self._tell_skipped(report)
        elif report.phase != "scanned" and self._counts.scanned_at is not None:
            return  # what the last complete scan saw stands until this one is complete
        self._counts = self._counts._replace(
            files=report.files,
            directories=report.directories,
            bytes=report.bytes,
            skipped=report.skipped,
            mount_point=report.mount_point,
            file_system=report.file_system,
            scanned_at=time.time() if report.phase == "scanned" else None,
        )
        if reach != "named":  # it is over in a moment
            self._surroundings.emit(ShareChanged(self.status()))

    def _tell_skipped(self, report: Report) -> None:
        self._reasons = report.reasons
        for reason in report.reasons:
            LOG.warning("not shared: %s", reason)
        if report.skipped > len(report.reasons):
            LOG.warning("the share %r: %d entries in all are not shared", self.name, report.skipped)

    def _become(self, state: ShareState, error: str | None = None) -> None:
        if (self.state, self._error) != (state, error):
            self.state, self._error = state, error
            self._surroundings.emit(ShareChanged(self.status()))


def _age(read_at: float) -> float | None:
    """How many seconds ago that was by the clock of the wall, None for never."""
    return max(0.0, time.time() - read_at) if read_at else None
