"""What a download and its files are in memory, and as clients see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from hdpd.downloads.directories import Components
from hdpd.downloads.finishing import Complete
from hdpd.downloads.partial import partial_name
from hdpd.downloads.ranges import FILE_COST, FileRanges
from hdpd.errors import HdpdError
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.wire.paths import RemotePath

JsonObject = dict[str, object]

RATE_SECONDS = 5.0  # the shown rate is smoothed over about so long


def components(path: RemotePath) -> Components:
    """The path's names for the file system; none for the empty path."""
    return tuple(path.raw.split(b"/")) if path.raw else ()


class Kept(NamedTuple):
    """What is in a partial file, and of which version of the file that is."""

    ranges: FileRanges
    validator: bytes


@dataclass(slots=True)
class Download:
    """One download; unfinished ones live in memory, and their counters here are the true ones."""

    number: int
    id: str
    peer: PeerId
    path: RemotePath
    into: RemotePath
    added: float
    position: int
    state: str = "queued"
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

    # Only while it lives in memory:
    pending_bytes: int = 0
    """Received and not yet part of `done_bytes`."""
    rate: float = 0.0
    queue_position: int | None = None
    queue_eta: int | None = None
    kept: dict[int, Kept] = field(default_factory=dict)
    """What came beyond the watermark, by file number; few files are open side by side."""
    base: Components = field(init=False)
    """Where the item itself goes, below the download directory."""

    def __post_init__(self) -> None:
        self.base = (*components(self.into), self.path.name.raw)

    def count_size(self, file: FileRecord) -> None:
        """Counts a size that is about to be stored and is not what was stored before."""
        self.size += (file.size or 0) - file.counted_size
        file.counted_size = file.size or 0

    def fail_with(self, error: HdpdError | None) -> None:
        self.error = None if error is None else (error.code, error.message)

    def measure(self, received: int, elapsed: float) -> None:
        """`received` more bytes came in the last `elapsed` seconds."""
        weight = min(1.0, elapsed / RATE_SECONDS) if self.rate else 1.0
        self.rate += weight * (received / elapsed - self.rate)

    @property
    def missing(self) -> int:
        """Bytes that are still to come, as far as it is known."""
        return max(0, self.size - self.done_bytes - self.pending_bytes)

    def eta(self) -> float | None:
        """Seconds until it is done at this rate; None when nobody can know."""
        if not self.listed or self.rate < 1.0:
            return None
        return self.missing / self.rate

    def as_json(self, state: str) -> JsonObject:
        """The object of `downloads.list` and of the events; `state` is the fine one."""
        active = state == "downloading"
        return {
            "id": self.id,
            "peer": self.peer.text,
            "peer_name": name_of(self.peer),
            "path": self.path.text,
            "to": self.into.text,
            "type": self.type,
            "state": state,
            "size": self.size,
            "done_bytes": self.done_bytes + self.pending_bytes,
            "files": self.files,
            "done_files": self.done_files,
            "failed_files": self.failed_files,
            "rate": round(self.rate) if active else 0,
            "eta": self.eta() if active else None,
            "queue_position": self.queue_position if state == "remote_queued" else None,
            "queue_eta": self.queue_eta if state == "remote_queued" else None,
            "error": self.error and {"code": self.error[0], "message": self.error[1]},
            "added": self.added,
            "received_bytes": self.received_bytes,
        }


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
        path = (*download.base, *components(self.path))
        return path[:-1], path[-1]

    def partial(self, download: Download) -> bytes:
        return partial_name(download.id, self.number)

    def complete(self, download: Download, data: bytes | None) -> Complete:
        """What is to be finished, now that size and mtime are known."""
        directory, name = self.place(download)
        partial = self.partial(download)
        return Complete(directory, name, partial, self.size or 0, self.mtime_ns or 0, data)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a file ended: with an error, or under a name, with a size and the mtime kept."""

    number: int
    size: int | None = None
    mtime_ns: int | None = None
    saved_as: str | None = None
    restarts: int = 0
    error: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class FinishedFile:
    """A file of a download that is where it belongs; the mtime is what its file system kept."""

    number: int
    path: RemotePath
    size: int
    mtime_ns: int
    saved_as: str | None

    def place(self, download: Download) -> Components:
        """Where it is, below the download directory."""
        path = (*download.base, *components(self.path))
        if self.saved_as is None:
            return path
        return (*path[:-1], RemotePath.from_text(self.saved_as).raw)
