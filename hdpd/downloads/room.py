"""Sees to it that running downloads have room on their volumes, and when those that wait may go on.

What fits is decided in `space`; here that meets the volumes, which may hang.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hdpd.config.sizes import Reserve
from hdpd.downloads.records import Download
from hdpd.downloads.runner import Runner
from hdpd.downloads.space import NoRoom, Room, first_without_room
from hdpd.downloads.volumes import Volume, Volumes
from hdpd.errors import DiskSilent, HdpdError

log = logging.getLogger(__name__)

ROOM_BYTES = 1024 * 1024  # more than there was when it was full: worth another try
ROOM_ANYWAY_SECONDS = 60.0  # a quota or the number of files may be full, which statvfs never shows


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A download that goes on when its volume has room, or answers."""

    volume: Volume
    since: float
    was_free: int | None
    """What was free when a write failed, for which the file system may have had other reasons."""


class RoomKeeper:
    """`runners` are the running downloads by id, kept by their owner; `changed` tells it that the
    volume of one has fallen silent, or answers again. `reserve` may be replaced at any time.
    """

    def __init__(
        self,
        volumes: Volumes,
        reserve: Reserve,
        runners: Mapping[str, Runner],
        changed: Callable[[Runner], None],
    ) -> None:
        self.volumes = volumes
        self.reserve = reserve
        self._runners = runners
        self._changed = changed
        self._waiting: dict[str, _Waiting] = {}

    async def make_sure_it_fits(self, runner: Runner) -> None:
        """Raises NoRoom when what is still to come of the download does not fit beside what was
        promised to others, DiskSilent when its volume does not answer.
        """
        id_, room = runner.download.id, await runner.volume.look()
        others = [need for need in self._needs(runner.volume) if need[0] != id_]
        needs = [*others, (id_, runner.download.missing)]
        without = first_without_room(room, self.reserve, needs)
        if without is not None and without[0] == id_:
            raise without[1]

    async def wait_for(self, runner: Runner, error: HdpdError) -> None:
        """Remembers what the download waits for, which `error` stopped."""
        since, was_free = time.monotonic(), None
        if not isinstance(error, NoRoom | DiskSilent):
            try:
                was_free = (await runner.volume.look()).free
            except HdpdError:
                was_free = 0
        self._waiting[runner.download.id] = _Waiting(runner.volume, since, was_free)

    def waits(self, id_: str) -> bool:
        """Whether `wait_for` was called, and not `forget`."""
        return id_ in self._waiting

    def forget(self, id_: str) -> None:
        """It does not wait any more."""
        self._waiting.pop(id_, None)

    async def look(self, volume: Volume, waiting: Sequence[Download]) -> list[Download]:
        """Pauses what does not fit any more; those of the waiting ones that may go on."""
        here = [
            download
            for download in waiting
            if (place := self._waiting.get(download.id)) is not None and place.volume is volume
        ]
        if not here and not any(runner.volume is volume for runner in self._runners.values()):
            return []
        try:
            room = await volume.look()
        except DiskSilent as error:
            self._set_silent(volume, error)
            return []
        except HdpdError as error:
            log.warning("%s", error.message)
            return []
        self._set_silent(volume, None)
        self._keep_reserve(volume, room)
        return self._fitting(volume, room, here)

    def _set_silent(self, volume: Volume, error: DiskSilent | None) -> None:
        if volume.silent == (error is not None):
            return
        volume.silent = error is not None
        for runner in self._runners.values():
            if runner.volume is volume:
                runner.download.fail_with(error)
                self._changed(runner)

    def _needs(self, volume: Volume) -> list[tuple[str, int]]:
        """What is promised to the running downloads, in the order of the queue."""
        running = [runner.download for runner in self._runners.values() if runner.volume is volume]
        return [(d.id, d.missing) for d in sorted(running, key=lambda d: d.position)]

    def _keep_reserve(self, volume: Volume, room: Room) -> None:
        """Pauses the first that does not fit any more; what then is left shows at the next look."""
        without = first_without_room(room, self.reserve, self._needs(volume))
        if without is not None:
            self._runners[without[0]].give_up(without[1])

    def _fitting(self, volume: Volume, room: Room, here: Sequence[Download]) -> list[Download]:
        """Those that fit beside what runs, in the order of the queue."""
        needs = self._needs(volume)
        fitting = []
        for download in here:
            place = self._waiting.get(download.id)
            if place is None or not _is_worth_a_try(place, room):
                continue
            need = (download.id, download.missing + ROOM_BYTES)
            if first_without_room(room, self.reserve, [*needs, need]) is None:
                needs.append(need)
                fitting.append(download)
        return fitting


def _is_worth_a_try(place: _Waiting, room: Room) -> bool:
    return (
        place.was_free is None
        or room.free >= place.was_free + ROOM_BYTES
        or time.monotonic() - place.since >= ROOM_ANYWAY_SECONDS
    )
