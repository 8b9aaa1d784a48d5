"""One share: whether it is there, when it is scanned, and what is known of it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from hdpd.errors import ShareAway
from hdpd.log import MessageId, fields
from hdpd.shares.blocking import BlockingCalls
from hdpd.shares.jobs import Job, Report, ShareJob
from hdpd.shares.opening import Place
from hdpd.shares.presence import Presence, look_at
from hdpd.shares.scanning import run_scanner
from hdpd.wire.paths import text_from_bytes

LOG = logging.getLogger(__name__)

LOOK_SECONDS = 15.0  # between looks whether the directory is (still, again) there
ANSWER_SECONDS = 10.0  # a file system that takes longer for one look is away
RESCAN_SECONDS = 3600.0  # changes that nobody announced are seen after this time
RESCAN_FACTOR = 20  # and a scan takes at most this part of all time

State = Literal["scanning", "ready", "away", "error"]
Json = dict[str, object]


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


NOT_INDEXED = Indexed(0, False, 0, 0, 0, 0, None, False)


@dataclass(slots=True)
class Surroundings:
    """What all shares have in common."""

    database_path: Path
    emit: Callable[[str, Json], None]
    devices: dict[int, asyncio.Lock]
    """One scan at a time for each file system: two would only make its disk seek."""
    forgotten: list[int]
    """Root directories of removed shares that the index still may hold."""


class Share:
    """A directory that is offered under a name; `keep` is its life."""

    def __init__(
        self,
        name: str,
        place: Place,
        *,
        configured: bool,
        indexed: Indexed,
        surroundings: Surroundings,
    ) -> None:
        self.name = name
        self.place = place
        self.configured = configured
        self.calls = BlockingCalls(name)
        self.state: State = "scanning" if indexed.scanned_at is None else "ready"
        self.root = indexed.root
        """The id of its directory in the index, 0 until the first scan has begun."""
        self._counts = indexed
        self._reasons: list[str] = []
        self._error: str | None = None
        self._surroundings = surroundings
        self._wanted = asyncio.Event()
        self._next_scan = 0.0

    def to_json(self) -> Json:
        """As in `shares.list`."""
        counts = self._counts
        return {
            "name": self.name,
            "path": text_from_bytes(self.place.path),
            "state": self.state,
            "searchable": counts.searchable,
            "files": counts.files,
            "directories": counts.directories,
            "bytes": counts.bytes,
            "skipped": counts.skipped,
            "skipped_first": list(self._reasons),
            "scanned_at": counts.scanned_at,
            "error": self._error,
            "configured": self.configured,
        }

    def rescan(self) -> None:
        """Scans as soon as possible, once more when a scan is running."""
        self._wanted.set()

    def require_present(self) -> None:
        """Raises ShareAway when the directory was not there at the last look."""
        if self.state == "away":
            raise ShareAway(f"the share {self.name!r} is away: {self._error}")

    async def keep(self) -> None:
        """Looks after the share until cancelled."""
        while True:
            presence = await self._look()
            if presence is not None:
                if self._wanted.is_set() or time.monotonic() >= self._next_scan:
                    self._wanted.clear()
                    async with self._device(presence.device):
                        await self._scan(presence)
                elif self.state == "away":
                    self._become("ready")
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    def _device(self, number: int) -> asyncio.Lock:
        return self._surroundings.devices.setdefault(number, asyncio.Lock())

    async def _look(self) -> Presence | None:
        try:
            return await self.calls.run(
                lambda: look_at(self.place, was_mount_point=self._counts.mount_point),
                ANSWER_SECONDS,
            )
        except ShareAway as error:
            self._go_away(error.message)
            return None

    def _go_away(self, reason: str) -> None:
        self._next_scan = 0.0  # whatever comes back may be another disk
        self._wanted.clear()
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

    async def _scan(self, presence: Presence) -> None:
        self._become("scanning")
        started = time.monotonic()
        place = self.place
        job = Job(
            text_from_bytes(os.fsencode(self._surroundings.database_path)),
            list(self._surroundings.forgotten),
            ShareJob(
                self.name, text_from_bytes(place.path), place.hidden, list(place.ignore or ())
            ),
        )
        last = await run_scanner(job, self._hear, self._answers)
        ended = time.monotonic()
        self._next_scan = ended + max(RESCAN_SECONDS, RESCAN_FACTOR * (ended - started))
        if last.phase == "away":
            self._go_away(last.message)
        elif last.phase == "failed":
            LOG.error("scanning the share %r failed: %s", self.name, last.message)
            self._become("error", last.message)
        else:
            self._counts = self._counts._replace(searchable=True, mount_point=presence.mount_point)
            self._become("ready")

    async def _answers(self) -> bool:
        return await self._look() is not None

    def _hear(self, report: Report) -> None:
        self.root = report.root
        if report.phase == "scanned":
            self._reasons = report.reasons
            for reason in report.reasons:
                LOG.warning("not shared: %s", reason)
            if report.skipped > len(report.reasons):
                LOG.warning(
                    "the share %r: %d entries in all are not shared", self.name, report.skipped
                )
        elif self._counts.scanned_at is not None:
            return  # what the last complete scan saw stands until this one is complete
        self._counts = self._counts._replace(
            files=report.files,
            directories=report.directories,
            bytes=report.bytes,
            skipped=report.skipped,
            scanned_at=time.time() if report.phase == "scanned" else None,
        )
        self._surroundings.emit("share.changed", self.to_json())

    def _become(self, state: State, error: str | None = None) -> None:
        if (self.state, self._error) != (state, error):
            self.state, self._error = state, error
            self._surroundings.emit("share.changed", self.to_json())
