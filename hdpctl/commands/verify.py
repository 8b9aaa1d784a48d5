"""`hdpctl verify`: whether a finished download is, byte for byte, what the peer has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from hdpctl import completion, show
from hdpctl.downloads import error_text, find_ids
from hdpctl.errors import ControlError
from hdpctl.params import Session, examples, json_option, pass_session, word

FIRST_POLL_S = 0.1
POLL_EVERY_S = 1.0
# Often enough to see that it moves, seldom enough for a log.
LINE_EVERY_S = 5.0

Json = dict[str, Any]


@click.command(epilog=examples("hdpctl verify 3f9a"))
@click.argument("download_id", metavar="ID", type=word, shell_complete=completion.downloads)
@json_option
@pass_session
@click.pass_context
def verify(ctx: click.Context, session: Session, download_id: str) -> None:
    """Compare the finished files of a download with those of the peer.

    Both sides read their files whole and compute digests, in the background: for large ones that
    takes a while. The exit status is 0 when all are equal, and 1 when one is not or could not be
    compared. Ctrl-C ends the waiting, not the check.
    """
    (found,) = find_ids([download_id], _known(session))
    check = session.client.call("downloads.verify", {"id": found})
    wait, told_at = FIRST_POLL_S, time.monotonic()
    while check.get("state") not in ("done", "failed"):
        if not session.json and time.monotonic() - told_at >= LINE_EVERY_S:
            told_at = time.monotonic()
            show.note(_progress(check))
        time.sleep(wait)
        wait = min(2 * wait, POLL_EVERY_S)
        check = session.client.call("downloads.verification", {"id": found})
    if session.json:
        show.json_document(check)
    else:
        _tell(check)
    if check.get("state") == "failed" or check.get("unequal"):
        ctx.exit(1)


def _known(session: Session) -> Iterator[str]:
    for page in session.client.pages("downloads.list", "downloads", {}):
        for download in page:
            yield str(download.get("id"))


def _progress(check: Json) -> str:
    if check.get("state") == "waiting":
        return "waiting for other checks to end"
    done, size = show.size(check.get("done_bytes")), show.size(check.get("size"))
    files = f"{check.get('done_files') or 0:,} of {show.counted(check.get('files'), 'file')}"
    return f"{done} of {size}, {files} compared"


def _tell(check: Json) -> None:
    problems = check.get("problems") or []
    for problem in problems:
        kind = str(problem.get("problem") or "?").replace("_", " ")
        show.line_of_fields((kind, str(problem.get("path") or "."), str(problem.get("message"))))
    if unnamed := (check.get("unequal") or 0) - len(problems):
        show.note(f"... and {unnamed:,} more")
    if check.get("state") == "failed":
        raise ControlError(f"the check ended early: {error_text(check.get('error'))}")
    if unequal := check.get("unequal"):
        files = show.counted(check.get("files"), "file")
        show.note(f"hdpctl: {unequal:,} of {files} are not the same as the peer's")
    else:
        show.line(f"equal: {show.counted(check.get('equal'), 'file')}")
