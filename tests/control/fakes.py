"""An hdpd made of simple things in memory, to test the control interface against real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hdpd.config import ControlAddress, LimitsConfig, TcpAddress, UnixAddress
from hdpd.control.access import Access
from hdpd.control.daemon import Daemon as RealDaemon
from hdpd.control.daemon import DaemonStatus
from hdpd.control.events import Events
from hdpd.control.server import Control
from hdpd.control.services import Services
from hdpd.control.tokens import Tokens
from hdpd.database import Database
from hdpd.discovery.status import DiscoveryStatus
from hdpd.doctor.findings import Finding
from hdpd.downloads.downloads import Downloads
from hdpd.downloads.status import DownloadsPage, FilesPage, VerificationInfo
from hdpd.errors import (
    NotAFile,
    PathNotFound,
    PeerAmbiguous,
    PeerNotFound,
    ShareExists,
)
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.nat.nat import Nat
from hdpd.nat.report import NatReport
from hdpd.peers.peers import Peers
from hdpd.peers.states import Word
from hdpd.peers.status import PeerExplained, PeerStatus
from hdpd.peers.topics import Topics, TopicStatus
from hdpd.rates.limits import TransferLimits
from hdpd.reload import ConfigurationStatus
from hdpd.remote.listings import Listings
from hdpd.shares.opening import OpenedFile
from hdpd.shares.shares import Shares
from hdpd.shares.status import ShareStatus
from hdpd.uploads.status import UploadsStatus
from hdpd.uploads.uploads import Uploads
from hdpd.wire.fields import Message
from hdpd.wire.messages import (
    Entry,
    EntryType,
    Ls,
    Read,
    ReadStarted,
    Request,
    Search,
    error_answer,
)
from hdpd.wire.paths import RemotePath
from tests.fake_peer import FakeSession, FakeStream

Json = dict[str, Any]
MTIME_NS = 1_700_000_000_500_000_000


def peer_id(number: int) -> PeerId:
    return PeerId(bytes([number]) * 32)


def entry(path: str, size: int = 0, kind: EntryType = EntryType.FILE) -> Entry:
    return Entry(RemotePath.from_text(path), kind, size, MTIME_NS, 1)


class ScriptedSession(FakeSession):
    """A connected peer with some files; `script` may answer in place of it."""

    def __init__(self, number: int, files: dict[str, bytes] | None = None) -> None:
        super().__init__(peer_id(number), self._scripted)
        self.files = files or {}
        self.validator = b"v1"
        self.script: Callable[[Request], FakeStream | None] = lambda _request: None

    def _scripted(self, request: Request) -> FakeStream:
        return self.script(request) or FakeStream(self._of_files(request))

    def _of_files(self, request: Request) -> list[Message | bytes]:
        if isinstance(request, Ls):
            paths = [path for path in self.files if path.rpartition("/")[0] == request.path.text]
            rows = [entry(p.rpartition("/")[2], len(self.files[p])).to_wire() for p in paths]
            return [{"entries": rows}, {"end": True, "cursor": b"\xff\x00next" if rows else None}]
        if isinstance(request, Search):
            found = [entry(p, len(d)) for p, d in self.files.items() if request.query in p]
            return [*({"hits": [e.to_wire()]} for e in found), {"end": True, "truncated": False}]
        assert isinstance(request, Read)
        data = self.files.get(request.path.text)
        if data is None:
            return [error_answer(PathNotFound())]
        started = ReadStarted(request.length, len(data), MTIME_NS, self.validator)
        piece = data[request.offset : request.offset + request.length]
        # In uneven parts, as a network delivers them.
        parts = [piece[i : i + 70_001] for i in range(0, len(piece), 70_001)]
        return [{"queued": 1}, started.to_wire(), *parts, {"end": self.validator}]


class FakePeers:
    def __init__(self) -> None:
        self.sessions: dict[PeerId, ScriptedSession] = {}
        self.known = {peer_id(9): "known"}
        self.calls: list[tuple[str, object]] = []

    def resolve(self, text: str) -> PeerId:
        ids = [*self.sessions, *self.known]
        found = [i for i in ids if i.text.startswith(text) or name_of(i).startswith(text)]
        if not found:
            raise PeerNotFound(f"no peer is called {text}")
        if len(found) > 1:
            raise PeerAmbiguous(f"{text} may be " + " or ".join(i.text for i in found))
        return found[0]

    def list(self, all: bool) -> list[PeerStatus]:  # noqa: A002
        ids = [*self.sessions, *(self.known if all else ())]
        return [self._row(i, "connected" if i in self.sessions else "known") for i in ids]

    def _row(self, peer: PeerId, state: Word) -> PeerStatus:
        unknown = ("address", "path", "rtt", "connected_since", "last_connected", "error")
        return PeerStatus(
            **dict.fromkeys(unknown),
            id=peer,
            name=name_of(peer),
            state=state,
            found_by=(),
            topics=(),
        )

    def explain(self, peer: PeerId) -> PeerExplained:
        row = self._row(peer, "known")
        return PeerExplained(
            **{name: getattr(row, name) for name in PeerStatus.__struct_fields__},
            own_nat="easy",
            peer_nat=None,
            reason="it is on the same network",
            advice=(),
            tries=(),
        )

    def get(self, peer: PeerId) -> ScriptedSession | None:
        return self.sessions.get(peer)

    def connected(self) -> list[ScriptedSession]:  # type: ignore[valid-type]
        return [*self.sessions.values()]

    async def connect(self, code: str) -> PeerId:
        self.calls.append(("connect", code))
        return peer_id(1)

    async def disconnect(self, peer: PeerId) -> None:
        self.calls.append(("disconnect", peer))

    async def block(self, peer: PeerId) -> None:
        self.calls.append(("block", peer))

    async def unblock(self, peer: PeerId) -> None:
        self.calls.append(("unblock", peer))

    async def invite(self) -> str:
        return "hdp1-code"


class FakeTopics:
    def __init__(self) -> None:
        self.names = ["party"]

    def list(self) -> list[TopicStatus]:
        return [TopicStatus(name, peers=1, configured=False, guessable=True) for name in self.names]

    async def join(self, name: str | None) -> str:
        self.names.append(name or "random")
        return name or "random"

    async def leave(self, name: str) -> None:
        self.names.remove(name)


class FakeShares:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.added: dict[str, str] = {}
        self.listings_sent, self.listings_not_modified = 3, 2

    async def add(self, path: str, name: str | None) -> str:
        name = name or Path(path).name
        if name in self.added:
            raise ShareExists(f"there is a share named {name}")
        self.added[name] = path
        return name

    async def remove(self, name: str) -> None:
        del self.added[name]  # of an unknown name: a bug that no client may see

    async def rescan(self, name: str | None) -> None:
        raise RuntimeError("secret detail")

    def list(self) -> list[ShareStatus]:
        return [
            ShareStatus(
                name=name,
                path=path,
                state="ready",
                searchable=True,
                files=1,
                directories=0,
                bytes=5,
                skipped=0,
                skipped_first=(),
                scanned_at=None,
                watched=1,
                error=None,
                configured=False,
            )
            for name, path in self.added.items()
        ]

    async def list_files(
        self, path: RemotePath, *, recursive: bool, sort: str, limit: int, cursor: bytes | None
    ) -> tuple[list[Entry], bytes | None]:  # type: ignore[valid-type]
        return [entry("Mine", 5, EntryType.DIRECTORY)][:limit], cursor

    async def follow_files(
        self, path: RemotePath, *, sort: str, limit: int, cursor: bytes | None
    ) -> tuple[list[Entry], bytes | None]:  # type: ignore[valid-type]
        return await self.list_files(path, recursive=False, sort=sort, limit=limit, cursor=cursor)

    async def search(self, query: str, limit: int) -> tuple[list[Entry], bool]:  # type: ignore[valid-type]
        return [entry(f"Mine/{query}", 5)], True

    def open_file(self, path: RemotePath) -> OpenedFile:
        file = self.directory / path.text
        if file.is_dir():
            raise NotAFile(f"{path} is a directory")
        try:
            return OpenedFile(os.open(file, os.O_RDONLY))
        except FileNotFoundError:
            raise PathNotFound from None


class FakeFinished:
    def __init__(self) -> None:
        self.paths: dict[str, Path] = {}

    async def check(self, path: RemotePath) -> None:
        if path.text not in self.paths:
            raise PathNotFound

    def open_file(self, path: RemotePath) -> OpenedFile:
        return OpenedFile(os.open(self.paths[path.text], os.O_RDONLY))


class FakeDownloads:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.finished = FakeFinished()

    async def make_sure_they_are_there(self, peer: PeerId, paths: Sequence[RemotePath]) -> None:
        if any(path.text.endswith("nothing") for path in paths):
            raise PathNotFound

    async def add_all(
        self, wanted: Sequence[tuple[PeerId, RemotePath]], to: str | None
    ) -> Sequence[str]:
        self.calls += [("add", peer, path.text, to) for peer, path in wanted]
        return [f"d{number}" for number, _ in enumerate(wanted, 1)]

    async def list(self, states: list[str] | None, limit: int, cursor: str | None) -> DownloadsPage:
        self.calls.append(("list", states, limit, cursor))
        return DownloadsPage([], None)

    async def files(self, id_: str, limit: int, cursor: str | None) -> FilesPage:
        return FilesPage([], None)

    async def pause(self, ids: Any) -> None:
        self.calls.append(("pause", ids))

    async def resume(self, ids: Any) -> None:
        self.calls.append(("resume", ids))

    async def cancel(self, ids: Any) -> None:
        self.calls.append(("cancel", ids))

    async def retry(self, ids: Any) -> None:
        self.calls.append(("retry", ids))

    async def clear(self, ids: Any) -> None:
        self.calls.append(("clear", ids))

    async def move(self, id_: str, to: str) -> None:
        self.calls.append(("move", id_, to))

    async def verify(self, id_: str) -> VerificationInfo:
        self.calls.append(("verify", id_))
        return await self.verification(id_)

    async def verification(self, id_: str) -> VerificationInfo:
        return VerificationInfo(
            id=id_,
            state="waiting",
            files=0,
            done_files=0,
            size=0,
            done_bytes=0,
            equal=0,
            unequal=0,
            problems=(),
            error=None,
        )


class FakeUploads:
    def __init__(self) -> None:
        self.cancelled: list[PeerId] = []

    def status(self) -> UploadsStatus:
        return UploadsStatus()

    def cancel(self, peer: PeerId) -> None:
        self.cancelled.append(peer)


class FakeNat:
    """A NAT that was looked at."""

    def report(self) -> NatReport:
        return NatReport(port=3031, online=True, mapping="easy", udp_works=True)

    async def fresh_report(self) -> NatReport:
        return self.report()


class FakeDaemon:
    name, version, started = "MellowChinchilla", "0", 1.0

    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    async def status(self, access: Access) -> DaemonStatus:
        return DaemonStatus(
            name=self.name,
            peer_id=peer_id(0),
            version=self.version,
            api_version=1,
            started=self.started,
            udp_ports=[3031],
            controls=access.addresses,
            tls_fingerprint=access.tls_fingerprint,
            addresses=[],
            quic_engine="qh3",
            download_dir=Path("/"),
            configuration=ConfigurationStatus((), 1.0, None, ()),
            discovery=DiscoveryStatus((), None),
            nat="",
        )

    async def examine(self, _access: Access) -> list[Finding]:
        return [Finding("clock", "ok", "set")]

    def shutdown(self) -> None:
        self.stopped.set()


@dataclass
class Daemon:
    """A running control interface and the fakes behind it."""

    control: Control
    state: Database
    events: Events
    peers: FakePeers
    topics: FakeTopics
    shares: FakeShares
    downloads: FakeDownloads
    uploads: FakeUploads
    itself: FakeDaemon
    addresses: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.addresses[0].rpartition(":")[2])

    @property
    def socket_path(self) -> str:
        return self.addresses[-1].removeprefix("unix:")

    @property
    def tokens(self) -> Tokens:
        return self.control._tokens

    async def token(self, role: str = "admin") -> str:
        return str((await self.call("tokens.new", role=role))["token"])

    async def rpc(self, method: str, **params: object) -> Json:
        """The whole answer of a call over the Unix socket."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = await self.http("POST", "/rpc", json.dumps(request).encode())
        return dict(json.loads(answer.body))

    async def call(self, method: str, **params: object) -> Json:
        answer = await self.rpc(method, **params)
        assert "error" not in answer, answer
        return dict(answer["result"])

    async def error(self, method: str, **params: object) -> tuple[int, str]:
        error = (await self.rpc(method, **params))["error"]
        return error["code"], error["data"]["error"]

    async def http(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        tcp: bool = False,
    ) -> Answer:
        """A request over the Unix socket, or over TCP with only these headers and Host."""
        return await asyncio.to_thread(self._http, method, path, body, headers or {}, tcp)

    def _http(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], tcp: bool
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port if tcp else 0, timeout=20)
        if not tcp:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self.socket_path)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Json:
        return dict(json.loads(self.body))


@contextlib.asynccontextmanager
async def running(
    tmp_path: Path,
    *,
    addresses: tuple[ControlAddress, ...] | None = None,
    hostnames: tuple[str, ...] = (),
    **options: Any,
) -> AsyncIterator[Daemon]:
    """A control interface on 127.0.0.1 and a Unix socket."""
    if addresses is None:
        addresses = (TcpAddress("127.0.0.1", 0), UnixAddress(tmp_path / "sock"))
    state = Database(tmp_path / "state.db", "state")
    await state.open()
    events = Events()
    await events.start(state)
    parts = (FakePeers(), FakeTopics(), FakeShares(tmp_path), FakeDownloads(), FakeUploads())
    peers, topics, shares, downloads, uploads = parts
    itself = FakeDaemon()
    limits = TransferLimits(state, LimitsConfig(), events.emit)
    await limits.start()
    listings = Listings(events.emit)
    services = Services(
        cast("RealDaemon", itself),
        cast("Peers", peers),
        cast("Topics", topics),
        cast("Shares", shares),
        listings,
        cast("Downloads", downloads),
        cast("Uploads", uploads),
        limits,
        cast("Nat", FakeNat()),
    )
    control = Control(services, events, state, addresses, hostnames, **options)
    daemon = Daemon(control, state, events, peers, topics, shares, downloads, uploads, itself)
    try:
        await control.start()
        daemon.addresses = control.access.addresses
        yield daemon
    finally:
        await control.close()
        limits.close()
        await state.close()
