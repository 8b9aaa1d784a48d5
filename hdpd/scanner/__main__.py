"""The scanner program: `python -m hdpd.scanner`, the only writer of the index.

It reads one job from standard input, reports on standard output, and ends at once when standard
input ends: then hdpd is gone or wants it gone. It is a process because a scanning thread would take
half of the event loop's speed, and because it can be given up when a file system does not answer.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hdpd.database import DatabaseError, write_transaction
from hdpd.errors import ShareAway
from hdpd.scanner.scan import Scan, Tally, no_watch
from hdpd.scanner.upkeep import make_searchable, renew_search_tables, sweep
from hdpd.scanner.watcher import Watcher, oldest_worth
from hdpd.scanner.writer import Directory, IndexWriter, take_ids
from hdpd.shares.jobs import Job, Report, ShareJob, job_from_line, to_line
from hdpd.shares.opening import Place, Root
from hdpd.shares.presence import Presence, look_at
from hdpd.threads.worker import Worker
from hdpd.wire.paths import bytes_from_text

NICENESS = 19  # the lowest; it also gives the lowest best-effort priority to its disk accesses
NICENESS_WHEN_NAMED = 5  # few directories, which somebody waits for
REPORT_S = 0.5
WATCHES_IN_REPORT = 5000  # of some 20 bytes: well below the longest line


class Before(NamedTuple):
    """The outcome of the last complete scan of a share."""

    mount_point: bool
    file_system: int
    directories: int
    skipped: int


class Scanner:
    """Does one job and tells how far it is."""

    def __init__(self, job: Job, send: Callable[[Report], None]) -> None:
        self._job = job
        self._send = send
        self._root = 0
        self._last_report = 0.0
        self._watcher: Watcher | None = None
        self._presence: Presence | None = None

    def run(self) -> None:
        """Does it.

        Raises:
            ShareAway, OSError: the share's directory cannot be read.
            DatabaseError: the index cannot be written.
        """
        writer = IndexWriter(Path(os.fsdecode(bytes_from_text(self._job.database))))
        try:
            renew_search_tables(writer)
            forget_shares(writer, self._job.forget)
            tally = self._scan(writer, self._job.share) if self._job.share else Tally()
            for _ in sweep(writer):
                self._progress("indexing", tally)
            for _ in make_searchable(writer):
                self._progress("indexing", tally)
            self._report("done", tally)
        finally:
            writer.close()

    def _scan(self, writer: IndexWriter, share: ShareJob) -> Tally:
        top, before = begin_share(writer, share)
        self._root = top.id
        place = Place(bytes_from_text(share.path), share.hidden, tuple(share.ignore))
        self._presence = look_at(
            place,
            was_mount_point=before.mount_point,
            held_files_on=(before.file_system or None) if top.files else None,
        )
        if share.inotify >= 0:
            oldest = None if share.reach == "named" else oldest_worth(writer, share.watches)
            self._watcher = Watcher(share.inotify, share.watches, oldest)
        with Root(place) as root:
            self._report("scanning", Tally())
            scan = Scan(
                root,
                top,
                writer,
                lambda tally: self._progress("scanning", tally),
                reach=share.reach,
                named=share.named,
                watch=self._watcher.watch if self._watcher else no_watch,
            )
            scan.run()
        tally = scan.tally
        if share.reach != "all":
            tally.skipped, tally.reasons = before.skipped, []
            tally.files, tally.bytes = top.files, top.size
        if share.reach == "named":
            changed = scan.tree_changed
            tally.directories = writer.count_below(top) if changed else before.directories
        finish_share(writer, share, tally, self._presence)
        self._tell_watches()
        self._report("scanned", tally)
        return tally

    def _progress(self, phase: str, tally: Tally) -> None:
        self._tell_watches()
        if time.monotonic() - self._last_report >= REPORT_S:
            self._report(phase, tally)

    def _tell_watches(self) -> None:
        found = self._watcher.take() if self._watcher else []
        for start in range(0, len(found), WATCHES_IN_REPORT):
            self._send(Report("watching", watches=found[start : start + WATCHES_IN_REPORT]))

    def _report(self, phase: str, tally: Tally) -> None:
        self._last_report = time.monotonic()
        self._send(
            Report(
                phase,  # type: ignore[arg-type]
                self._root,
                tally.directories,
                tally.files,
                tally.bytes,
                tally.skipped,
                tally.reasons,
                mount_point=self._presence.mount_point if self._presence else False,
                file_system=self._presence.file_system if self._presence else 0,
                unwatched=self._watcher.unwatched if self._watcher else 0,
            )
        )


def begin_share(writer: IndexWriter, share: ShareJob) -> tuple[Directory, Before]:
    """The share's root in the index, made anew when the share is new or became another one; and
    what its last complete scan found.
    """
    described = (share.path, share.hidden, json.dumps(share.ignore))
    with write_transaction(writer.connection) as transaction:
        row = transaction.one(
            "SELECT path, hidden, ignore, root, mount_point, file_system, directories, skipped "
            "FROM share WHERE name=?",
            (share.name,),
        )
        if row is not None and row[:3] != described:
            transaction.execute("UPDATE directory SET parent=NULL WHERE id=?", (row[3],))
            row = None
        if row is None:
            id_ = take_ids(transaction, "last_directory", 1)
            transaction.execute(
                "INSERT INTO directory (id, parent, name, mtime, scanned, size, files) "
                "VALUES (?, 0, ?, 0, 0, 0, 0)",
                (id_, share.name),
            )
            transaction.execute(
                "INSERT OR REPLACE INTO share (name, path, hidden, ignore, root) "
                "VALUES (?, ?, ?, ?, ?)",
                (share.name, *described, id_),
            )
            row = (*described, id_, False, 0, 0, 0)
    top = writer.directory(row[3])
    assert top is not None, "a share's root directory is deleted only together with the share"
    return top, Before(bool(row[4]), *row[5:])


def finish_share(writer: IndexWriter, share: ShareJob, tally: Tally, presence: Presence) -> None:
    """Records the outcome of a complete scan."""
    now = time.time()
    with write_transaction(writer.connection) as transaction:
        transaction.execute(
            "UPDATE share SET mount_point=?, file_system=?, skipped=?, directories=?, "
            "scanned_at=?, read_at=iif(?, ?, read_at) WHERE name=?",
            (
                *(presence.mount_point, presence.file_system, tally.skipped, tally.directories),
                *(now, share.reach == "all", now, share.name),
            ),
        )


def forget_shares(writer: IndexWriter, roots: list[int]) -> None:
    """Detaches the shares with these root directories; sweeping deletes what was in them."""
    with write_transaction(writer.connection) as transaction:
        for root in roots:
            transaction.execute("DELETE FROM share WHERE root=?", (root,))
            transaction.execute("UPDATE directory SET parent=NULL WHERE id=?", (root,))


def _send(report: Report) -> None:
    try:
        sys.stdout.buffer.write(to_line(report))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(0)  # hdpd was killed; there is nobody to work for


def _end_with_parent() -> None:
    """Waits for the end of standard input, even while the main thread waits for a disk."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> int:
    """Runs the job that standard input holds; the exit status is 0 whenever a report tells all."""
    gc.disable()  # rows make no cycles, and looking for some would take a tenth of the time
    line = sys.stdin.buffer.readline()
    if not line:  # hdpd ended before it could say what to do
        return 0
    job = job_from_line(line)
    named = job.share is not None and job.share.reach == "named"
    os.nice(NICENESS_WHEN_NAMED if named else NICENESS)
    Worker("parent").begin(_end_with_parent)
    try:
        Scanner(job, _send).run()
    except ShareAway as error:
        _send(Report("away", message=error.message))
    except OSError as error:
        _send(Report("away", message=f"the share's directory cannot be read: {error.strerror}"))
    except DatabaseError as error:
        _send(Report("failed", message=f"the index cannot be written: {error}"))
    sys.stdout.flush()
    os._exit(0)  # the thread above holds a lock on standard input, which an orderly exit would want


if __name__ == "__main__":
    sys.exit(main())
