"""What a download and its files are in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from hdpd.downloads.finishing import Complete, Finished
from hdpd.downloads.partial import partial_name
from hdpd.downloads.queue import Item
from hdpd.downloads.ranges import FILE_COST, FileRanges
from hdpd.downloads.site import Components, Site
from hdpd.downloads.space import Claim
from hdpd.downloads.status import DownloadInfo, FileInfo, Problem
from hdpd.downloads.waits import waiting_for
from hdpd.errors import HdpdError, ProtocolError
from hdpd.identity.keys import PeerId
from hdpd.portable import POSIX, NameRules, stored_name
from hdpd.remote.reads import Session
from hdpd.wire.paths import MAX_NAME_BYTES, RemotePath, text_from_bytes

if TYPE_CHECKING:
    import asyncio

    from hdpd.downloads.runner import Runner
    from hdpd.downloads.volumes import Volume

SessionOf = Callable[[PeerId], Session | None]

Key = tuple[PeerId, RemotePath, RemotePath, str | None]
"""Peer, path there, and the directory here with its root."""

ENTRY_COST = 4096  # bytes: a block, which the smallest file takes, or a directory
MAX_BYTES = 2**60
"""Of one download: a thousand petabytes, and far from the edge of what SQLite counts."""

RATE_S = 5.0  # the shown rate is smoothed over about so long


def components(path: RemotePath) -> Components:
    """The path's names for the file system; none for the empty path."""
    return tuple(path.raw.split(b"/")) if path.raw else ()


class Kept(NamedTuple):
    """What is in a partial file, which one that is, and of which version of the file."""

    ranges: FileRanges
    validator: bytes
    partial: str | None
    inode: int | None


class Waiting(Struct, frozen=True):
    """What a HELD download waits for: that its volume has room, or answers; without one it is the
    disk of the state directory.
    """

    volume: Volume | None
    since: float
    claim: Claim | None
    """What it takes of that volume."""
    was_free: int | None = None
    """What was free when a write failed, for which the file system may have had other reasons."""
    patience_s: float = 0.0
    """So long nothing is tried again."""


@dataclass(eq=False, kw_only=True, slots=True)
class Download(Item):
    """One download, and everything that there is of it: what is stored, its place in the queue, and
    what works for it. One that is not settled lives in the queue, and its counters are the true
    ones; any other is only a copy of what is stored.
    """

    number: int
    path: RemotePath
    into: RemotePath
    added: float
    type: str | None = None
    listed: bool = False
    cursor: bytes | None = None
    error: tuple[str, str] | None = None
    size: int = 0
    files: int = 0
    done_bytes: int = 0
    done_files: int = 0
    failed_files: int = 0
    received_bytes: int = 0
    entries: int = 0
    """Files and directories that were listed."""
    settled: int = 0
    """Those of them that are done or failed."""
    root: str | None = None
    """The directory that it is written below."""
    partials: str | None = None
    """The directory that its partial files are in; None: each next to what it becomes."""
    place: str | None = None
    """Where the item is, or goes, on the disk."""
    ended: float | None = None
    made: str | None = None

    # Only while it lives in memory:
    runner: Runner | None = None
    task: asyncio.Task[object] | None = None
    """That of its runner."""
    waiting: Waiting | None = None
    pending_bytes: int = 0
    """Received and not yet part of `done_bytes`."""
    rate: float = 0.0
    began_at: float = 0.0
    measured_at: float = 0.0
    measured_bytes: int = 0
    """Those received when the rate was last measured."""
    losses: int = 0
    """Connections lost in a row without a byte between."""
    queue_position: int | None = None
    queue_eta: int | None = None
    told_word: str = ""
    """The state that clients were told last."""
    told: DownloadInfo | None = None
    """What they were told last of its progress."""
    kept: dict[int, Kept] = field(default_factory=dict)
    """What came beyond the watermark, by file number; few files are open side by side."""
    rules: NameRules = POSIX
    """What names its file system holds."""
    base: Components = field(init=False)
    """Where the item itself goes, below its root."""

    def __post_init__(self) -> None:
        self.keep_to(self.rules)

    def keep_to(self, rules: NameRules) -> None:
        """From now on its names are such that a file system with these rules holds them."""
        self.rules = rules
        self.base = self.stored((*components(self.into), self.path.name.raw))

    def stored(self, names: Components) -> Components:
        """The names under which these are kept on its disk."""
        if self.rules.max_bytes >= MAX_NAME_BYTES and not self.rules.in_utf16:
            return names
        return tuple(stored_name(name, self.rules) for name in names)

    def other_name(self, file: FileInfo) -> str | None:
        """The name that a file gets because its own cannot be; None when it can."""
        name = file.path.rpartition("/")[2] or self.path.name.text
        raw = RemotePath.from_text(name).raw
        (stored,) = self.stored((raw,))
        return None if stored == raw else text_from_bytes(stored)

    @property
    def key(self) -> Key:
        """What no other unfinished download has."""
        return self.peer, self.path, self.into, self.root

    @property
    def remote_queued(self) -> bool:
        """Whether its peer lets it wait in line."""
        return self.runner is not None and self.runner.remote_queued

    @property
    def silent(self) -> bool:
        """Whether a disk that it is written to does not answer."""
        return self.runner is not None and any(each.silent for each in self.runner.volumes)

    def count_size(self, file: FileRecord) -> None:
        """Counts a size that is about to be stored and is not what was stored before.

        Raises:
            ProtocolError: the peer tells of more than any disk holds.
        """
        if self.size + (file.size or 0) - file.counted_size > MAX_BYTES:
            raise ProtocolError("the peer tells of files of more bytes than any disk holds")
        self.size += (file.size or 0) - file.counted_size
        file.counted_size = file.size or 0

    def fail_with(self, error: HdpdError | None) -> None:
        self.error = None if error is None else (error.code, error.message)

    def begin_to_measure(self, now: float) -> None:
        """What comes from now on counts for `rate`."""
        self.measured_at, self.measured_bytes = now, self.received_bytes

    def measure(self, now: float) -> None:
        """Corrects `rate` by what came since it was measured last."""
        elapsed, received = now - self.measured_at, self.received_bytes - self.measured_bytes
        self.begin_to_measure(now)
        weight = min(1.0, elapsed / RATE_S) if self.rate else 1.0
        self.rate += weight * (received / elapsed - self.rate)

    @property
    def missing(self) -> int:
        """Bytes that are still to come, as far as it is known."""
        return max(0, self.size - self.done_bytes - self.pending_bytes)

    @property
    def unmade(self) -> int:
        """Files and directories that are still to be made."""
        return max(0, self.entries - self.settled)

    @property
    def need(self) -> int:
        """What it still takes of the disk, with what each file and directory costs by itself."""
        return self.missing + self.unmade * ENTRY_COST

    @property
    def claim(self) -> Claim:
        """What it still takes of the disk."""
        return Claim(self.id, self.need, self.unmade)

    def eta(self) -> float | None:
        """Seconds until it is done at this rate; None when nobody can know."""
        if not self.listed or self.rate < 1.0:
            return None
        return self.missing / self.rate

    def info(self, word: str) -> DownloadInfo:
        """What clients see; `word` is its state."""
        active = word == "downloading"
        return DownloadInfo(
            id=self.id,
            peer=self.peer,
            path=self.path,
            to=self.into,
            type=self.type,
            state=word,
            size=self.size,
            done_bytes=self.done_bytes + self.pending_bytes,
            files=self.files,
            done_files=self.done_files,
            failed_files=self.failed_files,
            rate=round(self.rate) if active else 0,
            eta=self.eta() if active else None,
            queue_position=self.queue_position if word == "remote_queued" else None,
            queue_eta=self.queue_eta if word == "remote_queued" else None,
            error=Problem.of(self.error),
            added=self.added,
            received_bytes=self.received_bytes,
            place=self.place,
            waiting_for=waiting_for(word, self.error),
        )


@dataclass(slots=True)
class FileRecord:
    """One file or directory of a download that is still to be fetched or made."""

    number: int
    path: RemotePath
    directory: bool
    size: int | None
    mtime_ns: int | None
    validator: bytes | None = None
    watermark: int = 0
    restarts: int = 0
    partial_id: str | None = None
    """What proves that a partial file is the one of this record: it is in both ..."""
    inode: int | None = None
    """... and so is this, where the file system keeps to it."""
    made: bool = False
    """Of a directory: it was not there before."""
    candidate: Finished | None = None
    """A file that is there already and may be the same, by size and mtime; not stored."""
    attempts: int = 0
    """Tries in a row that ended in a passing trouble; not stored."""
    alone: bool = False
    """It is not to be asked for together with others; not stored."""
    counted_size: int = field(init=False)
    """What its download's `size` holds of it."""

    def __post_init__(self) -> None:
        self.counted_size = self.size or 0

    @property
    def cost(self) -> int:
        """What it takes of the window when it is fetched into memory."""
        return (self.size or 0) + FILE_COST

    def source(self, download: Download) -> RemotePath:
        """Where the peer has it."""
        base = download.path
        return RemotePath(base.raw + b"/" + self.path.raw) if self.path.raw else base

    def place(self, download: Download) -> tuple[Components, bytes]:
        """The directory and the name that it gets."""
        path = (*download.base, *download.stored(components(self.path)))
        return path[:-1], path[-1]

    def partial(self, download: Download) -> bytes:
        """The name of its partial file."""
        return partial_name(download.id, self.number, self.partial_id)

    def partials(self, download: Download) -> list[tuple[Components, bytes]]:
        """Where partial files of it may be: directory and name."""
        directory, _ = self.place(download)
        names = {self.partial(download), partial_name(download.id, self.number)}
        return [(directory, name) for name in names]

    def complete(
        self, download: Download, data: bytes | None, apart: Site | None = None
    ) -> Complete:
        """What is to be finished, now that size and mtime are known; `apart` is where its partial
        file is, unless that is where it is to be.
        """
        directory, name = self.place(download)
        partial = self.partial(download)
        return Complete(directory, name, partial, self.size or 0, self.mtime_ns or 0, data, apart)


class Outcome(Struct, frozen=True):
    """How a file ended: with an error, or under a name, with a size and the mtime kept."""

    number: int
    size: int | None = None
    mtime_ns: int | None = None
    saved_as: str | None = None
    ctime_ns: int | None = None
    made: bool = False
    restarts: int = 0
    error: tuple[str, str] | None = None


class FinishedFile(Struct, frozen=True):
    """A file of a download that is where it belongs; the mtime is what its file system kept."""

    number: int
    path: RemotePath
    size: int
    mtime_ns: int
    saved_as: str | None

    def place(self, download: Download) -> Components:
        """Where it is, below the download directory."""
        path = (*download.base, *download.stored(components(self.path)))
        if self.saved_as is None:
            return path
        return (*path[:-1], RemotePath.from_text(self.saved_as).raw)
