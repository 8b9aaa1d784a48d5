"""The one table of methods. Dispatch, the OpenRPC document and docs/rpc.md are made from it."""

from __future__ import annotations

import functools

from hdpd.control import handlers as h
from hdpd.control import parameters as p
from hdpd.control import results as r
from hdpd.control.call import Call, Method
from hdpd.control.encoding import show
from hdpd.control.openrpc import discover
from hdpd.control.rules import Role

Json = dict[str, object]

READ, CONTROL, ADMIN = Role.READ, Role.CONTROL, Role.ADMIN

PEER: Json = {"peer": "PersianChinchilla"}
IDS: Json = {"ids": ["d1"]}
_NONE: Json = {}

# fmt: off
_TABLE = (
    Method("daemon.info", READ, h.daemon_info, p.NoParams, r.DaemonInfo,
           "Who and what this hdpd is.", _NONE),
    Method("daemon.shutdown", ADMIN, h.daemon_shutdown, p.NoParams, r.Nothing,
           "Stops hdpd in order; unfinished downloads go on at the next start.", _NONE),
    Method("daemon.log", READ, h.daemon_log, p.DaemonLog, r.LogLines,
           "The last lines of the log.", {"since": 0}),
    Method("nat.report", READ, h.nat_report, p.NoParams, r.NatReport,
           "What is between this hdpd and the internet, and what that means.", _NONE),
    Method("daemon.doctor", READ, h.daemon_doctor, p.NoParams, r.Findings,
           "Looks at what could keep hdpd from its work, and says what to do.", _NONE),
    Method("peers.list", READ, h.peers_list, p.PeersList, r.PeerList,
           "The peers, how each was found and is connected, or why not.", {"all": True}),
    Method("peers.explain", READ, h.peers_explain, p.Peer, r.PeerExplained,
           "Why a peer is reached as it is, or not at all: what was tried, what could be changed.",
           PEER),
    Method("peers.connect", ADMIN, h.peers_connect, p.Code, r.PeerResult,
           "Connects to the peer that made an invite code.", {"code": "hdp1-…"}),
    Method("peers.disconnect", ADMIN, h.peers_disconnect, p.Peer, r.Nothing,
           "Ends the connection to a peer for now.", PEER),
    Method("peers.block", ADMIN, h.peers_block, p.Peer, r.Nothing,
           "Has nothing to do with a peer any more, whatever topics it knows.", PEER),
    Method("peers.unblock", ADMIN, h.peers_unblock, p.Peer, r.Nothing,
           "Takes a block back.", PEER),
    Method("peers.invite", ADMIN, h.peers_invite, p.NoParams, r.Invite,
           "Makes an invite code.", _NONE),
    Method("peers.invite_qr", ADMIN, h.peers_invite_qr, p.Code, r.InviteQr,
           "An invite code as a QR code.", {"code": "hdp1-…"}),
    Method("topics.list", READ, h.topics_list, p.NoParams, r.Topics,
           "The joined topics.", _NONE),
    Method("topics.join", ADMIN, h.topics_join, p.TopicsJoin, r.Name,
           "Joins a topic; everybody who knows its name can then see what is shared.",
           {"name": "place to meet"}),
    Method("topics.leave", ADMIN, h.topics_leave, p.TopicsLeave, r.Nothing,
           "Leaves a topic; connections without another common topic are closed.",
           {"name": "place to meet"}),
    Method("shares.list", READ, h.shares_list, p.NoParams, r.Shares,
           "The shares of this hdpd and the state of their index.", _NONE),
    Method("shares.add", ADMIN, h.shares_add, p.SharesAdd, r.Name,
           "Shares a directory; it can be browsed while it is scanned.",
           {"path": "/srv/music", "name": "Music"}),
    Method("shares.remove", ADMIN, h.shares_remove, p.ShareName, r.Nothing,
           "Ends a share; its files stay.", {"name": "Music"}),
    Method("shares.rescan", ADMIN, h.shares_rescan, p.SharesRescan, r.Nothing,
           "Starts a new scan of one share or all.", {"name": "Music"}),
    Method("files.list", READ, h.files_list, p.FilesList, r.Files,
           "Lists a directory of a peer, or of this hdpd.", {**PEER, "path": "Music/Björk"}),
    Method("files.search", READ, h.files_search, p.FilesSearch, (r.Hits, r.SearchStarted),
           "Searches the names of files and directories at all connected peers at once.",
           {"query": "bjork live", "limit": 100}),
    Method("downloads.add", CONTROL, h.downloads_add, p.DownloadsAdd, r.DownloadsAdded,
           "Queues a file or directory for download.", {**PEER, "path": "Music/Björk"}),
    Method("downloads.list", READ, h.downloads_list, p.DownloadsList, r.Downloads,
           "The downloads in queue order.", {"states": ["downloading", "queued"]}),
    Method("downloads.files", READ, h.downloads_files, p.DownloadsFiles, r.DownloadFiles,
           "The files of a download.", {"id": "d1", "limit": 100}),
    Method("downloads.pause", CONTROL, h.downloads_pause, p.DownloadIds, r.Nothing,
           "Pauses downloads.", IDS),
    Method("downloads.resume", CONTROL, h.downloads_resume, p.DownloadIds, r.Nothing,
           "Goes on with paused downloads.", IDS),
    Method("downloads.cancel", CONTROL, h.downloads_cancel, p.DownloadIds, r.Nothing,
           "Ends downloads and removes their partial files, never finished ones.", IDS),
    Method("downloads.retry", CONTROL, h.downloads_retry, p.DownloadIds, r.Nothing,
           "Tries failed downloads again.", IDS),
    Method("downloads.clear", CONTROL, h.downloads_clear, p.DownloadIds, r.Nothing,
           "Removes ended downloads from the list; their files stay.", IDS),
    Method("downloads.tidy", CONTROL, h.downloads_tidy, p.NoParams, r.Tidied,
           "Removes partial files that belong to no download.", {}),
    Method("downloads.use_disk", ADMIN, h.downloads_use_disk, p.UseDisk, r.Nothing,
           "Writes downloads to what is at a path now, in place of a disk that is gone for good.",
           {"path": "/srv/downloads"}),
    Method("downloads.move", CONTROL, h.downloads_move, p.DownloadsMove, r.Nothing,
           "Moves a download within the queue.", {"id": "d1", "to": "top"}),
    Method("downloads.verify", CONTROL, h.downloads_verify, p.OneDownload, r.Verification,
           "Begins to compare the finished files of a download with the peer's, by digests.",
           {"id": "d1"}),
    Method("downloads.verification", READ, h.downloads_verification, p.OneDownload, r.Verification,
           "How far the last check of a download is, or how it ended.", {"id": "d1"}),
    Method("uploads.list", READ, h.uploads_list, p.NoParams, r.Uploads,
           "What is being sent, and who is waiting.", _NONE),
    Method("uploads.cancel", CONTROL, h.uploads_cancel, p.Peer, r.Nothing,
           "Stops sending to a peer; it may ask again.", PEER),
    Method("limits.get", READ, h.limits_get, p.NoParams, r.Limits,
           "How fast may be sent and received, and why.", _NONE),
    Method("limits.set", CONTROL, h.limits_set, p.LimitsSet, r.Limits,
           "Limits the rates from now on, whatever the configuration says, until they are reset.",
           {"upload": "2MB/s", "download": None}),
    Method("tokens.new", ADMIN, h.tokens_new, p.TokensNew, r.NewToken,
           "Makes an access token.", {"role": "read"}),
    Method("tokens.list", ADMIN, h.tokens_list, p.NoParams, r.TokenList,
           "The access tokens, without their secrets.", _NONE),
    Method("tokens.revoke", ADMIN, h.tokens_revoke, p.TokenId, r.Nothing,
           "Ends an access token and the WebSockets that use it.", {"id": "token-5b1f0c2e"}),
    Method("tokens.current", READ, h.tokens_current, p.NoParams, r.CurrentToken,
           "The token that this call was made with.", _NONE),
    Method("tokens.login_link", ADMIN, h.tokens_login_link, p.NoParams, r.LoginLink,
           "Makes a link that logs one browser in to the control page.", _NONE),
    Method("events.subscribe", READ, h.events_subscribe, p.EventsSubscribe, r.Subscribed,
           "Sends events as notifications from now on; over WebSocket only.",
           {"types": ["download.changed", "download.removed"]}),
)
# fmt: on


@functools.cache
def _openrpc() -> r.OpenRpc:
    return show(r.OpenRpc, discover(METHODS.values()))


async def _discover(_call: Call, _params: p.NoParams) -> r.OpenRpc:
    return _openrpc()


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *_TABLE,
        Method(
            "rpc.discover",
            READ,
            _discover,
            p.NoParams,
            r.OpenRpc,
            "This interface as an OpenRPC document.",
            {},
        ),
    )
}
