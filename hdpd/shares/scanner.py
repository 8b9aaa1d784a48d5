"""The scanner program: `python -m hdpd.shares.scanner`, the only writer of the index.

It reads one job from standard input, reports on standard output, and ends at once when standard
input ends: then hdpd is gone or wants it gone. It is a process because a scanning thread would take
half of the event loop's speed, and because it can be given up when a file system does not answer.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hdpd.database import DatabaseError, write_transaction
from hdpd.errors import ShareAway
from hdpd.shares.jobs import Job, Report, ShareJob, job_from_line, to_line
from hdpd.shares.opening import Place, Root, mtime_of
from hdpd.shares.presence import look_at
from hdpd.shares.scan import Scan, Tally
from hdpd.shares.stored import ignore_column
from hdpd.shares.upkeep import make_searchable, renew_search_tables, sweep
from hdpd.shares.writer import Directory, IndexWriter, take_ids
from hdpd.wire.paths import bytes_from_text

NICENESS = 19  # the lowest; it also gives the lowest best-effort priority to its disk accesses
REPORT_SECONDS = 0.5


class Scanner:
    """Does one job and tells how far it is."""

    def __init__(self, job: Job, send: Callable[[Report], None]) -> None:
        self._job = job
        self._send = send
        self._root = 0
        self._last_report = 0.0

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
        top, was_mount_point = begin_share(writer, share)
        self._root = top.id
        place = Place(bytes_from_text(share.path), share.hidden, tuple(share.ignore))
        presence = look_at(place, was_mount_point=was_mount_point)
        with Root(place) as root:
            top.mtime = mtime_of(os.fstat(root.fd))
            writer.touch(top)
            self._report("scanning", Tally())
            scan = Scan(root, top, writer, lambda tally: self._progress("scanning", tally))
            scan.run()
        finish_share(writer, share, scan.tally, mount_point=presence.mount_point)
        self._report("scanned", scan.tally)
        return scan.tally

    def _progress(self, phase: str, tally: Tally) -> None:
        if time.monotonic() - self._last_report >= REPORT_SECONDS:
            self._report(phase, tally)

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
            )
        )


def begin_share(writer: IndexWriter, share: ShareJob) -> tuple[Directory, bool]:
    """The share's root in the index, made anew when the share is new or became another one; and
    whether it was a mount point at its last complete scan.
    """
    with write_transaction(writer.connection) as transaction:
        ignore = ignore_column(share.ignore)
        row = transaction.one(
            "SELECT path, hidden, ignore, root, mount_point FROM share WHERE name=?", (share.name,)
        )
        if row is not None and row[:3] != (share.path, share.hidden, ignore):
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
                (share.name, share.path, share.hidden, ignore, id_),
            )
            row = (share.path, share.hidden, ignore, id_, 0)
        root_id, was_mount_point = row[3:]
        columns = transaction.one(
            "SELECT mtime, scanned, size, files FROM directory WHERE id=?", (root_id,)
        )
    assert columns is not None, "a share's root directory is deleted only together with the share"
    return Directory.stored(root_id, None, share.name, *columns), bool(was_mount_point)


def finish_share(writer: IndexWriter, share: ShareJob, tally: Tally, *, mount_point: bool) -> None:
    """Records the outcome of a complete scan."""
    with write_transaction(writer.connection) as transaction:
        transaction.execute(
            "UPDATE share SET mount_point=?, skipped=?, directories=?, scanned_at=? WHERE name=?",
            (mount_point, tally.skipped, tally.directories, time.time(), share.name),
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
    os.nice(NICENESS)
    gc.disable()  # rows make no cycles, and looking for some would take a tenth of the time
    line = sys.stdin.buffer.readline()
    if not line:  # hdpd ended before it could say what to do
        return 0
    job = job_from_line(line)
    threading.Thread(target=_end_with_parent, daemon=True).start()
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
