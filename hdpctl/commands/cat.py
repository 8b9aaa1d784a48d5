"""`hdpctl cat`: the bytes of a remote file, as they come."""

from __future__ import annotations

from http.client import HTTPException, HTTPResponse

import click

from hdpctl import completion, show
from hdpctl.errors import ControlError
from hdpctl.params import RemotePath, Session, examples, json_option, pass_session, remote_file

CHUNK_BYTES = 256 * 1024


@click.command(
    epilog=examples(
        "hdpctl cat PersianChinchilla/Films/plan9.mkv | mpv -",
        "hdpctl cat PersianChinchilla/Notes/todo.txt --offset 100 --length 20",
    )
)
@click.argument("file", metavar="PEER/PATH", type=remote_file, shell_complete=completion.paths)
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Skip the first N bytes.")
@click.option("--length", type=click.IntRange(min=0), help="Print at most N bytes.")
@json_option
@pass_session
def cat(session: Session, file: RemotePath, offset: int, length: int | None) -> None:
    """Print a remote file's bytes, without keeping a copy."""
    if session.json:
        raise click.UsageError("cat prints a file's bytes: there is no --json")
    response = session.client.open_file(file.peer, file.path, byte_range(offset, length))
    with response:
        if response.status == 416:
            return _past_the_end(file, response, offset)
        if response.status == 200 and (offset or length is not None):
            raise ControlError("hdpd sent the whole file instead of the part asked for")
        return None if length == 0 else _copy(file, response)


def byte_range(offset: int, length: int | None) -> str | None:
    """The `Range` header for a part of a file (RFC 9110, section 14.1.2), None for all of it."""
    if length is None:
        return f"bytes={offset}-" if offset else None
    # A range has at least one byte; of a part of none, only the answer's status matters.
    return f"bytes={offset}-{offset + max(length, 1) - 1}"


def _copy(file: RemotePath, response: HTTPResponse) -> None:
    name = f"{file.peer}/{file.path}"
    declared = response.getheader("Content-Length")
    copied = 0
    while True:
        try:
            chunk = response.read(CHUNK_BYTES)
        except (OSError, HTTPException) as error:
            raise ControlError(f"{name}: broken off after {copied} bytes: {error}") from error
        if not chunk:
            break
        show.raw(chunk)
        copied += len(chunk)
    if declared is not None and copied != int(declared):
        raise ControlError(f"{name}: broken off after {copied} of {declared} bytes")


def _past_the_end(file: RemotePath, response: HTTPResponse, offset: int) -> None:
    """Reading at the end of a file gives nothing; beyond it, it is a mistake."""
    size = (response.getheader("Content-Range") or "").rpartition("/")[2]
    if size.isdecimal() and offset <= int(size):
        return
    end = f"has only {size} bytes" if size.isdecimal() else "ends before that"
    raise ControlError(f"{file.peer}/{file.path}: cannot start at {offset}: the file {end}")
