"""Logging: readable lines on standard error, or records with fields in systemd's journal.

Whatever a message holds (names from peers reach the log) it stays one record: control characters
are made visible, and each line of a traceback carries the record's priority or indentation.

A record says what it is about by `extra=fields(peer=…, download=…)`, and where an owner has to act
by a message id, which systemd/hdpd.catalog explains.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TextIO

# sd-daemon(3); there is no level of ours below debug or between.
_PRIORITIES: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
_DEBUG_PRIORITY: Final = 7

# The attribute of a record that holds its fields.
_FIELDS: Final = "hdpd_fields"


class MessageId(StrEnum):
    """What an owner has to act on, as systemd/hdpd.catalog explains it."""

    CONFIGURATION_REFUSED = "ae9de4aa3c7644149fa5bb59727619f1"
    RESTART_NEEDED = "101f116bb4b14f9eb01703bef64261bf"
    SHARE_AWAY = "d4fbb2e384f6436bb61ce5224ad8a7ae"
    INDEX_DAMAGED = "2139ff66812743748134b2cf269ee4b6"
    STATE_DAMAGED = "aad528252d3c4d17bf490c1c5c52937b"
    DISK_FULL = "8aa29dbb9d4143e8bb593b2552c738ad"


# C0 and C1 controls, line separators, bidirectional controls and lone surrogates: what could forge
# lines, move the cursor, hide text or fail to encode.
_INVISIBLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

_TRACEBACKS: Final = logging.Formatter()

# Libraries that tell their own affairs at levels meant for a program's.
_QUIET_LIBRARIES: Final = ("asyncio", "aioquic", "quic", "qh3", "uvicorn", "websockets", "zeroconf")


def visible(text: str) -> str:
    """The text with control, bidirectional and undecodable characters written as escapes."""
    return _INVISIBLE.sub(lambda match: ascii(match[0])[1:-1], text)


def fields(
    *,
    message_id: MessageId | None = None,
    peer: str | tuple[str, ...] = (),
    topic: str = "",
    download: str = "",
    path: str = "",
    error_code: str = "",
) -> dict[str, object]:
    """The `extra` of a record: what it is about. `peer` may be several: the name and the id.

    A topic is a secret, so the journal gets it at the level debug only.
    """
    found = [("PEER", each) for each in ([peer] if isinstance(peer, str) else peer)]
    found += [
        ("MESSAGE_ID", message_id or ""),
        ("TOPIC", topic),
        ("DOWNLOAD", download),
        ("PATH", path),
        ("ERROR_CODE", error_code),
    ]
    return {_FIELDS: [(name, value) for name, value in found if value]}


def record_fields(record: logging.LogRecord) -> list[tuple[str, str]]:
    """What `fields` said about a record, as far as its level may tell it."""
    found: list[tuple[str, str]] = getattr(record, _FIELDS, [])
    return [
        (name, visible(value))
        for name, value in found
        if name != "TOPIC" or record.levelno <= logging.DEBUG
    ]


def priority(record: logging.LogRecord) -> int:
    """The syslog priority of a record."""
    return next(
        (number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG_PRIORITY
    )


def record_lines(record: logging.LogRecord) -> list[str]:
    """The message, its own line breaks made visible, and the lines of a traceback or a stack."""
    lines = [visible(record.getMessage())]
    if record.exc_info:
        lines += map(visible, _TRACEBACKS.formatException(record.exc_info).splitlines())
    if record.stack_info:
        lines += map(visible, record.stack_info.splitlines())
    return lines


def under_systemd(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Whether the stream goes to the journal: `JOURNAL_STREAM` names its device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def configure(level: str, handler: logging.Handler) -> None:
    """Sends everything from `level` (debug, info, warning, error) on to the handler alone."""
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level)


def set_level(level: str) -> None:
    """Logs everything from `level` on, from now on."""
    logging.getLogger().setLevel(level.upper())
    library_level = logging.DEBUG if level == "debug" else logging.WARNING
    for library in _QUIET_LIBRARIES:
        logging.getLogger(library).setLevel(library_level)


def stream_handler(*, systemd: bool, stream: TextIO | None = None) -> logging.Handler:
    """Writes to standard error; with `systemd`, lines carry a priority and no time."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(PriorityFormatter() if systemd else TerminalFormatter())
    return handler


class PriorityFormatter(logging.Formatter):
    """Lines with an sd-daemon(3) priority, for a service manager that adds the time itself."""

    def format(self, record: logging.LogRecord) -> str:
        """The record; every line has a priority, as lines are taken one by one."""
        prefix = f"<{priority(record)}>"
        first, *more = record_lines(record)
        return "\n".join(
            [f"{prefix}{record.name}: {first}", *(f"{prefix}  {line}" for line in more)]
        )


class TerminalFormatter(logging.Formatter):
    """Lines for people: local time, level, where from, and what."""

    def __init__(self) -> None:
        super().__init__(datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The record; the lines of a traceback are indented."""
        time = self.formatTime(record, self.datefmt)
        first, *more = record_lines(record)
        return "\n".join(
            [
                f"{time} {record.levelname:7} {record.name}: {first}",
                *(f"    {line}" for line in more),
            ]
        )
