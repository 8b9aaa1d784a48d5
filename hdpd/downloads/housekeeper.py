"""How the disks of the downloads are, and what lies on them that belongs to nothing."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from hdpd.downloads import leftovers
from hdpd.downloads.leftovers import Leftover
from hdpd.downloads.status import DiskStatus, Leftovers
from hdpd.downloads.store import Store
from hdpd.downloads.volumes import Volumes
from hdpd.threads.blocking import BlockingCalls


class Housekeeper:
    """Looks when it is asked to."""

    def __init__(self, store: Store, volumes: Volumes) -> None:
        self._store = store
        self._volumes = volumes
        self._tidying = asyncio.Lock()
        self._calls = BlockingCalls("downloads-tidy")

    async def disks(self) -> Sequence[DiskStatus]:
        """The directories that downloads are, or were, written to."""
        return await self._volumes.disks()

    async def use_disk(self, path: Path) -> None:
        """Lets what is at `path` now be the disk that downloads are written to there.

        Raises:
            NotFound: nothing was ever written there.
        """
        await self._volumes.use(path)

    async def leftovers(self) -> Leftovers:
        """What `tidy` would remove."""
        return _counted(await self._find())

    async def tidy(self) -> Leftovers:
        """Removes partial files that belong to no download; what was removed."""
        async with self._tidying:
            found = await self._find()
            return _counted(await self._in_thread(functools.partial(leftovers.remove, found)))

    async def _find(self) -> Sequence[Leftover]:
        found = await self._in_thread(functools.partial(leftovers.find, self._volumes.roots()))
        ids = list({each.download for each in found})
        # Asked after the look: what was begun meanwhile is known by now.
        known = await self._store.existing(ids) if ids else set()
        return [each for each in found if each.download not in known]

    async def _in_thread(self, look: Callable[[], list[Leftover]]) -> list[Leftover]:
        try:
            return await self._calls.run(look, 2 * leftovers.LOOK_S)
        except TimeoutError:
            return []


def _counted(found: Sequence[Leftover]) -> Leftovers:
    return Leftovers(len(found), sum(each.size for each in found))
