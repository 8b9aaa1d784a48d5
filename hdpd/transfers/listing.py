"""Asks a peer what a download consists of: a file, or a directory with everything below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from hdpd.errors import LimitReached, NotADirectory, PathInvalid, ProtocolError
from hdpd.transfers.fetch import AnswerStream
from hdpd.transfers.records import Download, FileRecord
from hdpd.transfers.store import Store
from hdpd.wire.messages import (
    Entry,
    EntryType,
    Ls,
    LsEnd,
    Request,
    entries_from_wire,
    raise_if_error,
)
from hdpd.wire.paths import MAX_NAME_BYTES, MAX_PATH_BYTES, RemotePath

PAGE_ENTRIES = 2000
"""One request and one transaction; about 1 MB of memory, at worst (paths of full length) 9 MB."""

ENTRY_OVERHEAD_BYTES = 64  # of CBOR around the path
ANSWER_OVERHEAD_BYTES = 64 * 1024  # frames, cursor, errors

MAX_FILES = 5_000_000
"""Of one download: five times the largest share that is planned for; about 150 bytes of state.db
each. A peer that lists without end stops here."""

ANSWER_SECONDS = 60.0  # the peer may be busy scanning


class Page(NamedTuple):
    """One page of a peer's directory, and the cursor of the next one. `not_modified` says that the
    page is that of the validator that was sent, and not sent again.
    """

    entries: list[Entry]
    cursor: bytes | None
    validator: bytes | None
    not_modified: bool


class ListingSession(Protocol):
    """What a listing needs of a session."""

    async def call(self, request: Request, *, budget: int) -> AnswerStream: ...


async def list_next_page(session: ListingSession, download: Download, store: Store) -> None:
    """Asks for one more page and stores it; `download.listed` says whether it was the last.

    A download of unknown type gets its type by the first page. Cancelled or failed, it can simply
    be called again.

    Raises:
        LimitReached: the directory holds more than MAX_FILES entries.
        ProtocolError: an answer that no correct peer gives.
        HdpdError: what the peer answered, or why there was no answer.
    """
    files: list[FileRecord] = []
    last = await store.last_file(download)
    try:
        request = Ls(download.path, recursive=True, limit=PAGE_ENTRIES, cursor=download.cursor)
        entries, cursor, *_ = await ask_for_page(session, request, ANSWER_SECONDS)
    except NotADirectory:
        if download.type == "directory":
            raise
        download.type, download.listed, download.files = "file", True, 1
        await store.append(download, [FileRecord(1, RemotePath(b""), False, None, None)])
        return
    if download.type is None:
        download.type = "directory"
        last = 1
        files.append(FileRecord(1, RemotePath(b""), True, None, None))
    elif not entries and cursor is not None:
        raise ProtocolError("the peer lists a directory without getting on")
    if last + len(entries) > MAX_FILES:
        raise LimitReached(
            f"the directory holds more than {MAX_FILES:,} entries; download parts of it"
        )
    files += _records(download, entries, last)
    download.cursor, download.listed = cursor, cursor is None
    wanted = [file for file in files if not file.directory]
    download.files += len(wanted)
    download.size += sum(file.size or 0 for file in wanted)
    await store.append(download, files)


async def ask_for_page(session: ListingSession, request: Ls, answer_seconds: float) -> Page:
    """One page of a peer's directory.

    Raises:
        ProtocolError: more entries than were asked for, or none of a listing that nobody has.
        HdpdError: what the peer answered, or why there was no answer within `answer_seconds`.
    """
    longest = MAX_PATH_BYTES if request.recursive else MAX_NAME_BYTES
    budget = ANSWER_OVERHEAD_BYTES + request.limit * (longest + ENTRY_OVERHEAD_BYTES)
    entries: list[Entry] = []
    with await session.call(request, budget=budget) as stream:
        while True:
            answer = await stream.receive(answer_seconds)
            raise_if_error(answer)
            if "end" in answer:
                end = LsEnd.from_wire(answer)
                if end.not_modified and (entries or not request.if_none_match):
                    raise ProtocolError("the peer says that a listing is what nobody has")
                return Page(entries, end.cursor, end.validator, end.not_modified)
            # A name with a slash in a plain listing would be somewhere else than it says.
            entries += [
                entry
                for entry in entries_from_wire(answer, "entries")
                if request.recursive or b"/" not in entry.path.raw
            ]
            if len(entries) > request.limit:
                raise ProtocolError("the peer lists more entries than it was asked for")


def _records(download: Download, entries: Sequence[Entry], last: int) -> list[FileRecord]:
    records = []
    for entry in entries:
        if not _can_be_asked_for(download.path, entry.path):
            continue
        last += 1
        directory = entry.type is EntryType.DIRECTORY
        size = None if directory else entry.size
        records.append(FileRecord(last, entry.path, directory, size, entry.mtime_ns))
    return records


def _can_be_asked_for(base: RemotePath, path: RemotePath) -> bool:
    try:
        RemotePath(base.raw + b"/" + path.raw)
    except PathInvalid:
        return False  # too long or too deep in all
    return True
