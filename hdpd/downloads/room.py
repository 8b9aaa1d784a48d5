"""Sees to it that running downloads have room on their volumes, and when those that wait may go on.

What fits is decided in `space`; here that meets the volumes, which may hang.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from hdpd.config.sizes import Reserve
from hdpd.downloads.queue import Queue
from hdpd.downloads.records import Download, Waiting
from hdpd.downloads.runner import Runner
from hdpd.downloads.space import Claim, NoRoom, Room, first_without_room
from hdpd.downloads.volumes import Volume, Volumes
from hdpd.errors import (
    DiskFailing,
    DiskFull,
    DiskSilent,
    DiskUnavailable,
    HdpdError,
    StateUnavailable,
)

log = logging.getLogger(__name__)

ROOM_BYTES = 1024 * 1024  # more than there was when it was full: worth another try
FAILING_S = 15.0  # until a disk that reported an error is written to again
ROOM_ANYWAY_S = 60.0  # a quota or the number of files may be full, which statvfs never shows


class RoomKeeper:
    """Looks after the started and the held downloads of `queue`; `changed` tells its owner that the
    volume of one has fallen silent, or answers again. `reserve` may be replaced at any time.
    """

    def __init__(
        self,
        volumes: Volumes,
        reserve: Reserve,
        queue: Queue[Download],
        changed: Callable[[Download], None],
    ) -> None:
        self.volumes = volumes
        self.reserve = reserve
        self._queue = queue
        self._changed = changed

    async def make_sure_it_fits(self, runner: Runner) -> None:
        """Raises NoRoom when what is still to come of the download does not fit beside what was
        promised to others, another DiskUnavailable when a volume of its cannot be written to.
        """
        id_ = runner.download.id
        for volume in runner.volumes:
            room = await volume.look()
            others = [need for need in self._needs(volume) if need.id != id_]
            without = self._without_room(volume, room, [*others, runner.claim_on(volume)])
            if without is not None and without[0] == id_:
                raise without[1]

    async def reason_to_wait(self, runner: Runner, error: DiskUnavailable) -> Waiting:
        """What a download waits for that `error` stopped."""
        since, was_free = time.monotonic(), None
        if isinstance(error, StateUnavailable):
            return Waiting(None, since, None)
        concerned = [each for each in runner.volumes if each.disk.site.path == error.at]
        volume = concerned[0] if concerned else runner.volume
        claim = runner.claim_on(volume)
        if isinstance(error, DiskFailing):
            return Waiting(volume, since, claim, patience_s=FAILING_S)
        if isinstance(error, DiskFull) and not isinstance(error, NoRoom):
            try:
                was_free = (await volume.look()).free
            except HdpdError:
                was_free = 0
        return Waiting(volume, since, claim, was_free)

    async def look(self, volume: Volume) -> list[Download]:
        """Pauses what does not fit any more; those of the held ones that may go on."""
        held = [d for d in self._queue.held() if d.waiting and d.waiting.volume is volume]
        if not held and not self._running(volume):
            return []
        try:
            room = await volume.look()
        except DiskUnavailable as error:
            self._set_trouble(volume, error)
            return []
        except HdpdError as error:
            log.warning("%s", error.message)
            return []
        self._set_trouble(volume, None)
        self._keep_reserve(volume, room)
        return self._fitting(volume, room, held)

    def _running(self, volume: Volume) -> list[tuple[Download, Runner]]:
        """Those that write to the volume, in the order of the queue."""
        started = [(d, d.runner) for d in self._queue.started() if d.runner is not None]
        return [(d, runner) for d, runner in started if volume.device in runner.devices]

    def _set_trouble(self, volume: Volume, error: DiskUnavailable | None) -> None:
        before, volume.trouble = volume.trouble, error
        if type(before) is type(error):
            return
        if error is not None:
            log.warning("%s", error.message)
        for download, runner in self._running(volume):
            if error is None or isinstance(error, DiskSilent):
                # What waits in its threads goes on when it answers.
                download.fail_with(error)
                self._changed(download)
            else:
                runner.give_up(error)

    def _needs(self, volume: Volume) -> list[Claim]:
        """What is promised to the running downloads."""
        return [runner.claim_on(volume) for _, runner in self._running(volume)]

    def _keep_reserve(self, volume: Volume, room: Room) -> None:
        """Pauses the first that does not fit any more; what then is left shows at the next look."""
        without = self._without_room(volume, room, self._needs(volume))
        for download, runner in self._running(volume):
            if without is not None and without[0] == download.id:
                runner.give_up(without[1])

    def _without_room(
        self, volume: Volume, room: Room, needs: list[Claim]
    ) -> tuple[str, NoRoom] | None:
        without = first_without_room(room, self.reserve, needs)
        if without is not None:
            without[1].at = volume.disk.site.path
        return without

    def _fitting(self, volume: Volume, room: Room, held: list[Download]) -> list[Download]:
        """Those of the held ones that fit beside what runs."""
        needs = self._needs(volume)
        fitting = []
        for download in held:
            if download.waiting is None or not _is_worth_a_try(download.waiting, room):
                continue
            claim = download.waiting.claim or download.claim
            need = claim._replace(size=claim.size + ROOM_BYTES)
            if first_without_room(room, self.reserve, [*needs, need]) is None:
                needs.append(need)
                fitting.append(download)
        return fitting


def _is_worth_a_try(waiting: Waiting, room: Room) -> bool:
    if time.monotonic() - waiting.since < waiting.patience_s:
        return False
    return (
        waiting.was_free is None
        or room.free >= waiting.was_free + ROOM_BYTES
        or time.monotonic() - waiting.since >= ROOM_ANYWAY_S
    )
