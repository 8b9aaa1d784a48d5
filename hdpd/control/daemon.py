"""One hdpd as a whole: who and what it is, what keeps it from its work, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from hdpd import __version__
from hdpd.config import HostPort
from hdpd.control.access import Access
from hdpd.discovery.discovery import Discovery
from hdpd.discovery.status import DiscoveryStatus
from hdpd.doctor.doctor import Doctor, Subject
from hdpd.doctor.findings import Finding
from hdpd.doctor.network import Standing
from hdpd.downloads.downloads import Downloads
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.link.endpoint import Endpoint
from hdpd.nat.nat import Nat
from hdpd.peers.fixed import FixedAddresses
from hdpd.peers.topics import Topics
from hdpd.reload import ConfigurationStatus, Reloader
from hdpd.shares.shares import Shares
from hdpd.threads.blocking import BlockingCalls
from hdpd.wire.paths import RemotePath

API_VERSION = 1


class DaemonStatus(Struct, frozen=True, kw_only=True):
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


class Daemon:
    """Asks the parts below; what control knows of itself comes with each question."""

    def __init__(
        self,
        peer_id: PeerId,
        reloader: Reloader,
        endpoint: Endpoint,
        nat: Nat,
        discovery: Discovery,
        topics: Topics,
        shares: Shares,
        downloads: Downloads,
        fixed: FixedAddresses,
        shutdown: Callable[[], None],
    ) -> None:
        """`shutdown` asks hdpd to end."""
        self.name = name_of(peer_id)
        self.version = __version__
        self.started = time.time()
        self.shutdown = shutdown
        self._peer_id = peer_id
        self._reloader = reloader
        self._endpoint = endpoint
        self._nat = nat
        self._discovery = discovery
        self._topics = topics
        self._shares = shares
        self._downloads = downloads
        self._fixed = fixed
        self._doctor_calls = BlockingCalls("doctor")

    async def status(self, access: Access) -> DaemonStatus:
        """Who and what this hdpd is; looks whether what is forwarded still is."""
        await self._nat.verify()
        config = self._reloader.config
        return DaemonStatus(
            name=self.name,
            peer_id=self._peer_id,
            version=self.version,
            api_version=API_VERSION,
            started=self.started,
            udp_ports=self._endpoint.ports,
            controls=access.addresses,
            tls_fingerprint=access.tls_fingerprint,
            addresses=[HostPort(c.host, c.port) for c in self._nat.candidates()],
            quic_engine=config.quic_engine,
            download_dir=config.download_dir,
            configuration=self._reloader.status(),
            discovery=self._discovery.status(),
            nat=self._nat.report().sentence,
        )

    async def examine(self, access: Access) -> list[Finding]:
        """What keeps this hdpd from its work, and what does not."""

        async def list_share(name: str) -> object:
            path = RemotePath.from_text(name)
            return await self._shares.list_files(
                path, recursive=False, sort="name", limit=100, cursor=None
            )

        def standing() -> Standing:
            wrong, heard = self._discovery.wrong_clocks()
            return Standing(
                clocks=[(name_of(each.peer_id), each.seconds) for each in wrong],
                peers_heard=heard,
                twin=self._discovery.twin(),
                missing=self._endpoint.missing,
                controls_missing=access.waiting,
                lan_only=self._reloader.config.lan_only,
                unresolved=[
                    *(("network.announce", str(each)) for each in self._nat.unresolved()),
                    *((f"peers.{k}.address", str(n)) for k, n in self._fixed.unresolved.items()),
                ],
            )

        subject = Subject(
            config=lambda: self._reloader.config,
            configuration=self._reloader.status,
            shares=self._shares.list,
            list_share=list_share,
            topics=lambda: len(self._topics.current()),
            discovery=self._discovery.status,
            nat=self._nat.report,
            standing=standing,
            disks=self._downloads.housekeeper.disks,
            leftovers=self._downloads.housekeeper.leftovers,
        )
        await self._nat.fresh_report()
        return await Doctor(subject, self._doctor_calls).examine()
