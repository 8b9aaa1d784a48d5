"""`hdpctl ls` and `search`: what peers share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from hdpctl import completion, show
from hdpctl.errors import ControlError, RpcError
from hdpctl.params import (
    RemotePath,
    Session,
    examples,
    json_option,
    pass_session,
    path_text,
    remote,
    word,
)

# hdpd ends a search long before.
SEARCH_SILENCE_S = 60.0

Json = dict[str, Any]

long_option = click.option("-l", "--long", is_flag=True, help="Show type, size and time, too.")
null_option = click.option(
    "-0", "--null", is_flag=True, help="End each name with a NUL byte, for `xargs -0`."
)


@click.command(
    epilog=examples(
        "hdpctl ls",
        "hdpctl ls -l PersianChinchilla/Films",
        "hdpctl ls -R0 PersianChinchilla/Films | grep -z mkv | xargs -0 hdpctl download",
    )
)
@click.argument(
    "target", metavar="[PEER[/PATH]]", type=remote, required=False, shell_complete=completion.paths
)
@long_option
@click.option("-R", "--recursive", is_flag=True, help="Show everything below, with its whole path.")
@null_option
@json_option
@click.pass_context
def ls(
    ctx: click.Context, target: RemotePath | None, long: bool, recursive: bool, null: bool
) -> None:
    """List peers, their shares, and what is in them.

    Shows what is below PEER or PEER/PATH; without either, the peers and their shares. The peer
    `self` is this hdpd. The name of a directory ends with a slash. -l shows type, size, time and
    the number of files. Piped, names are printed as their bytes.
    """
    session = ctx.ensure_object(Session)
    if target is None:
        if recursive:
            raise click.UsageError("-R needs to know of which PEER or PEER/PATH")
        ctx.exit(_list_peers(session, long, null))
    pages = _entries(session, target, recursive)
    if session.json:
        return show.json_pages("entries", pages)
    for page in pages:
        for entry in page:
            name = f"{target.peer}/{entry.get('path')}" if recursive else str(entry.get("name"))
            _print_entry(name, entry, long, null)
        show.flush()
    return None


def _entries(session: Session, of: RemotePath, recursive: bool = False) -> Iterator[list[Json]]:
    params: Json = {"peer": of.peer}
    if of.path:
        params["path"] = of.path
    if recursive:
        params["recursive"] = True
    return session.client.pages("files.list", "entries", params)


def _list_peers(session: Session, long: bool, null: bool) -> int:
    """List this hdpd and every connected peer with its shares; 1 where one did not answer."""
    known = session.client.call("peers.list").get("peers") or []
    connected = [peer for peer in known if peer.get("state") == "connected"]
    names = show.PeerNames(known)
    listed, failed = [], 0
    for peer in [{"id": "self", "name": "self", "state": "self"}, *connected]:
        label = names.in_path(peer["id"])
        try:
            pages = _entries(session, RemotePath(str(peer["id"]), ""))
            shares = [share for page in pages for share in page]
        except RpcError as error:
            show.note(f"hdpctl: {label}: {error.format_message()}")
            failed = 1
            continue
        if session.json:
            listed.append({**peer, "shares": shares})
            continue
        _print_entry(label, {"type": "directory"}, long, null)
        for share in shares:
            _print_entry(f"{label}/{share.get('name')}", share, long, null)
        show.flush()
    if session.json:
        show.json_document({"peers": listed})
    return failed


def _print_entry(name: str, entry: Mapping[str, Any], long: bool, null: bool) -> None:
    directory = entry.get("type") == "directory"
    details = ""
    if long:
        files = entry.get("files")
        count = str(files) if directory and files is not None else "-"
        width = 8 if show.on_terminal() else 15
        amount, when = show.amount(entry.get("size")), show.moment(entry.get("mtime"))
        details = f"{'d' if directory else '-'} {amount:>{width}} {when:>16} {count:>9} "
    show.name_line(f"{name}/" if directory else name, before=details, null=null)


@click.command(
    epilog=examples(
        "hdpctl search bjork live", "hdpctl search -0 bjork live | xargs -0 hdpctl download"
    )
)
@click.argument("terms", metavar="TERM...", nargs=-1, required=True, type=path_text)
@click.option(
    "--peer", type=word, shell_complete=completion.peers, help="Search only what PEER shares."
)
@click.option("--limit", type=click.IntRange(min=1), help="Stop after N hits.")
@long_option
@null_option
@json_option
@pass_session
def search(
    session: Session,
    terms: tuple[str, ...],
    peer: str | None,
    *,
    limit: int | None,
    long: bool,
    null: bool,
) -> None:
    """Search the shares of all connected peers.

    A hit has every TERM. Each TERM may match any part of any component of a path; case and accents
    do not matter. Hits are printed as they come, as PEER/PATH.
    """
    params: Json = {"query": " ".join(terms)}
    if peer is not None:
        params["peer"] = peer
    if limit is not None:
        params["limit"] = limit
    if session.json:
        return show.json_document(session.client.call("files.search", params))
    names = show.PeerNames(session.client.call("peers.list", {"all": True}).get("peers") or [])
    found = 0
    unanswered: list[str] = []
    truncated = False
    for update in _search(session, params):
        for hit in update.get("hits") or []:
            path = f"{names.in_path(hit.get('peer'))}/{hit.get('path')}"
            _print_entry(path, hit, long, null)
            found += 1
        show.flush()
        unanswered += update.get("unanswered") or []
        truncated |= bool(update.get("truncated"))
    if unanswered:
        show.note(f"hdpctl: no answer from {', '.join(map(names.shown, unanswered))}")
    if truncated:
        show.note("hdpctl: there are more hits than these; another TERM narrows them down")
    if not found and show.on_terminal():
        show.note("nothing found")
    return None


def _search(session: Session, params: Json) -> Iterator[Json]:
    """Search with notifications: yields the parameters of each, the last with `done` true."""
    with session.stream() as stream:
        search_id = stream.call("files.search", {**params, "stream": True}).get("search")
        while True:
            notification = stream.next(SEARCH_SILENCE_S)
            if notification is None:
                raise ControlError("the search was not finished: hdpd fell silent")
            method, update = notification
            if method != "search.hits" or update.get("search") != search_id:
                continue
            yield update
            if update.get("done"):
                return
