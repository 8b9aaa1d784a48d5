"""The disk that state.db lies on: what peers list is stored there, and must not fill it."""

from __future__ import annotations

import functools
from pathlib import Path

from hdpd.config.sizes import shown_size
from hdpd.downloads.disk import done_within
from hdpd.downloads.filesystem import free_room
from hdpd.errors import StateUnavailable
from hdpd.threads.worker import Worker

KEPT_BYTES = 64 * 1024 * 1024  # for all else that hdpd has to write down ...
KEPT_PART = 4  # ... but no more than a quarter of a small disk
PAGE_BYTES = 16 * 1024 * 1024  # what a page of a listing takes at most: names, log, index
LOOK_S = 10.0


class StateDisk:
    """Looked at before each page of a listing is asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._looker = Worker("downloads-state")

    async def make_sure_it_fits(self) -> None:
        """Raises StateUnavailable when there is no room for another page of a listing."""
        look = self._looker.submit(functools.partial(free_room, self._directory))
        if not await done_within(look, LOOK_S):
            raise StateUnavailable(f"the disk of {str(self._directory)!r} does not answer")
        try:
            room = look.result()
        except OSError as error:
            raise StateUnavailable(
                f"cannot look at {str(self._directory)!r}: {error.strerror}"
            ) from None
        needed = min(KEPT_BYTES, room.total // KEPT_PART) + min(PAGE_BYTES, room.total // KEPT_PART)
        if room.free < needed:
            raise StateUnavailable(
                f"waiting for room on the disk of the state directory {str(self._directory)!r}: "
                f"{shown_size(room.free)} are free, and {shown_size(needed)} have to be"
            )

    def close(self) -> None:
        """Ends the thread; does not wait for a disk that hangs."""
        self._looker.close()
