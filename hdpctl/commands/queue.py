"""`hdpctl queue`: the download queue, its order and its states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from hdpctl import completion, show
from hdpctl.downloads import find_ids, short_ids, state_text
from hdpctl.params import ListGroup, Session, examples, json_option, pass_session, word

Json = dict[str, Any]

RUNNING = frozenset({"queued", "waiting_for_peer", "remote_queued", "downloading"})
# The states that an action is for, when it is told `all`.
ALL_FOR = {
    "pause": RUNNING,
    "resume": frozenset({"paused"}),
    "cancel": RUNNING | {"paused", "failed"},
    "retry": frozenset({"failed"}),
    "clear": frozenset({"done", "failed"}),
}
# Keeps a request far below what any server takes.
MAX_IDS_PER_CALL = 1000

ids_argument = click.argument(
    "ids",
    metavar="ID...|all",
    nargs=-1,
    required=True,
    type=word,
    shell_complete=completion.downloads,
)


@click.group(
    cls=ListGroup,
    invoke_without_command=True,
    epilog=examples("hdpctl queue", "hdpctl queue pause all", "hdpctl queue move 3f9a top"),
)
@json_option
@click.pass_context
def queue(ctx: click.Context) -> None:
    """Show and change the download queue.

    An ID may be shortened to a start that no other download has; `all` means each one that the
    command is for.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_queue)


@queue.command("list", epilog=examples("hdpctl queue ls --json"))
@json_option
@pass_session
def list_queue(session: Session) -> None:
    """Show the downloads in their order (also: ls).

    Piped, each line has id, state, bytes done, size, rate, time left in s, PEER/PATH, place on the
    disk; separated by tabs.
    """
    pages = session.client.pages("downloads.list", "downloads", {})
    if session.json:
        return show.json_pages("downloads", pages)
    names = show.PeerNames(session.client.call("peers.list", {"all": True}).get("peers") or [])
    downloads: Iterator[Json] = (download for page in pages for download in page)
    if not show.on_terminal():
        return show.table((), (_row(item, str(item.get("id")), names) for item in downloads))
    held = list(downloads)
    if not held:
        return show.note("the queue is empty; `hdpctl download PEER/PATH` fills it")
    short = short_ids(str(item.get("id")) for item in held)
    headers = ("id", "state", "done", "size", "rate", "left", "what", "to")
    return show.table(headers, (_row(item, short[str(item.get("id"))], names) for item in held))


def _row(download: Mapping[str, Any], shown_id: str, names: show.PeerNames) -> tuple[str, ...]:
    eta = download.get("eta")
    exact = f"{eta:.0f}" if isinstance(eta, (int, float)) else ""
    left = show.duration(eta) if show.on_terminal() else exact
    return (
        shown_id,
        state_text(download),
        show.amount(download.get("done_bytes")),
        show.amount(download.get("size")),
        show.rate(download.get("rate")),
        left,
        f"{names.in_path(download.get('peer'))}/{download.get('path')}",
        str(download.get("place") or ""),
    )


@queue.command(epilog=examples("hdpctl queue pause 3f9a"))
@ids_argument
@json_option
@pass_session
def pause(session: Session, ids: tuple[str, ...]) -> None:
    """Stop downloads for now; what is there is kept."""
    _act(session, "pause", ids)


@queue.command(epilog=examples("hdpctl queue resume all"))
@ids_argument
@json_option
@pass_session
def resume(session: Session, ids: tuple[str, ...]) -> None:
    """Go on with paused downloads."""
    _act(session, "resume", ids)


@queue.command(epilog=examples("hdpctl queue cancel 3f9a"))
@ids_argument
@json_option
@pass_session
def cancel(session: Session, ids: tuple[str, ...]) -> None:
    """Give downloads up: partial files are removed, finished ones stay."""
    _act(session, "cancel", ids)


@queue.command(epilog=examples("hdpctl queue retry all"))
@ids_argument
@json_option
@pass_session
def retry(session: Session, ids: tuple[str, ...]) -> None:
    """Try failed downloads again, where they stopped."""
    _act(session, "retry", ids)


@queue.command(epilog=examples("hdpctl queue clear all"))
@ids_argument
@json_option
@pass_session
def clear(session: Session, ids: tuple[str, ...]) -> None:
    """Take finished and failed downloads off the list."""
    _act(session, "clear", ids)


@queue.command(epilog=examples("hdpctl queue tidy"))
@json_option
@pass_session
def tidy(session: Session) -> None:
    """Remove partial files that belong to no download.

    They are left by a disk that was away when its download was cancelled, or by an older queue;
    `hdpctl doctor` tells when there are any.
    """
    result = session.client.call("downloads.tidy", {})
    if session.json:
        show.json_document(result)
    else:
        click.echo(f"{result['files']:,} files removed")


@queue.command("use-disk", epilog=examples("hdpctl queue use-disk /srv/downloads"))
@click.argument("path", metavar="DIR", type=word)
@json_option
@pass_session
def use_disk(session: Session, path: str) -> None:
    """Write downloads to what is at DIR now.

    hdpd waits while the disk that it wrote to is away, and writes nothing to what is in its place.
    This says that the disk does not come back, or that what it held was moved to another one.
    """
    result = session.client.call("downloads.use_disk", {"path": path})
    if session.json:
        show.json_document(result)


@queue.command(epilog=examples("hdpctl queue move 3f9a top"))
@click.argument("download_id", metavar="ID", type=word, shell_complete=completion.downloads)
@click.argument(
    "to", metavar="top|up|down|bottom", type=click.Choice(["top", "up", "down", "bottom"])
)
@json_option
@pass_session
def move(session: Session, download_id: str, to: str) -> None:
    """Change a download's place in the queue."""
    (found,) = find_ids([download_id], (one for one, _ in _known(session)))
    result = session.client.call("downloads.move", {"id": found, "to": to})
    if session.json:
        show.json_document(result)


def _known(session: Session) -> Iterator[tuple[str, str]]:
    """The id and the state of every download."""
    for page in session.client.pages("downloads.list", "downloads", {}):
        for download in page:
            yield str(download.get("id")), str(download.get("state"))


def _act(session: Session, action: str, ids: tuple[str, ...]) -> None:
    known = dict(_known(session))
    if ids == ("all",):
        chosen = [one for one, state in known.items() if state in ALL_FOR[action]]
    else:
        chosen = find_ids(ids, known)
    for start in range(0, len(chosen), MAX_IDS_PER_CALL):
        params = {"ids": chosen[start : start + MAX_IDS_PER_CALL]}
        result = session.client.call(f"downloads.{action}", params)
        if session.json:
            show.json_document(result)
    if not chosen and show.on_terminal():
        show.note(f"there is nothing to {action}")
