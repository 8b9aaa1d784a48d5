"""What each method does: a thin step from its parameters to the part that knows."""

from __future__ import annotations

import secrets
import time
from functools import partial
from pathlib import Path

from msgspec import UNSET

from hdpd.config.limits import KEYS, Value, parse_rate
from hdpd.control import entries
from hdpd.control import parameters as p
from hdpd.control import results as r
from hdpd.control.call import Call
from hdpd.control.encoding import Text, show
from hdpd.control.qr import qr_rows
from hdpd.control.rules import Role
from hdpd.errors import InvalidParams
from hdpd.identity import invites
from hdpd.wire.paths import RemotePath


async def daemon_info(call: Call, _: p.NoParams) -> r.DaemonInfo:
    return show(r.DaemonInfo, await call.services.daemon.status(call.context.access))


async def daemon_shutdown(call: Call, _: p.NoParams) -> r.Nothing:
    call.after_answer.append(call.services.daemon.shutdown)
    return r.Nothing()


async def daemon_log(call: Call, params: p.DaemonLog) -> r.LogLines:
    return call.context.log.since(params.since)


async def nat_report(call: Call, _: p.NoParams) -> r.NatReport:
    return show(r.NatReport, await call.services.nat.fresh_report())


async def daemon_doctor(call: Call, _: p.NoParams) -> r.Findings:
    found = await call.services.daemon.examine(call.context.access)
    return r.Findings(findings=show(list[r.FindingInfo], found))


async def peers_list(call: Call, params: p.PeersList) -> r.PeerList:
    return r.PeerList(peers=show(list[r.PeerInfo], call.services.peers.list(params.all)))


async def peers_explain(call: Call, params: p.Peer) -> r.PeerExplained:
    peers = call.services.peers
    return show(r.PeerExplained, peers.explain(peers.resolve(params.peer)))


async def peers_connect(call: Call, params: p.Code) -> r.PeerResult:
    peer = await call.services.peers.connect(params.code)
    return r.PeerResult(peer=show(Text, peer))


async def peers_disconnect(call: Call, params: p.Peer) -> r.Nothing:
    peers = call.services.peers
    await peers.disconnect(peers.resolve(params.peer))
    return r.Nothing()


async def peers_block(call: Call, params: p.Peer) -> r.Nothing:
    peers = call.services.peers
    await peers.block(peers.resolve(params.peer))
    return r.Nothing()


async def peers_unblock(call: Call, params: p.Peer) -> r.Nothing:
    peers = call.services.peers
    await peers.unblock(peers.resolve(params.peer))
    return r.Nothing()


async def peers_invite(call: Call, _: p.NoParams) -> r.Invite:
    return r.Invite(code=await call.services.peers.invite())


async def peers_invite_qr(_call: Call, params: p.Code) -> r.InviteQr:
    return r.InviteQr(rows=qr_rows(invites.parse(params.code, time.time()).encode()))


async def topics_list(call: Call, _: p.NoParams) -> r.Topics:
    return r.Topics(topics=show(list[r.TopicInfo], call.services.topics.list()))


async def topics_join(call: Call, params: p.TopicsJoin) -> r.Name:
    return r.Name(name=await call.services.topics.join(params.name))


async def topics_leave(call: Call, params: p.TopicsLeave) -> r.Nothing:
    await call.services.topics.leave(params.name)
    return r.Nothing()


async def shares_list(call: Call, _: p.NoParams) -> r.Shares:
    return r.Shares(shares=show(list[r.ShareInfo], call.services.shares.list()))


async def shares_add(call: Call, params: p.SharesAdd) -> r.Name:
    return r.Name(name=await call.services.shares.add(params.path, params.name))


async def shares_remove(call: Call, params: p.ShareName) -> r.Nothing:
    await call.services.shares.remove(params.name)
    return r.Nothing()


async def shares_rescan(call: Call, params: p.SharesRescan) -> r.Nothing:
    await call.services.shares.rescan(params.name)
    return r.Nothing()


async def files_list(call: Call, params: p.FilesList) -> r.Files:
    return await entries.list_files(call.services, params)


async def files_search(call: Call, params: p.FilesSearch) -> r.Hits | r.SearchStarted:
    searches = call.context.searches
    if not params.stream:
        return await searches.collect(params)
    client = call.need_client()
    targets = searches.targets(params)
    search = secrets.token_hex(8)

    notify = partial(client.notify, "search.hits")
    stream = partial(searches.stream, params, targets, search, notify)
    call.after_answer.append(lambda: client.start(stream))
    return r.SearchStarted(search=search)


async def downloads_add(call: Call, params: p.DownloadsAdd) -> r.DownloadsAdded:
    peer = call.services.peers.resolve(params.peer)
    paths = [RemotePath.from_text(path) for path in (params.path, *params.paths)]
    downloads = call.services.downloads
    await downloads.make_sure_they_are_there(peer, paths)
    ids = await downloads.add_all([(peer, path) for path in paths], params.to)
    return r.DownloadsAdded(id=ids[0], ids=list(ids))


async def downloads_list(call: Call, params: p.DownloadsList) -> r.Downloads:
    states = None if params.states is None else [str(state) for state in params.states]
    page = await call.services.downloads.list(states, params.limit, params.cursor)
    return show(r.Downloads, page)


async def downloads_files(call: Call, params: p.DownloadsFiles) -> r.DownloadFiles:
    page = await call.services.downloads.files(params.id, params.limit, params.cursor)
    return show(r.DownloadFiles, page)


async def downloads_pause(call: Call, params: p.DownloadIds) -> r.Nothing:
    await call.services.downloads.pause(params.ids)
    return r.Nothing()


async def downloads_resume(call: Call, params: p.DownloadIds) -> r.Nothing:
    await call.services.downloads.resume(params.ids)
    return r.Nothing()


async def downloads_cancel(call: Call, params: p.DownloadIds) -> r.Nothing:
    await call.services.downloads.cancel(params.ids)
    return r.Nothing()


async def downloads_retry(call: Call, params: p.DownloadIds) -> r.Nothing:
    await call.services.downloads.retry(params.ids)
    return r.Nothing()


async def downloads_clear(call: Call, params: p.DownloadIds) -> r.Nothing:
    await call.services.downloads.clear(params.ids)
    return r.Nothing()


async def downloads_tidy(call: Call, _: p.NoParams) -> r.Tidied:
    return show(r.Tidied, await call.services.downloads.housekeeper.tidy())


async def downloads_use_disk(call: Call, params: p.UseDisk) -> r.Nothing:
    await call.services.downloads.housekeeper.use_disk(Path(params.path))
    return r.Nothing()


async def downloads_move(call: Call, params: p.DownloadsMove) -> r.Nothing:
    await call.services.downloads.move(params.id, params.to)
    return r.Nothing()


async def downloads_verify(call: Call, params: p.OneDownload) -> r.Verification:
    return show(r.Verification, await call.services.downloads.verify(params.id))


async def downloads_verification(call: Call, params: p.OneDownload) -> r.Verification:
    return show(r.Verification, await call.services.downloads.verification(params.id))


async def uploads_list(call: Call, _: p.NoParams) -> r.Uploads:
    return show(r.Uploads, call.services.uploads.status())


async def uploads_cancel(call: Call, params: p.Peer) -> r.Nothing:
    call.services.uploads.cancel(call.services.peers.resolve(params.peer))
    return r.Nothing()


async def limits_get(call: Call, _: p.NoParams) -> r.Limits:
    return show(r.Limits, call.services.limits.status())


async def limits_set(call: Call, params: p.LimitsSet) -> r.Limits:
    given = {key: getattr(params, key) for key in KEYS}
    changes = {key: limit(key, value) for key, value in given.items() if value is not UNSET}
    await call.services.limits.set(changes, reset=params.reset)
    return show(r.Limits, call.services.limits.status())


def limit(key: str, value: str | int | bool | None) -> Value:
    """One parameter of `limits.set`; raises InvalidParams."""
    if value is None or isinstance(value, bool):
        return value
    try:
        return parse_rate(value)
    except ValueError as error:
        raise InvalidParams(f"{key}: {error}") from None


async def tokens_new(call: Call, params: p.TokensNew) -> r.NewToken:
    token, secret = await call.context.tokens.new(Role.parse(params.role))
    return r.NewToken(id=token.id, token=secret, role=params.role)


async def tokens_list(call: Call, _: p.NoParams) -> r.TokenList:
    return r.TokenList(tokens=call.context.tokens.list())


async def tokens_revoke(call: Call, params: p.TokenId) -> r.Nothing:
    await call.context.tokens.revoke(params.id)
    return r.Nothing()


async def tokens_current(call: Call, _: p.NoParams) -> r.CurrentToken:
    return r.CurrentToken(id=call.caller.token, role=call.caller.role.word)


async def tokens_login_link(call: Call, _: p.NoParams) -> r.LoginLink:
    return call.context.access.login_link()


async def events_subscribe(call: Call, params: p.EventsSubscribe) -> r.Subscribed:
    client = call.need_client()
    types = None if params.types is None else frozenset(params.types)
    events = call.context.events
    seq = events.last_seq
    since = seq if params.since is None else params.since
    call.after_answer.append(lambda: client.follow(events.subscribe(since, types)))
    return r.Subscribed(seq=seq)
