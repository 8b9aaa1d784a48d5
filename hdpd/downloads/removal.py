"""Takes a download away: its partial files, then its rows; done again when interrupted."""

from __future__ import annotations

from hdpd.downloads.disk import Disk
from hdpd.downloads.partial import remove_partials
from hdpd.downloads.records import Download
from hdpd.downloads.store import Store

PURGE_FILES = 1000  # partial files looked for in one trip to a thread


async def purge(download: Download, store: Store, disk: Disk) -> None:
    """Removes what is left of a download that is marked as removed, in steps that hold up nobody.

    Any unfinished file may have a partial one, be it only for a crash in the middle of a batch.
    """
    after = 0
    while files := await store.waiting_files(download, after, PURGE_FILES, also_failed=True):
        after = files[-1].number
        partials = [
            (file.place(download)[0], file.partial(download))
            for file in files
            if not file.directory
        ]
        await disk.submit(remove_partials, disk.root, partials)
    while not await store.remove_some(download):
        pass
