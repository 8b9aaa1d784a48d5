"""The file systems that downloads are written to, each with threads of its own.

Mounts below the download directory are volumes of their own: when one is full or does not answer
any more, the downloads to the others go on.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

from hdpd.downloads.disk import Disk
from hdpd.downloads.filesystem import free_room
from hdpd.downloads.finisher import Finisher
from hdpd.downloads.records import Download
from hdpd.downloads.space import Room
from hdpd.downloads.store import Store
from hdpd.errors import DiskSilent, StorageError
from hdpd.mountinfo import MOUNTINFO, Mount, mount_of, parse_mounts
from hdpd.threads.worker import Worker

SILENT_SECONDS = 10.0  # what waits then goes on when the disk has spun up after all
MOUNTS_SECONDS = 1.0  # the list of mounts is read again after so long


class Volume:
    """One file system; `silent` says whether it failed to answer when it was looked at last."""

    def __init__(self, root: Path, looked_at: Path, store: Store) -> None:
        self.disk = Disk(root)
        self.finisher = Finisher(self.disk, store)
        self.silent = False
        self._looked_at = looked_at
        self._looker = Worker("downloads-look")
        self._look: asyncio.Future[Room] | None = None

    async def look(self) -> Room:
        """How much room there is.

        Raises:
            DiskSilent: it does not answer.
            StorageError: it cannot tell.
        """
        patience = 0.0 if self.silent else SILENT_SECONDS
        if self._look is None or self._look.done():
            self._look = self._looker.submit(functools.partial(free_room, self._looked_at))
            patience = SILENT_SECONDS
        # The same call is waited for by all, so that a dead mount does not gather them.
        look = self._look
        await asyncio.wait({look}, timeout=patience)
        if not look.done():
            raise DiskSilent(
                f"the disk of {os.fspath(self._looked_at)!r} does not answer; the download goes on "
                "by itself when it does"
            )
        try:
            return look.result()
        except OSError as error:
            raise StorageError(
                f"cannot look at {os.fspath(self._looked_at)!r}: {error.strerror}"
            ) from None

    def close(self) -> None:
        """Ends its threads; does not wait for one that hangs."""
        self.disk.close()
        self._looker.close()


class Volumes:
    """All volumes below the download directory, made when they are first needed; as many as the
    owner mounts there. `on_new` is told of each.
    """

    def __init__(self, root: Path, store: Store, on_new: Callable[[Volume], None]) -> None:
        self.all: dict[bytes, Volume] = {}
        self._root = root
        self._real = root
        self._store = store
        self._on_new = on_new
        self._mounts: list[Mount] = []
        self._read_at = -MOUNTS_SECONDS

    async def start(self) -> None:
        """Finds out where the download directory really is."""
        looker = Worker("downloads-find")
        real = looker.submit(functools.partial(os.path.realpath, self._root))
        looker.close()
        await asyncio.wait({real}, timeout=SILENT_SECONDS)
        if real.done():
            self._real = Path(real.result())

    def of(self, download: Download) -> Volume:
        """The volume that the download is written to."""
        now = time.monotonic()
        if now - self._read_at >= MOUNTS_SECONDS:
            self._mounts, self._read_at = parse_mounts(MOUNTINFO.read_bytes()), now
        real = os.fsencode(self._real)
        mount = mount_of(b"/".join((real, *download.base)), self._mounts)
        volume = self.all.get(mount.device)
        if volume is None:
            point = Path(os.fsdecode(mount.point))
            looked_at = point if self._real in point.parents else self._real
            volume = self.all[mount.device] = Volume(self._root, looked_at, self._store)
            self._on_new(volume)
        return volume

    def close(self) -> None:
        """Ends all threads; does not wait for one that hangs."""
        for volume in self.all.values():
            volume.close()
