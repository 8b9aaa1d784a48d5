"""GET /metrics: how hdpd is doing, for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client import Counter as Total
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from hdpd.control.services import Services
from hdpd.downloads.status import DownloadInfo

CONTENT_TYPE = CONTENT_TYPE_LATEST
PEER_STATES = ("connected", "connecting", "known", "blocked")
# Ended downloads are not counted: there may be a hundred thousand, all on the disk.
OPEN_STATES = ("queued", "waiting_for_peer", "remote_queued", "downloading", "paused")
_PAGE = 1000


class _Row(Protocol):
    @property
    def state(self) -> str: ...


async def metrics(services: Services) -> bytes:
    """All metrics as they are at this moment, in Prometheus' text format."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    daemon = services.daemon
    labels = {"name": daemon.name, "version": daemon.version}
    gauge = Gauge("hdpd_info", "Which hdpd this is.", list(labels), registry=registry)
    gauge.labels(**labels).set(1)
    _set(registry, "hdpd_start_time_seconds", "When hdpd was started.", daemon.started)

    peers = services.peers.list(all=True)
    _count(registry, "hdpd_peers", "Known peers by state.", PEER_STATES, peers)

    shares = services.shares.list()
    _set(registry, "hdpd_shared_files", "Files in all shares.", sum(each.files for each in shares))
    _set(registry, "hdpd_shared_bytes", "Bytes in all shares.", sum(each.bytes for each in shares))

    sent, same = services.shares.listings_sent, services.shares.listings_not_modified
    about = "Pages of listings that peers asked for."
    listings = Total("hdpd_listings", about, ["answer"], registry=registry)
    listings.labels(answer="sent").inc(sent)
    listings.labels(answer="not_modified").inc(same)

    downloads = await _open_downloads(services)
    _count(
        registry,
        "hdpd_downloads",
        "Unfinished downloads by state.",
        OPEN_STATES,
        downloads,
    )
    rate = sum(each.rate for each in downloads)
    _set(registry, "hdpd_download_bytes_per_second", "What downloads receive.", rate)

    uploads = services.uploads.status()
    _set(registry, "hdpd_uploads_active", "Uploads that are being sent.", len(uploads.active))
    _set(registry, "hdpd_uploads_waiting", "Uploads that wait for a slot.", len(uploads.waiting))
    _set(
        registry,
        "hdpd_upload_bytes_per_second",
        "What uploads send.",
        sum(each.rate for each in uploads.active),
    )
    return generate_latest(registry)


async def _open_downloads(services: Services) -> list[DownloadInfo]:
    found: list[DownloadInfo] = []
    cursor = None
    while True:
        page = await services.downloads.list(list(OPEN_STATES), _PAGE, cursor)
        found += page.downloads
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


def _set(registry: CollectorRegistry, name: str, help_: str, value: float) -> None:
    Gauge(name, help_, registry=registry).set(value)


def _count(
    registry: CollectorRegistry, name: str, help_: str, states: Iterable[str], rows: Iterable[_Row]
) -> None:
    gauge = Gauge(name, help_, ["state"], registry=registry)
    counts = Counter(row.state for row in rows)
    for state in states:
        gauge.labels(state=state).set(counts[state])
