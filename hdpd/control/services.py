"""What the control interface asks of the other parts of hdpd, as protocols.

All results are ready for JSON, as `results.py` describes them; all errors are of hdpd/errors.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hdpd.config.limits import Value
from hdpd.downloads.status import DownloadsPage, FilesPage, VerificationInfo
from hdpd.identity.keys import PeerId
from hdpd.rates.status import LimitsStatus
from hdpd.remote.reads import AnswerStream
from hdpd.shares.opening import OpenedFile
from hdpd.uploads.status import UploadsStatus
from hdpd.wire.messages import Entry, Ls, Request
from hdpd.wire.paths import RemotePath

Json = dict[str, object]
Rows = list[Json]
Texts = list[str]


class Stream(AnswerStream, Protocol):
    """One request to a peer and its answer; leaving the block gives up what is not complete."""

    async def receive_bytes(self, limit: int, timeout: float = 30.0) -> bytes: ...


class Session(Protocol):
    """The link to one connected peer."""

    @property
    def peer_id(self) -> PeerId: ...
    @property
    def name(self) -> str: ...
    @property
    def on_lan(self) -> bool: ...
    async def call(self, request: Request, *, budget: int) -> Stream: ...


class Shares(Protocol):
    """The directories offered here."""

    @property
    def listings_sent(self) -> int: ...
    @property
    def listings_not_modified(self) -> int: ...
    async def add(self, path: str, name: str | None) -> str: ...
    async def remove(self, name: str) -> None: ...
    async def rescan(self, name: str | None) -> None: ...
    def list(self) -> Rows: ...
    async def list_files(
        self, path: RemotePath, *, recursive: bool, sort: str, limit: int, cursor: bytes | None
    ) -> tuple[Sequence[Entry], bytes | None]: ...
    async def follow_files(
        self, path: RemotePath, *, sort: str, limit: int, cursor: bytes | None
    ) -> tuple[Sequence[Entry], bytes | None]: ...
    async def search(self, query: str, limit: int) -> tuple[Sequence[Entry], bool]: ...
    def open_file(self, path: RemotePath) -> OpenedFile:
        """Blocks; for a thread."""


class Listings(Protocol):
    """The directories of peers."""

    async def page(self, session: Session, request: Ls) -> tuple[Sequence[Entry], bytes | None]: ...


class Uploads(Protocol):
    """What is being sent, and who is waiting."""

    def status(self) -> UploadsStatus: ...
    def cancel(self, peer: PeerId) -> None: ...


class Throttle(Protocol):
    """Keeps the limit of the download rate."""

    def limits(self, peer: Session) -> bool: ...
    async def take(self, peer: Session, size: int) -> int: ...


class Limits(Protocol):
    """The limits of the rates."""

    @property
    def download(self) -> Throttle: ...

    def status(self) -> LimitsStatus: ...
    async def set(self, changes: Mapping[str, Value], *, reset: bool) -> None: ...


class FinishedFiles(Protocol):
    """Finished downloads on the disk."""

    async def check(self, path: RemotePath) -> None: ...
    def open_file(self, path: RemotePath) -> OpenedFile:
        """Blocks; for a thread."""


class Downloads(Protocol):
    """The download queue."""

    @property
    def finished(self) -> FinishedFiles: ...

    async def add(self, peer: PeerId, path: RemotePath, to: str | None) -> str: ...
    async def list(self, states: Texts | None, limit: int, cursor: str | None) -> DownloadsPage: ...
    async def files(self, id_: str, limit: int, cursor: str | None) -> FilesPage: ...
    async def pause(self, ids: Texts) -> None: ...
    async def resume(self, ids: Texts) -> None: ...
    async def cancel(self, ids: Texts) -> None: ...
    async def retry(self, ids: Texts) -> None: ...
    async def clear(self, ids: Texts) -> None: ...
    async def move(self, id_: str, to: str) -> None: ...
    async def verify(self, id_: str) -> VerificationInfo: ...
    async def verification(self, id_: str) -> VerificationInfo: ...


class Peers(Protocol):
    """The known peers and the sessions with them."""

    def resolve(self, text: str) -> PeerId: ...
    def list(self, all: bool) -> Rows: ...  # noqa: A002
    def explain(self, peer: PeerId) -> Json: ...
    def get(self, peer: PeerId) -> Session | None: ...
    def connected(self) -> Sequence[Session]: ...
    async def connect(self, code: str) -> PeerId: ...
    async def disconnect(self, peer: PeerId) -> None: ...
    async def block(self, peer: PeerId) -> None: ...
    async def unblock(self, peer: PeerId) -> None: ...
    async def invite(self) -> str: ...


class Topics(Protocol):
    """The joined topics."""

    def list(self) -> Rows: ...
    async def join(self, name: str | None) -> str: ...
    async def leave(self, name: str) -> None: ...


class NatReport(Protocol):
    """How this hdpd can be reached."""

    def to_json(self) -> Json: ...


class Nat(Protocol):
    """Finds out how this hdpd can be reached."""

    def report(self) -> NatReport: ...
    async def fresh_report(self) -> NatReport: ...


class App(Protocol):
    """The whole daemon."""

    def info(self) -> Json: ...
    async def examine(self) -> Json: ...
    def shutdown(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that methods act upon."""

    app: App
    peers: Peers
    topics: Topics
    shares: Shares
    listings: Listings
    downloads: Downloads
    uploads: Uploads
    limits: Limits
    nat: Nat
