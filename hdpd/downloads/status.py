"""What clients are told about downloads: answers and events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

from msgspec import Struct

from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.wire.paths import RemotePath

WaitKind = Literal[
    "peer", "turn", "remote_queue", "owner", "room", "disk", "state_disk", "share", "quota", "topic"
]


class Problem(Struct, frozen=True):
    """Why something failed or waits: a stable word, and a text for people."""

    code: str
    message: str

    @classmethod
    def of(cls, error: tuple[str, str] | None) -> Self | None:
        return None if error is None else cls(*error)


class WaitingFor(Struct, frozen=True):
    """What a download that does not run waits for: a word, and a text for people."""

    kind: WaitKind
    text: str


class DownloadInfo(Struct, frozen=True, kw_only=True):
    """One download, as it is at this moment; see docs/rpc.md."""

    id: str
    peer: PeerId
    path: RemotePath
    to: RemotePath
    type: str | None
    state: str
    size: int
    done_bytes: int
    files: int
    done_files: int
    failed_files: int
    rate: int
    eta: float | None
    queue_position: int | None
    queue_eta: int | None
    error: Problem | None
    added: float
    received_bytes: int
    place: str | None
    waiting_for: WaitingFor | None

    @property
    def peer_name(self) -> str:
        return name_of(self.peer)


class DownloadsPage(Struct, frozen=True):
    """Some downloads in the order of the queue, and the cursor of those behind them."""

    downloads: list[DownloadInfo]
    next_cursor: str | None


class FileInfo(Struct, frozen=True, kw_only=True):
    """A file or directory of a download."""

    number: int
    path: str
    type: str
    size: int | None
    state: str
    done_bytes: int
    restarts: int
    saved_as: str | None
    error: Problem | None


class FilesPage(Struct, frozen=True):
    """Some files of a download in the order of its listing."""

    files: list[FileInfo]
    next_cursor: str | None


class FileProblem(Struct, frozen=True):
    """What is the matter with a file that was compared with the peer's."""

    path: str
    problem: str
    message: str


class VerificationInfo(Struct, frozen=True, kw_only=True):
    """How far a check of a download is, or how it ended."""

    id: str
    state: str
    files: int
    done_files: int
    size: int
    done_bytes: int
    equal: int
    unequal: int
    problems: tuple[FileProblem, ...]
    error: Problem | None


class DiskStatus(Struct, frozen=True):
    """A directory that downloads are written to, and why they cannot be at the moment."""

    path: Path
    trouble: str | None


class Leftovers(Struct, frozen=True):
    """Partial files that belong to no download in the list."""

    files: int
    bytes: int


class DownloadAdded(Struct, frozen=True):
    """It was put into the list."""

    download: DownloadInfo


class DownloadChanged(Struct, frozen=True):
    """Its state, or how far it is."""

    download: DownloadInfo


class DownloadRemoved(Struct, frozen=True):
    """It is no longer in the list."""

    id: str


class VerificationChanged(Struct, frozen=True):
    """How far a check is; problems come with its end."""

    verification: VerificationInfo


News = DownloadAdded | DownloadChanged | DownloadRemoved | VerificationChanged
"""Every event of this package."""

Emit = Callable[[News], None]
