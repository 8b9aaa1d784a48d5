"""What hdpd and its scanner process tell each other, as JSON lines: one job down, reports up."""

from __future__ import annotations

from typing import Literal

import msgspec


class ShareJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The share to scan; `path` is the reversible text of its directory."""

    name: str
    path: str
    hidden: bool
    ignore: list[str] = []


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a scanner process has to do before it ends."""

    database: str  # path of index.db, in reversible text
    forget: list[int] = []
    share: ShareJob | None = None


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far it is. `scanned` comes once, when the pass is complete; the last report is `done`,
    `away` or `failed`, the latter two with a `message`.
    """

    phase: Literal["scanning", "scanned", "indexing", "done", "away", "failed"]
    root: int = 0
    directories: int = 0
    files: int = 0
    bytes: int = 0
    skipped: int = 0
    reasons: list[str] = []
    message: str = ""


def to_line(message: Job | Report) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def job_from_line(line: bytes) -> Job:
    return msgspec.json.decode(line, type=Job)


def report_from_line(line: bytes) -> Report:
    return msgspec.json.decode(line, type=Report)
