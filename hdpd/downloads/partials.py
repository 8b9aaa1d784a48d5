"""The directory for partial files that are kept apart (`incomplete_dir`)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from hdpd.downloads.partial import remove_partials
from hdpd.downloads.site import Site, prepare
from hdpd.downloads.store import Store
from hdpd.threads.worker import Worker


class Partials:
    """One such directory; it is known by its mark, as those that downloads go to are."""

    def __init__(self, site: Site, store: Store) -> None:
        self.site = site
        self._store = store
        self._worker = Worker("downloads-apart")

    async def prepared(self) -> Site:
        """The directory, to write in it. Raises as `hdpd.downloads.site.prepare`."""
        site = await self._worker.submit(functools.partial(prepare, self.site))
        if site != self.site:
            await self._store.save_site(site)
            self.site = site
        return site

    async def remove(self, names: Sequence[bytes]) -> None:
        """Removes those that are there. Raises DiskUnavailable when that has to wait."""
        places = [((), name) for name in names]
        await self._worker.submit(functools.partial(remove_partials, self.site, places))

    def close(self) -> None:
        """Ends the thread; does not wait for one that hangs."""
        self._worker.close()
