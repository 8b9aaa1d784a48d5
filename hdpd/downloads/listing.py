"""Asks a peer what a download consists of: a file, or a directory with everything below it."""

from __future__ import annotations

from collections.abc import Sequence

from hdpd.downloads.records import MAX_BYTES, Download, FileRecord
from hdpd.downloads.store import Store
from hdpd.errors import LimitReached, NotADirectory, PathInvalid, ProtocolError, StateUnavailable
from hdpd.remote.pages import ListingSession, ask_for_page
from hdpd.wire.messages import Entry, EntryType, Ls
from hdpd.wire.paths import RemotePath

PAGE_ENTRIES = 2000
"""One request and one transaction; about 1 MB of memory, at worst (paths of full length) 9 MB."""

MAX_FILES = 5_000_000
"""Of one download: five times the largest share that is planned for; about 150 bytes of state.db
each. A peer that lists without end stops here."""

ANSWER_S = 60.0  # the peer may be busy scanning


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
        entries, cursor, *_ = await ask_for_page(session, request, ANSWER_S)
    except NotADirectory:
        if download.type == "directory":
            raise
        file = FileRecord(1, RemotePath(b""), False, None, None)
        await _store(download, store, "file", [file], None)
        return
    if download.type is None:
        last = 1
        files.append(FileRecord(1, RemotePath(b""), True, None, None))
    elif not entries and cursor is not None:
        raise ProtocolError("the peer lists a directory without getting on")
    if last + len(entries) > MAX_FILES:
        raise LimitReached(
            f"the directory holds more than {MAX_FILES:,} entries; download parts of it"
        )
    files += _records(download, entries, last)
    if download.size + sum(file.size or 0 for file in files) > MAX_BYTES:
        raise ProtocolError("the peer lists files of more bytes than any disk holds")
    await _store(download, store, "directory", files, cursor)


async def _store(
    download: Download,
    store: Store,
    kind: str,
    files: Sequence[FileRecord],
    cursor: bytes | None,
) -> None:
    """Stores a page, and counts it; both or neither."""
    before = (download.type, download.cursor, download.listed)
    wanted = [file for file in files if not file.directory]
    size = sum(file.size or 0 for file in wanted)
    download.type, download.cursor, download.listed = kind, cursor, cursor is None
    download.files += len(wanted)
    download.entries += len(files)
    download.size += size
    try:
        await store.append(download, files)
    except StateUnavailable:
        download.type, download.cursor, download.listed = before
        download.files -= len(wanted)
        download.entries -= len(files)
        download.size -= size
        raise


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
