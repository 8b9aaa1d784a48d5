"""`hdpctl download`: put files and directories into the queue, and wait for them if asked to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from hdpctl import completion, progress, show
from hdpctl.client import MAX_BATCH
from hdpctl.downloads import Following
from hdpctl.errors import ConnectError, ControlError, RpcError
from hdpctl.params import RemotePath, Session, examples, json_option, path_text, remote_file

if TYPE_CHECKING:
    from hdpctl.stream import Stream

POLL_EVERY_S = 1.0
# A restart of hdpd, which goes on with its downloads by itself, takes less.
AWAY_AT_MOST_S = 30.0
# Of one call, so that it takes hdpd well under a second and fits into any message.
GROUP_PATHS = 1000
GROUP_CHARS = 100_000

Json = dict[str, Any]


@click.command(
    epilog=examples(
        "hdpctl download PersianChinchilla/Films/plan9.mkv",
        "hdpctl download PersianChinchilla/Films --to from-chin --wait",
    )
)
@click.argument(
    "files",
    metavar="PEER/PATH...",
    nargs=-1,
    required=True,
    type=remote_file,
    shell_complete=completion.paths,
)
@click.option("--to", metavar="DIR", type=path_text, help="Subdirectory of the download directory.")
@click.option("--wait", is_flag=True, help="Show progress until all are done; exit by the outcome.")
@json_option
@click.pass_context
def download(ctx: click.Context, files: tuple[RemotePath, ...], to: str | None, wait: bool) -> None:
    """Queue files or directories for download.

    Prints their ids. What a connected peer does not have is not queued; of one that is away nobody
    can tell. With --wait, the exit status is 0 when all are done, and 1 when one failed or was
    cancelled; then it says where they are. Ctrl-C ends the waiting, not the download.
    """
    session = ctx.ensure_object(Session)
    with ExitStack() as stack:
        # Subscribed before anything is added, so that no event is missed.
        stream = stack.enter_context(_changes(session)) if wait else None
        added, failed = _add(session, files, to)
        if not wait:
            for one in added:
                show.json_line({"id": one}) if session.json else show.line(one)
        elif added:
            failed |= _wait(session, stream, added)
    if failed:
        ctx.exit(1)


def _add(
    session: Session, files: Sequence[RemotePath], to: str | None
) -> tuple[dict[str, str], bool]:
    """Add each to the queue: titles by id, and whether one was refused (said on standard error)."""
    answers: dict[RemotePath, Json | RpcError] = {}
    if len(files) > MAX_BATCH:
        answers = _add_groups(session, files, to)
    singly = [file for file in files if file not in answers]
    calls = [("downloads.add", _wanted([file], to)) for file in singly]
    answers.update(zip(singly, session.client.batch(calls), strict=True))
    if len(files) == 1 and isinstance(error := answers[files[0]], RpcError):
        raise error
    titles: dict[str, str] = {}
    refused = False
    for file in files:
        title, answer = f"{file.peer}/{file.path}", answers[file]
        if isinstance(answer, RpcError):
            show.note(f"hdpctl: {title}: {answer.format_message()}")
            refused = True
        else:
            titles[str(answer.get("id"))] = title
    return titles, refused


def _add_groups(
    session: Session, files: Sequence[RemotePath], to: str | None
) -> dict[RemotePath, Json | RpcError]:
    """Add many in few calls. What is in a call that was refused is not in the answer: hdpd takes
    all of a call or nothing, and only asked for singly each gets its own reason.
    """
    answers: dict[RemotePath, Json | RpcError] = {}
    for group in _groups(files):
        try:
            ids = session.client.call("downloads.add", _wanted(group, to)).get("ids")
        except RpcError:
            continue
        if isinstance(ids, list) and len(ids) == len(group):
            answers.update((file, {"id": one}) for file, one in zip(group, ids, strict=True))
    return answers


def _groups(files: Sequence[RemotePath]) -> Iterator[list[RemotePath]]:
    """Split by peer, and into calls of a bounded size."""
    by_peer: dict[str, list[RemotePath]] = {}
    for file in files:
        by_peer.setdefault(file.peer, []).append(file)
    for those in by_peer.values():
        group: list[RemotePath] = []
        size = 0
        for file in those:
            if group and (len(group) == GROUP_PATHS or size + len(file.path) > GROUP_CHARS):
                yield group
                group, size = [], 0
            group.append(file)
            size += len(file.path)
        yield group


def _wanted(files: Sequence[RemotePath], to: str | None) -> Json:
    wanted: Json = {"peer": files[0].peer, "path": files[0].path}
    if more := [file.path for file in files[1:]]:
        wanted["paths"] = more
    return wanted if to is None else {**wanted, "to": to}


@contextmanager
def _changes(session: Session) -> Iterator[Stream | None]:
    """Subscribe to the events of downloads; None where no WebSocket can be had: polling does it."""
    with ExitStack() as stack:
        stream = None
        try:
            stream = stack.enter_context(session.stream())
            stream.call("events.subscribe", {"types": ["download.changed", "download.removed"]})
        except ControlError:
            # Where hdpd itself is the trouble, adding says so.
            stream = None
        yield stream


def _wait(session: Session, stream: Stream | None, titles: dict[str, str]) -> bool:
    """Follow downloads to their end; true where one did not get there (said on standard error)."""
    following = Following(titles)
    with _look(session)(titles) as report:
        _follow(session, stream, following, report)
    if session.json:
        show.json_document({"downloads": list(following.latest.values())})
    elif show.on_terminal():  # else the last line of each says so
        for one, title in titles.items():
            if place := following.latest[one].get("place"):
                show.note(f"{title}: {place}")
    for one, reason in following.failures.items():
        show.note(f"hdpctl: {titles[one]}: {reason}")
        if following.latest[one].get("failed_files"):
            show.note(f'hdpctl: see why: hdpctl rpc downloads.files \'{{"id": "{one}"}}\'')
    return bool(following.failures)


def _look(session: Session) -> progress.Look:
    if session.json:
        return progress.silence
    if not show.on_terminal():
        return progress.lines
    from hdpctl.bars import bars  # noqa: PLC0415 - rich takes 0.1 s, pipes do without

    return bars


def _follow(
    session: Session, stream: Stream | None, following: Following, report: progress.Report
) -> None:
    """Take events as they come, and the list where none came for a second."""
    poll_at = seen_at = time.monotonic()
    while following.waiting:
        now = time.monotonic()
        if now >= poll_at:
            try:
                _poll(session, following, report)
                seen_at = now
            except ConnectError:
                if now - seen_at > AWAY_AT_MOST_S:
                    raise
            poll_at = time.monotonic() + POLL_EVERY_S
            continue
        try:
            if stream is None:
                time.sleep(poll_at - now)
            elif (notification := stream.next(poll_at - now)) and _take(
                notification[1], following, report
            ):
                poll_at = time.monotonic() + POLL_EVERY_S
        except ControlError:
            stream = None


def _take(event: Json, following: Following, report: progress.Report) -> bool:
    """Take an event; tells whether it was about a download still waited for."""
    data = event.get("data")
    if not isinstance(data, dict):
        return False
    if event.get("type") == "download.removed":
        following.remove(str(data.get("id")))
        return False
    if following.update(data):
        report(data)
        return True
    return False


def _poll(session: Session, following: Following, report: progress.Report) -> None:
    missing = set(following.waiting)
    for page in session.client.pages("downloads.list", "downloads", {}):
        for item in page:
            missing.discard(str(item.get("id")))
            if following.update(item):
                report(item)
        if not missing:
            return
    for one in missing:
        following.remove(one)
