"""The file systems that downloads are written to, each with threads of its own.

Mounts below the download directory are volumes of their own: when one is full or does not answer
any more, the downloads to the others go on.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from hdpd.downloads.disk import Disk, done_within, located
from hdpd.downloads.filesystem import free_room, storage_error
from hdpd.downloads.finisher import Finisher
from hdpd.downloads.records import Download
from hdpd.downloads.site import Components, Site, check, prepare
from hdpd.downloads.space import Room
from hdpd.downloads.status import DiskStatus
from hdpd.downloads.store import Store
from hdpd.errors import DiskReadOnly, DiskSilent, DiskUnavailable, HdpdError, NotFound
from hdpd.mountinfo import MOUNTINFO, Mount, mount_of, parse_mounts
from hdpd.portable import rules_of
from hdpd.threads.worker import Worker
from hdpd.wire.paths import text_from_bytes

SILENT_S = 10.0  # what waits then goes on when the disk has spun up after all
MOUNTS_S = 1.0  # the list of mounts is read again after so long


class Volume:
    """One file system; `trouble` says what was wrong when it was looked at last."""

    def __init__(self, site: Site, mount: Mount, store: Store) -> None:
        self.disk = Disk(site)
        self.finisher = Finisher(self.disk, store)
        self.trouble: DiskUnavailable | None = None
        self.device = mount.device
        self.rules = rules_of(mount)
        self._store = store
        self._looker = Worker("downloads-look")
        self._look: asyncio.Future[tuple[Room, bool]] | None = None
        self._is_prepared = False

    @property
    def silent(self) -> bool:
        """Whether it failed to answer when it was looked at last."""
        return isinstance(self.trouble, DiskSilent)

    async def look(self) -> Room:
        """How much room there is.

        Raises:
            DiskSilent: it does not answer.
            DiskAway: it is not there.
            DiskReadOnly: nothing can be written.
            DiskFailing: it fails, as one that was cut off does.
            StorageError: it cannot tell.
        """
        with located(self.disk.site):
            return await self._look_at_it()

    async def _look_at_it(self) -> Room:
        patience = 0.0 if self.silent else SILENT_S
        if self._look is None or self._look.done():
            self._look = self._looker.submit(functools.partial(_examine, self.disk.site))
            patience = SILENT_S
        # The same call is waited for by all, so that a dead mount does not gather them.
        look = self._look
        path = os.fspath(self.disk.site.path)
        if not await done_within(look, patience):
            raise DiskSilent(
                f"the disk of {path!r} does not answer; the download goes on by itself when it does"
            )
        try:
            room, self._is_prepared = look.result()
        except OSError as error:
            raise storage_error(error, "look at", os.fsencode(path)) from None
        if room.read_only:
            raise DiskReadOnly(
                f"the disk of {path!r} is read-only; the download goes on by itself when it can be "
                "written to"
            )
        return room

    async def prepare(self) -> None:
        """To be called before anything is written: makes the directory, the first time, and what it
        is known by. Raises as `hdpd.downloads.site.prepare`.
        """
        if self._is_prepared:
            return
        before = self.disk.site
        site = await self.disk.sync(functools.partial(prepare, before))
        if site != before:
            await self._store.save_site(site)
            self.disk.site = site
        self._is_prepared = True

    def close(self) -> None:
        """Ends its threads; does not wait for one that hangs."""
        self.disk.close()
        self._looker.close()


def _examine(site: Site) -> tuple[Room, bool]:
    is_prepared = check(site)
    return free_room(site.path), is_prepared


class Volumes:
    """All volumes below the directories that are downloaded to, made when they are first needed; as
    many as the owner mounts there. `on_new` is told of each.
    """

    def __init__(
        self,
        root: Path,
        store: Store,
        on_new: Callable[[Volume], None],
        others: Iterable[Path] = (),
    ) -> None:
        self._roots = {root, *others}
        self.all: dict[tuple[Path, Components], Volume] = {}
        self._root = root
        self._real: dict[Path, Path] = {}
        self._sites: dict[tuple[Path, Components], Site] = {}
        self._store = store
        self._on_new = on_new
        self._mounts: list[Mount] = []
        self._read_at = -MOUNTS_S

    async def start(self) -> None:
        """Finds out where the directories really are, and what they are known by."""
        self._sites = {(site.root, site.anchor): site for site in await self._store.sites()}
        roots = {*self._roots, *map(Path, await self._store.adopt(str(self._root)))}
        for root in roots:
            looker = Worker("downloads-find")
            real = looker.submit(functools.partial(os.path.realpath, root))
            looker.close()
            answered = await done_within(real, SILENT_S)
            self._real[root] = Path(real.result()) if answered else root

    def of(self, download: Download) -> Volume:
        """The volume that the download is written to; from now on it has a place there."""
        root = Path(download.root) if download.root is not None else self._root
        volume = self._at(root, download.base)
        if volume.rules != download.rules:
            download.keep_to(volume.rules)
        if download.place is None:
            download.place = text_from_bytes(os.fsencode(root.joinpath(*_names(download.base))))
        return volume

    def apart_of(self, download: Download) -> Volume | None:
        """Where its partial files are kept apart; None: each is next to what it becomes."""
        return None if download.partials is None else self._at(Path(download.partials), ())

    def _at(self, root: Path, base: Components) -> Volume:
        real = os.fsencode(self._real.get(root, root))
        mount = mount_of(b"/".join((real, *base)), self._current_mounts())
        anchor = self._anchor(root, real, base, mount)
        volume = self.all.get((root, anchor))
        if volume is None:
            site = self._sites.get((root, anchor)) or Site(root, anchor, kind=mount.kind)
            if site.kind != mount.kind:  # its own is away
                mount = Mount(mount.point, mount.device, site.kind, b"")
            volume = self.all[root, anchor] = Volume(site, mount, self._store)
            self._on_new(volume)
        return volume

    async def disks(self) -> list[DiskStatus]:
        """How the directories that are, or were, written to are now; within about SILENT_S, however
        many of them do not answer.
        """
        known = {(self._root, ()): Site(self._root), **self._sites}
        known |= {key: volume.disk.site for key, volume in self.all.items()}
        sites = list(known.values())
        troubles = await asyncio.gather(*map(self._trouble_of, sites))
        return [
            DiskStatus(site.path, trouble) for site, trouble in zip(sites, troubles, strict=True)
        ]

    async def _trouble_of(self, site: Site) -> str | None:
        looker = Worker("downloads-look")
        look = looker.submit(functools.partial(_examine, site))
        looker.close()
        if not await done_within(look, SILENT_S):
            return f"the disk of {str(site.path)!r} does not answer"
        try:
            room, _ = look.result()
        except (HdpdError, OSError) as error:
            return error.message if isinstance(error, HdpdError) else str(error)
        return f"the disk of {str(site.path)!r} is read-only" if room.read_only else None

    async def use(self, path: Path) -> None:
        """From now on what is at `path` is what is written to, whatever was there before.

        Raises:
            NotFound: nothing was ever written there.
        """
        known = {key: volume.disk.site for key, volume in self.all.items()}
        for key, site in {**self._sites, **known}.items():
            if site.path == path:
                await self._store.forget_site(site)
                self._sites.pop(key, None)
                if key in self.all:
                    self.all[key].disk.site = Site(site.root, site.anchor, kind=site.kind)
                return
        raise NotFound(f"no download was ever written to {str(path)!r}")

    def roots(self) -> list[Path]:
        """The directories below which partial files may lie."""
        sites = [site.path for site in self._sites.values()]
        return [*self._real, *sites, *(volume.disk.site.path for volume in self.all.values())]

    def _anchor(self, root: Path, real: bytes, base: Components, mount: Mount) -> Components:
        """The part of the way to a download that leads to its disk: as it is now, or was."""
        known = [
            anchor
            for at, anchor in (*self._sites, *self.all)
            if at == root and base[: len(anchor)] == anchor
        ]
        longest = max(known, key=len, default=())
        if mount.point.startswith(real + b"/"):
            mounted = tuple(mount.point[len(real) + 1 :].split(b"/"))
            return max(longest, mounted, key=len)
        return longest

    def _current_mounts(self) -> list[Mount]:
        now = time.monotonic()
        if now - self._read_at >= MOUNTS_S:
            self._mounts, self._read_at = parse_mounts(MOUNTINFO.read_bytes()), now
        return self._mounts

    def close(self) -> None:
        """Ends all threads; does not wait for one that hangs."""
        for volume in self.all.values():
            volume.close()


def _names(path: Components) -> list[str]:
    return [os.fsdecode(name) for name in path]
