"""How the disks of the downloads are, and what lies on them that belongs to nothing."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hdpd.downloads import leftovers
from hdpd.downloads.leftovers import Leftover
from hdpd.downloads.status import DiskStatus, Leftovers
from hdpd.downloads.store import Store
from hdpd.downloads.volumes import Volumes
from hdpd.threads.blocking import BlockingCalls

FIND_S: Final = leftovers.LOOK_S + 2.0  # a disk that does not answer is given up
REMOVE_S: Final = 16.0


class Housekeeper:
    """Looks when it is asked to."""

    def __init__(self, store: Store, volumes: Volumes) -> None:
        self._store = store
        self._volumes = volumes
        self._tidying = asyncio.Lock()
        self._calls = BlockingCalls("downloads-tidy")
        self._looks: dict[Path, BlockingCalls] = {}  # as many as there are directories of downloads

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
            return _counted(await self._remove(found))

    async def _find(self) -> Sequence[Leftover]:
        looks = await asyncio.gather(*(self._look(root) for root in set(self._volumes.roots())))
        # A directory may lie below another one.
        found = {each.path: each for look in looks for each in look}
        ids = list({each.download for each in found.values()})
        # Asked after the look: what was begun meanwhile is known by now.
        known = await self._store.existing(ids) if ids else set()
        return [each for each in found.values() if each.download not in known]

    async def _look(self, root: Path) -> list[Leftover]:
        """What is found there; nothing where its disk does not answer, which holds up no other."""
        calls = self._looks.setdefault(root, BlockingCalls("downloads-tidy", threads=1))
        try:
            return await calls.run(functools.partial(leftovers.find, root), FIND_S)
        except TimeoutError:
            return []

    async def _remove(self, found: Sequence[Leftover]) -> list[Leftover]:
        try:
            return await self._calls.run(functools.partial(leftovers.remove, found), REMOVE_S)
        except TimeoutError:
            return []


def _counted(found: Sequence[Leftover]) -> Leftovers:
    return Leftovers(len(found), sum(each.size for each in found))
