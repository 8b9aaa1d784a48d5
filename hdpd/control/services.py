"""The parts that the methods act upon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hdpd.config import HostPort
from hdpd.discovery.status import DiscoveryStatus
from hdpd.doctor.findings import Finding
from hdpd.downloads.downloads import Downloads
from hdpd.identity.keys import PeerId
from hdpd.nat.nat import Nat
from hdpd.peers.peers import Peers
from hdpd.peers.topics import Topics
from hdpd.rates.limits import TransferLimits
from hdpd.reload import ConfigurationStatus
from hdpd.remote.listings import Listings
from hdpd.shares.shares import Shares
from hdpd.uploads.uploads import Uploads


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """Who and what this hdpd is; as `daemon.info`."""

    name: str
    peer_id: PeerId
    version: str
    api_version: int
    started: float
    udp_ports: Sequence[int]
    controls: Sequence[str]
    tls_fingerprint: str | None
    addresses: Sequence[HostPort]
    quic_engine: str
    download_dir: Path
    configuration: ConfigurationStatus
    discovery: DiscoveryStatus
    nat: str


class App(Protocol):
    """The whole daemon."""

    def info(self) -> DaemonStatus: ...
    async def examine(self) -> Sequence[Finding]: ...
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
    limits: TransferLimits
    nat: Nat
