"""The results of the methods and the data of the events: what clients are promised.

The OpenRPC document and docs/rpc.md are made from it, and `encoding.show` fills it from what the
parts return. Fields may be added here, none removed or changed in meaning. Sizes are bytes, times
seconds since the epoch, rates bytes per second, ids opaque text.

Whole because it is one list, and some results are parts of several others.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from hdpd.control.encoding import Result, Text
from hdpd.control.parameters import State
from hdpd.control.rules import RoleWord
from hdpd.downloads.status import WaitKind

FileType = Literal["file", "directory"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Nothing(Result):
    """An empty object: it is done."""


class Problem(Result):
    """code: a stable word, as in errors. message: for people."""

    code: str
    message: str


class FindingInfo(Result):
    """check: what was looked at. advice: what to do, unless it is ok."""

    check: str
    state: Literal["ok", "warning", "failed"]
    text: str
    advice: str | None


class Findings(Result):
    """What the doctor found, in an order for people."""

    findings: list[FindingInfo]


class Configuration(Result):
    """files: where the configuration in force was read, the weakest first. refused: what is wrong
    with a newer one that is not used. restart_needed: changed keys that wait for a restart.
    """

    files: list[Text]
    read: float
    refused: str | None
    restart_needed: list[str]


class BrokerInfo(Result):
    """error: the last one; trouble: its kind. works: what this hdpd publishes comes back there;
    null while not known.
    """

    server: str
    connected: bool
    error: str | None
    works: bool | None
    trouble: Literal["away", "refused", "certificate", "subscription", "silent"] | None


class MdnsInfo(Result):
    """advertised: others on the network can see this hdpd. adverts: how many others are seen."""

    advertised: bool
    adverts: int
    error: str | None


class DiscoveryInfo(Result):
    """mqtt: the brokers. mdns: null when it is switched off."""

    mqtt: list[BrokerInfo]
    mdns: MdnsInfo | None


class DaemonInfo(Result):
    """controls: where this interface listens. tls_fingerprint: of its certificate, SHA-256, where
    it has one. addresses: where peers can reach this hdpd.
    """

    name: str
    peer_id: Text
    version: str
    api_version: int
    started: float
    udp_ports: list[int]
    controls: list[str]
    tls_fingerprint: str | None
    addresses: list[Text]
    quic_engine: str
    download_dir: Text
    configuration: Configuration
    discovery: DiscoveryInfo
    nat: str


class LogLine(Result):
    """seq: rises by one with each line, from 1 at the start of hdpd."""

    seq: int
    time: float
    level: LogLevel
    text: str


class LogLines(Result):
    """seq: the last line's. Only the last few hundred lines are held, in memory."""

    seq: int
    lines: list[LogLine]


class PortMappingInfo(Result):
    """answers: the router speaks this protocol, but another one is used. external: the address at
    which the router forwards to this hdpd. error: why it refuses.
    """

    protocol: Literal["pcp", "nat-pmp", "upnp"]
    ipv6: bool
    state: Literal["asking", "absent", "answers", "mapped", "refused"]
    external: Text | None
    error: str | None


class StunInfo(Result):
    """What one STUN server sees. rtt: seconds. error: why there is no answer."""

    server: str
    address: Text | None
    mapped: Text | None
    rtt: float | None
    error: str | None


class NatReport(Result):
    """sentence: what all of it means. online: there is a route to the internet. mapping: none
    where this machine has a public address, easy when the router shows the same address and port to
    everybody, hard when it takes another port for each destination. filtering: who may send to
    that address: anybody, the addresses sent to, or only the ports sent to. hairpin: whether two
    machines behind the router reach each other at their public addresses. behind_carrier: the
    router has no public address itself. announced: what hdpd.toml lets others be told, besides.
    Null and unknown: not known (yet).
    """

    sentence: str
    online: bool
    udp_works: bool | None
    mapping: Literal["unknown", "none", "easy", "hard"]
    filtering: Literal["unknown", "none", "address", "port"]
    hairpin: bool | None
    public_ipv4: Text | None
    public_ipv6: Text | None
    behind_carrier: bool | None
    port_mappings: list[PortMappingInfo]
    stun: list[StunInfo]
    announced: list[Text]


class PeerInfo(Result):
    """topics: names of the topics in common. rtt: seconds. error: why it is not connected."""

    id: Text
    name: str
    state: Literal["connected", "connecting", "known", "blocked"]
    address: Text | None
    path: Literal["lan", "direct", "punched", "mapped", "ipv6"] | None
    found_by: list[Literal["mqtt", "mdns", "known", "gossip", "invite"]]
    topics: list[str]
    rtt: float | None
    connected_since: float | None
    last_connected: float | None
    error: Problem | None


class PeerList(Result):
    """The peers."""

    peers: list[PeerInfo]


class PeerTry(Result):
    """kind: a direct dial, a request to punch, a punched hole, a birthday run. address: at which of
    the peer's. time: when it was tried last. worked: it led to the connection.
    """

    kind: Literal["dial", "request", "punch", "birthday"]
    address: Text | None
    time: float
    result: str
    worked: bool


class PeerExplained(PeerInfo):
    """own_nat, peer_nat: the kind of NAT on either side; the peer's is known once it has answered a
    request to punch. reason: in people's words. advice: what could be changed, best first.
    """

    own_nat: Literal["unknown", "none", "easy", "hard"]
    peer_nat: Literal["unknown", "none", "easy", "hard"] | None
    reason: str
    advice: list[str]
    tries: list[PeerTry]


class PeerResult(Result):
    """The id of the peer."""

    peer: Text


class Invite(Result):
    """code: carries a private topic and addresses; give it to one who may meet you."""

    code: str


class InviteQr(Result):
    """rows: of modules, without the margin; `1` is dark."""

    rows: list[str]


class TopicInfo(Result):
    """peers: how many connected peers are in it. configured: it is in the configuration, so that
    leaving it lasts until the next start. guessable: strangers may find it by trying names.
    """

    name: str
    peers: int
    configured: bool
    guessable: bool


class Topics(Result):
    """The joined topics."""

    topics: list[TopicInfo]


class Name(Result):
    """The name under which it is known from now on."""

    name: str


class ShareInfo(Result):
    """searchable: whether the search index is complete. skipped: unreadable entries, of which
    skipped_first says more about some. configured: it is in the configuration, and can only be
    removed there. watched: of how many of its directories the system tells changes at once; the
    others are looked through at intervals. A share that is removed is in events only.
    """

    name: str
    path: Text
    state: Literal["scanning", "ready", "away", "error", "removed"]
    searchable: bool
    files: int
    directories: int
    bytes: int
    skipped: int
    skipped_first: list[str]
    scanned_at: float | None
    watched: int
    error: str | None
    configured: bool


class Shares(Result):
    """The shares of this hdpd."""

    shares: list[ShareInfo]


class FileInfo(Result):
    """path: from the share on. size and files of a directory: of everything below it."""

    name: Text
    path: Text
    type: FileType
    size: int
    mtime: float
    files: int


class Files(Result):
    """next_cursor: null on the last page."""

    entries: list[FileInfo]
    next_cursor: str | None


class ListingChange(Result):
    """peer: its id, or `self`. path: of the directory; null for any."""

    peer: Text
    path: Text | None


class Hit(Result):
    """peer: the id of the peer that has it, or `self`."""

    peer: Text
    peer_name: str
    path: Text
    type: FileType
    size: int
    mtime: float
    files: int


class Hits(Result):
    """unanswered: ids of peers that did not answer in full within 5 seconds. truncated: there are
    more hits than these.
    """

    hits: list[Hit]
    unanswered: list[Text]
    truncated: bool


class SearchStarted(Result):
    """search: names the search in the `search.hits` notifications, each `{search, hits}`; the last
    one has `done: true`, `unanswered` and `truncated`.
    """

    search: str


class SearchHits(Result):
    """hits: some more of them. With the last ones it is done, and the outcome is as in Hits."""

    search: str
    hits: list[Hit]
    done: bool | UnsetType = UNSET
    unanswered: list[Text] | UnsetType = UNSET
    truncated: bool | UnsetType = UNSET


class DownloadId(Result):
    """The id of the new download."""

    id: str


class DownloadsAdded(DownloadId):
    """ids: of all, in the order of `path` and `paths`; that of the same unfinished one where there
    is one.
    """

    ids: list[str]


class Tidied(Result):
    """What was removed."""

    files: int
    bytes: int


class WaitingFor(Result):
    """What a download that does not run waits for. text: for people."""

    kind: WaitKind
    text: str


class DownloadInfo(Result):
    """eta: seconds to go. queue_position: its place in the peer's upload queue. queue_eta:
    the peer's guess of the seconds until its turn there. error: why it failed or waits; with
    `paused` why hdpd paused it (`disk_full`, `disk_away` and others), to go on by itself when that
    has passed, where a pause of the owner's has none. received_bytes: what came over the network
    for it. place: where it is, or goes, on hdpd's disk. waiting_for: null for one that runs or has
    ended.
    """

    id: str
    peer: Text
    peer_name: str
    path: Text
    to: Text
    type: FileType | None
    state: State
    size: int | None
    done_bytes: int
    files: int | None
    done_files: int
    failed_files: int
    rate: float
    eta: float | None
    queue_position: int | None
    queue_eta: int | None
    error: Problem | None
    added: float
    received_bytes: int
    place: Text | None
    waiting_for: WaitingFor | None


class Downloads(Result):
    """In the order of the queue."""

    downloads: list[DownloadInfo]
    next_cursor: str | None


class DownloadFile(Result):
    """A file or directory of a download. restarts: how often it changed at the peer and began anew.
    saved_as: its name here when its own was taken.
    """

    number: int
    path: Text
    type: FileType
    size: int | None
    state: str
    done_bytes: int
    restarts: int
    saved_as: Text | None
    error: Problem | None


class DownloadFiles(Result):
    """The files of one download."""

    files: list[DownloadFile]
    next_cursor: str | None


class VerificationProblem(Result):
    """path: as in `downloads.files`. changed_here, changed_there: that side has changed its file
    since; different: neither has, and the contents are not the same. message: for people.
    """

    path: Text
    problem: Literal[
        "different", "changed_here", "changed_there", "missing_here", "missing_there", "unreadable"
    ]
    message: str


class Verification(Result):
    """id: the download. files, size: how many are compared, and their bytes. equal, unequal: of
    those done. problems: what is the matter with the unequal ones, the first 1,000; in events only
    at the end. error: why the check as a whole failed.
    """

    id: str
    state: Literal["waiting", "running", "done", "failed"]
    files: int
    done_files: int
    size: int
    done_bytes: int
    equal: int
    unequal: int
    problems: list[VerificationProblem]
    error: Problem | None


class ActiveUpload(Result):
    """What is being sent to whom."""

    peer: Text
    peer_name: str
    path: Text
    offset: int
    size: int
    rate: float


class WaitingUpload(Result):
    """position: 1 is next."""

    peer: Text
    peer_name: str
    path: Text
    position: int


class Uploads(Result):
    """The upload slots and who waits for one."""

    active: list[ActiveUpload]
    waiting: list[WaitingUpload]


class LimitValues(Result):
    """Rates in bytes per second, null for no limit, each for all peers together or for each one.
    lan: whether they hold for peers on the local network, too.
    """

    upload: int | None
    download: int | None
    upload_per_peer: int | None
    download_per_peer: int | None
    lan: bool


class LimitSpan(Result):
    """days: such as `mon-fri,sun`, or `daily`. begins, ends: by the local clock, where an end that
    is not later is on the next day. limits: those of LimitValues that are others then.
    """

    days: str
    begins: str
    ends: str
    limits: dict[str, int | bool | None]
    holds: bool


class Limits(Result):
    """reasons: for each of in_force, `set` at run time, by the `schedule`, or the `base`. set: what
    was set at run time, over restarts until it is reset. base, schedule: the configuration.
    next_change: when the schedule changes something next.
    """

    in_force: LimitValues
    reasons: dict[str, Literal["base", "schedule", "set"]]
    set: dict[str, int | bool | None]
    base: LimitValues
    schedule: list[LimitSpan]
    next_change: float | None


class NewToken(Result):
    """token: the secret itself, shown this once."""

    id: str
    token: str
    role: RoleWord


class TokenInfo(Result):
    """last_used: exact to a minute. Browser sessions are tokens too."""

    id: str
    role: RoleWord
    created: float
    last_used: float | None


class TokenList(Result):
    """The tokens, oldest first."""

    tokens: list[TokenInfo]


class CurrentToken(Result):
    """id: null on a Unix socket, which needs no token."""

    id: str | None
    role: RoleWord


class LoginLink(Result):
    """url: logs one browser in, once. expires: in 10 minutes."""

    url: str
    expires: float


class Subscribed(Result):
    """seq: the number of the last event so far; notifications `event {seq, time, type, data}`
    follow. Numbers rise, also over restarts of hdpd. An event of type `events.lost` says that
    events up to its `seq` can't be had any more: list again what you show.
    """

    seq: int


class Lost(Result):
    """seq: up to this number events can't be had any more."""

    seq: int


class OpenRpc(Result):
    """An OpenRPC document, https://spec.open-rpc.org"""

    openrpc: str
    info: dict[str, str]
    methods: list[dict[str, Any]]
    components: dict[str, Any]
