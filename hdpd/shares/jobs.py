"""What hdpd and its scanner process tell each other, as JSON lines: one job down, reports up."""

from __future__ import annotations

from typing import Literal

import msgspec

Reach = Literal["all", "changed", "named"]
"""Which directories a scan reads: every one; those whose mtime, inode or ignore file changed; or
certain ones. What is new is read in any case.
"""


class ShareJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The share to scan; `path` is the reversible text of its directory."""

    name: str
    path: str
    hidden: bool
    ignore: list[str] = []
    reach: Reach = "all"
    named: list[int] = []  # the directories for that reach
    inotify: int = -1  # a file descriptor of the process: the directories that it sees are watched
    watches: int = 0  # at most so many


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a scanner process has to do before it ends."""

    database: str  # path of index.db, in reversible text
    forget: list[int] = []
    share: ShareJob | None = None


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far it is. `watching` tells new watches only. `scanned` comes once, when the pass is
    complete; the last report is `done`, `away` or `failed`, the latter two with a `message`.
    """

    phase: Literal["scanning", "watching", "scanned", "indexing", "done", "away", "failed"]
    root: int = 0
    directories: int = 0
    files: int = 0
    bytes: int = 0
    skipped: int = 0
    reasons: list[str] = []
    mount_point: bool = False
    file_system: int = 0
    watches: list[tuple[int, int]] = []  # watch descriptor, directory.id
    unwatched: int = 0  # directories that this job saw and could not watch
    message: str = ""


def to_line(message: Job | Report) -> bytes:
    """A message as one line of JSON."""
    return msgspec.json.encode(message) + b"\n"


def job_from_line(line: bytes) -> Job:
    """What hdpd wants of the scanner; raises msgspec.DecodeError."""
    return msgspec.json.decode(line, type=Job)


def report_from_line(line: bytes) -> Report:
    """What the scanner tells; raises msgspec.DecodeError."""
    return msgspec.json.decode(line, type=Report)
