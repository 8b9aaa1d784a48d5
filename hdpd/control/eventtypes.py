"""The one table of events. What clients get, and docs/rpc.md, are made from it.

A part defines its events as frozen structs, one for each type, and takes a function that takes
them; what it tells with one is either the event's own fields or, for a thing with a description of
its own, one field of it.
"""

from __future__ import annotations

from msgspec import Struct

from hdpd.control import results as r
from hdpd.control.encoding import Result, show
from hdpd.control.eventlog import Key
from hdpd.downloads import status as downloads
from hdpd.nat.report import NatChanged
from hdpd.peers import status as peers
from hdpd.peers.topics import TopicJoined, TopicLeft
from hdpd.rates.status import LimitsChanged
from hdpd.remote.listings import ListingChanged
from hdpd.shares.status import ShareChanged
from hdpd.uploads.status import UploadsChanged


class Stopping(Struct, frozen=True):
    """Soon nothing of this hdpd runs any more."""


News = (
    NatChanged
    | peers.News
    | TopicJoined
    | TopicLeft
    | ShareChanged
    | ListingChanged
    | downloads.News
    | UploadsChanged
    | LimitsChanged
    | Stopping
)
"""Everything that may be emitted."""


class EventType(Struct, frozen=True):
    """A row of the table: `about` tells what `data` is, for docs/rpc.md. `field` of the event is
    shown, or all of it. `identity`: the field that names the thing of which only the last event
    matters, as its data is the thing's whole state; empty where there is one such thing.
    """

    name: str
    event: type[News]
    result: type[Result]
    about: str
    field: str | None = None
    identity: str | None = None

    def data(self, event: News) -> Result:
        """What clients get. Raises as `show`."""
        return show(self.result, event if self.field is None else getattr(event, self.field))

    def key(self, data: Result) -> Key | None:
        """What a later event of this type replaces."""
        if self.identity is None:
            return None
        return self.name, str(getattr(data, self.identity)) if self.identity else ""


# fmt: off
_TABLE = (
    EventType("nat.changed", NatChanged, r.NatReport, "the report, as in `nat.report`",
              field="report"),
    EventType("peer.found", peers.PeerFound, r.PeerInfo, "the peer, as in `peers.list`",
              field="peer"),
    EventType("peer.connected", peers.PeerConnected, r.PeerInfo, "the peer, as in `peers.list`",
              field="peer"),
    EventType("peer.changed", peers.PeerChanged, r.PeerInfo, "the peer, as in `peers.list`",
              field="peer"),
    EventType("peer.disconnected", peers.PeerDisconnected, r.PeerInfo,
              "the peer, as in `peers.list`", field="peer"),
    EventType("topic.joined", TopicJoined, r.Name, "the topic's name"),
    EventType("topic.left", TopicLeft, r.Name, "the topic's name"),
    EventType("share.changed", ShareChanged, r.ShareInfo,
              "the share, as in `shares.list`; its state is `removed` when it is gone",
              field="share", identity="name"),
    EventType("listing.changed", ListingChanged, r.ListingChange, "`{peer, path}`"),
    EventType("download.added", downloads.DownloadAdded, r.DownloadInfo,
              "the download, as in `downloads.list`", field="download"),
    EventType("download.changed", downloads.DownloadChanged, r.DownloadInfo,
              "the download, as in `downloads.list`", field="download", identity="id"),
    EventType("download.removed", downloads.DownloadRemoved, r.DownloadId, "`{id}`"),
    EventType("verification.changed", downloads.VerificationChanged, r.Verification,
              "the check, as in `downloads.verification`", field="verification", identity="id"),
    EventType("upload.changed", UploadsChanged, r.Uploads, "what is sent and who waits",
              field="uploads", identity=""),
    EventType("limits.changed", LimitsChanged, r.Limits, "the limits, as in `limits.get`",
              field="limits", identity=""),
    EventType("daemon.stopping", Stopping, r.Nothing,
              "nothing; the WebSocket is closed with code 1001 after it"),
)
# fmt: on

EVENTS: dict[type[News], EventType] = {row.event: row for row in _TABLE}
