"""The parts that the methods act upon."""

from __future__ import annotations

from msgspec import Struct

from hdpd.control.daemon import Daemon
from hdpd.downloads.downloads import Downloads
from hdpd.nat.nat import Nat
from hdpd.peers.peers import Peers
from hdpd.peers.topics import Topics
from hdpd.rates.limits import TransferLimits
from hdpd.remote.listings import Listings
from hdpd.shares.shares import Shares
from hdpd.uploads.uploads import Uploads


class Services(Struct, frozen=True):
    """Everything that methods act upon."""

    daemon: Daemon
    peers: Peers
    topics: Topics
    shares: Shares
    listings: Listings
    downloads: Downloads
    uploads: Uploads
    limits: TransferLimits
    nat: Nat
