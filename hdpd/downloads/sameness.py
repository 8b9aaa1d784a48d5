"""Whether a file that is there already is the one that is to be downloaded.

Name, size and mtime prove nothing: anybody can offer a file with those of another. It is the same
when it is recorded as downloaded from there, and nobody has touched it since, or when its digest is
that of the peer's file. What is not worth a digest is fetched, and compared byte by byte when it is
finished.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from msgspec import Struct

from hdpd.downloads.digest import digest_there
from hdpd.downloads.disk import Disk
from hdpd.downloads.finishing import Finished, alike
from hdpd.downloads.partial import remove_partials
from hdpd.downloads.records import Download, FileRecord, FinishedFile
from hdpd.downloads.site import Components, Site
from hdpd.downloads.store import Store
from hdpd.errors import HdpdError
from hdpd.remote.reads import FATAL, Session
from hdpd.shares.hashing import Hasher
from hdpd.shares.opening import OpenedFile, Place, open_file

COMPARE_BYTES = 1024 * 1024
"""Less is fetched in the time that two disks need to read it."""


class Alike(Struct, frozen=True):
    """A file that is there; `proven`: it was downloaded from where this one is to come from."""

    finished: Finished
    proven: bool


class Sameness:
    """Used by all runners."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hasher = Hasher()

    async def alike(
        self, download: Download, disk: Disk, files: Sequence[FileRecord]
    ) -> list[Alike | None]:
        """For each file what is there under its name, with its size and mtime."""
        if not files:
            return []
        wanted = [file.complete(download, None) for file in files]
        there = await disk.submit(alike, disk.site, wanted)
        found = [file for file, one in zip(files, there, strict=True) if one is not None]
        if not found:
            return [None] * len(files)
        records = iter(await self._store.came_from(download, found))
        results: list[Alike | None] = []
        for file, one in zip(files, there, strict=True):
            if one is None:
                results.append(None)
                continue
            place = (*file.place(download)[0], one.name)
            proven = any(_is_that(download, place, one, *record) for record in next(records))
            results.append(Alike(one, proven))
        settled = [f for f, one in zip(files, results, strict=True) if one and one.proven]
        await self._drop_partials(download, disk, settled)
        return results

    async def is_equal(
        self, download: Download, file: FileRecord, there: Finished, disk: Disk, session: Session
    ) -> bool:
        """Whether both sides compute the same digest.

        Raises:
            HdpdError: the session is no longer good for anything.
        """
        place = (*file.place(download)[0], there.name)
        try:
            theirs = await digest_there(session, file.source(download))
            if theirs.size != file.size:
                return False
            ours = await self._hasher.hash(b"downloads", lambda: _opened(disk.site, place), _ignore)
        except FATAL:
            raise
        except HdpdError:
            return False  # it is fetched, then
        if ours.digest != theirs.digest:
            return False
        await self._drop_partials(download, disk, [file])
        return True

    async def _drop_partials(
        self, download: Download, disk: Disk, files: Sequence[FileRecord]
    ) -> None:
        """Removes what a crash between a rename and its record, or another download, left."""
        if files:
            partials = [place for file in files for place in file.partials(download)]
            await disk.submit(remove_partials, disk.site, partials)

    def close(self) -> None:
        """Nothing is asked for any more."""
        self._hasher.close()


def _is_that(
    download: Download,
    place: Components,
    there: Finished,
    other: Download,
    file: FinishedFile,
    ctime_ns: int | None,
) -> bool:
    """Whether a finished file is the one that is there, and was not touched since."""
    other.keep_to(download.rules)
    return (
        other.root == download.root
        and file.place(other) == place
        and (file.mtime_ns, ctime_ns) == (there.mtime_ns, there.ctime_ns)
    )


def _opened(site: Site, place: Components) -> OpenedFile:
    root = Place(os.fsencode(site.root), hidden=True, ignore=None)
    return open_file(root, b"/".join(place))


def _ignore(_done: int) -> None:
    """Nobody is told how far it is."""
