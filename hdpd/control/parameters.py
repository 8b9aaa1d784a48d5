"""The parameters of the methods: exact types with limits; unknown fields are refused.

The limits are far above what people need and bound what one request can cost.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hdpd.control.rules import RoleWord
from hdpd.wire.messages import MAX_LIST_ENTRIES, MAX_QUERY_BYTES

Name = Annotated[str, Meta(min_length=1, max_length=512)]
Path = Annotated[str, Meta(max_length=4096)]
Id = Annotated[str, Meta(min_length=1, max_length=64)]
Ids = Annotated[list[Id], Meta(min_length=1, max_length=10_000)]
Cursor = Annotated[str, Meta(max_length=16384)]
Limit = Annotated[int, Meta(ge=1, le=MAX_LIST_ENTRIES)]
Rate = Annotated[str, Meta(max_length=64)] | int | None
Sort = Literal["name", "-name", "size", "-size", "mtime", "-mtime"]
State = Literal[
    "queued", "waiting_for_peer", "remote_queued", "downloading", "paused", "done", "failed"
]


class Params(msgspec.Struct, forbid_unknown_fields=True):
    """Base of all parameters."""


class NoParams(Params):
    """No parameters."""


class DaemonLog(Params):
    """since: the `seq` of the last line that was seen; 0 for all that are held."""

    since: Annotated[int, Meta(ge=0, le=2**53)] = 0


class PeersList(Params):
    """all: also those that are known or blocked."""

    all: bool = False


class Code(Params):
    """code: an invite code."""

    code: Annotated[str, Meta(min_length=1, max_length=4096)]


class Peer(Params):
    """peer: a name, a peer id, or a unique prefix of one."""

    peer: Name


class TopicsJoin(Params):
    """name: left out to make a new one that nobody can guess."""

    name: Annotated[str, Meta(max_length=1024)] | None = None


class TopicsLeave(Params):
    """name: the topic."""

    name: Annotated[str, Meta(max_length=1024)]


class SharesAdd(Params):
    """path: a directory on hdpd's machine. name: its own one when left out."""

    path: Annotated[str, Meta(min_length=1, max_length=4096)]
    name: Name | None = None


class ShareName(Params):
    """name: the share."""

    name: Name


class SharesRescan(Params):
    """name: all shares when left out."""

    name: Name | None = None


class FilesList(Params):
    """peer: `self` is this hdpd. path: share, then directories; left out for the list of shares.
    cursor: `next_cursor` of the page before, with everything else unchanged.
    """

    peer: Name
    path: Path = ""
    recursive: bool = False
    sort: Sort = "name"
    limit: Limit = 1000
    cursor: Cursor | None = None


class FilesSearch(Params):
    """query: words that each match any part of the path. peer: all connected ones when left out.
    stream: hits come as notifications; over WebSocket only.
    """

    query: Annotated[str, Meta(min_length=1, max_length=MAX_QUERY_BYTES)]
    peer: Name | None = None
    limit: Limit = 1000
    stream: bool = False


class DownloadsAdd(Params):
    """path: a file or directory. to: a subdirectory of the download directory, or `NAME:` of a
    destination of the configuration, with a subdirectory behind it. paths: more of the same peer,
    to be queued in one go.
    """

    peer: Name
    path: Annotated[str, Meta(min_length=1, max_length=4096)]
    to: Path | None = None
    paths: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=4096)]], Meta(max_length=10_000)
    ] = []


class UseDisk(Params):
    """path: a directory that downloads are written to, as `daemon.doctor` tells it."""

    path: Annotated[str, Meta(min_length=1, max_length=4096)]


class DownloadsList(Params):
    """states: only downloads in these."""

    states: Annotated[list[State], Meta(max_length=16)] | None = None
    limit: Limit = 1000
    cursor: Cursor | None = None


class DownloadsFiles(Params):
    """id: the download."""

    id: Id
    limit: Limit = 1000
    cursor: Cursor | None = None


class DownloadIds(Params):
    """ids: the downloads."""

    ids: Ids


class OneDownload(Params):
    """id: the download."""

    id: Id


class DownloadsMove(Params):
    """to: where in the queue."""

    id: Id
    to: Literal["top", "up", "down", "bottom"]


class LimitsSet(Params):
    """Rates in bytes per second or as text such as `2MB/s`, `16Mbit/s`; null or `none` for no
    limit. What is left out stays as it is. lan: whether they hold for peers on the local network,
    too. reset: first forgets what was set before, so that the configuration holds again.
    """

    upload: Rate | UnsetType = UNSET
    download: Rate | UnsetType = UNSET
    upload_per_peer: Rate | UnsetType = UNSET
    download_per_peer: Rate | UnsetType = UNSET
    lan: bool | UnsetType = UNSET
    reset: bool = False


class TokensNew(Params):
    """role: `read` looks at everything and reads files, `control` also changes the queues and the
    limits, `admin` may do everything.
    """

    role: RoleWord = "admin"


class TokenId(Params):
    """id: as in `tokens.list`."""

    id: Id


class EventsSubscribe(Params):
    """since: the `seq` of the last event that was seen, to get what came after it. types: only
    these; all when left out. A second call on the same WebSocket takes the place of the first.
    """

    since: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    types: Annotated[list[Name], Meta(max_length=64)] | None = None
