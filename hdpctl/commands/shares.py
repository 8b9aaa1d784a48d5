"""`hdpctl shares`: the directories that this hdpd offers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from hdpctl import completion, show
from hdpctl.params import ListGroup, Session, examples, json_option, pass_session, path_text
from hdpctl.text import from_bytes, to_bytes


@click.group(
    cls=ListGroup,
    invoke_without_command=True,
    epilog=examples("hdpctl shares", "hdpctl shares add Films=/srv/media/films"),
)
@json_option
@click.pass_context
def shares(ctx: click.Context) -> None:
    """Show, add and remove the directories that are shared."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_shares)


@shares.command("list", epilog=examples("hdpctl shares list"))
@json_option
@pass_session
def list_shares(session: Session) -> None:
    """Show the shares and how far their index is (also: ls).

    Piped, each line has name, state, files, bytes, skipped, scanned at, path, error, and whether it
    is from the settings or from hdpctl; separated by tabs.
    """
    result = session.client.call("shares.list")
    if session.json:
        return show.json_document(result)
    headers = ("share", "state", "files", "size", "skipped", "scanned", "path", "error", "from")
    return show.table(headers, map(_row, result.get("shares") or []))


def _row(share: dict[str, Any]) -> tuple[str, ...]:
    state = str(share.get("state") or "")
    if state == "ready" and share.get("searchable") is False:
        state = "ready, not searchable yet"
    return (
        str(share.get("name") or ""),
        state,
        str(share.get("files") or 0),
        show.amount(share.get("bytes")),
        str(share.get("skipped") or 0),
        show.moment(share.get("scanned_at")),
        str(share.get("path") or ""),
        str(share.get("error") or ""),
        "settings" if share.get("configured") else "hdpctl",
    )


@shares.command(
    epilog=examples("hdpctl shares add ~/Music", "hdpctl shares add Films=/srv/media/films")
)
@click.argument("directory", metavar="[NAME=]DIR", type=path_text)
@json_option
@pass_session
def add(session: Session, directory: str) -> None:
    """Share the directory DIR, under NAME or its own name, and print that name."""
    name, path = split_share(directory)
    params = {"path": path} if name is None else {"path": path, "name": name}
    result = session.client.call("shares.add", params)
    if session.json:
        return show.json_document(result)
    return show.name_line(str(result.get("name") or ""))


def split_share(argument: str) -> tuple[str | None, str]:
    """Split `[NAME=]DIR` into the share name and an absolute path, both as text of paths.

    The whole argument is the directory when there is one of that name, or when what stands before
    the `=` cannot be a share name.
    """
    name, equals, directory = argument.partition("=")
    if not equals or not name or "/" in name or _is_directory(argument):
        return None, _absolute(argument)
    return name, _absolute(directory)


def _is_directory(argument: str) -> bool:
    try:
        return Path(os.fsdecode(to_bytes(argument))).is_dir()
    except (OSError, ValueError):
        return False


def _absolute(directory: str) -> str:
    if not directory:
        raise click.UsageError("which directory? Write [NAME=]DIR")
    # pathlib would follow links, and raise for the home of nobody; both change what was meant.
    expanded = os.path.expanduser(to_bytes(directory))  # noqa: PTH111
    return from_bytes(os.path.abspath(expanded))  # noqa: PTH100


@shares.command(epilog=examples("hdpctl shares rm Films"))
@click.argument("name", type=path_text, shell_complete=completion.shares)
@json_option
@pass_session
def rm(session: Session, name: str) -> None:
    """Stop sharing NAME; no file is touched."""
    result = session.client.call("shares.remove", {"name": name})
    if session.json:
        show.json_document(result)


@shares.command(epilog=examples("hdpctl shares rescan Films"))
@click.argument("name", type=path_text, required=False, shell_complete=completion.shares)
@json_option
@pass_session
def rescan(session: Session, name: str | None) -> None:
    """Look again at the files of the share NAME, or of all shares."""
    result = session.client.call("shares.rescan", {} if name is None else {"name": name})
    if session.json:
        show.json_document(result)
