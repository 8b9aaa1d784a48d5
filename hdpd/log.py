"""Logging to standard error: for people on a terminal, for the journal under systemd.

Whatever a message holds (names from peers reach the log) it stays one record: control characters
are made visible, and each line of a traceback carries the record's priority or indentation.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import Final, TextIO

# sd-daemon(3); there is no level of ours below debug or between.
_PRIORITIES: Final = (
    (logging.CRITICAL, "<2>"),
    (logging.ERROR, "<3>"),
    (logging.WARNING, "<4>"),
    (logging.INFO, "<6>"),
)
_DEBUG_PRIORITY: Final = "<7>"

# C0 and C1 controls, line separators, bidirectional controls and lone surrogates: what could forge
# lines, move the cursor, hide text or fail to encode.
_INVISIBLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

# Libraries that tell their own affairs at levels meant for a program's.
_QUIET_LIBRARIES: Final = ("asyncio", "aioquic", "quic", "qh3", "uvicorn", "websockets", "zeroconf")


def visible(text: str) -> str:
    """The text with control, bidirectional and undecodable characters written as escapes."""
    return _INVISIBLE.sub(lambda match: ascii(match[0])[1:-1], text)


def under_systemd(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Whether the stream goes to the journal: `JOURNAL_STREAM` names its device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def configure(level: str, *, systemd: bool, stream: TextIO | None = None) -> None:
    """Sends everything from `level` (debug, info, warning, error) on to standard error.

    May be called again to change the level. With `systemd`, lines carry a priority and no time.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JournalFormatter() if systemd else TerminalFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    library_level = logging.DEBUG if level == "debug" else logging.WARNING
    for library in _QUIET_LIBRARIES:
        logging.getLogger(library).setLevel(library_level)


class _RecordFormatter(logging.Formatter):
    """Text of a record: the message with nothing invisible in it, then the traceback."""

    def lines(self, record: logging.LogRecord) -> list[str]:
        """The message, its own line breaks made visible, and the lines of a traceback."""
        lines = [f"{record.name}: {visible(record.getMessage())}"]
        if record.exc_info:
            lines += map(visible, self.formatException(record.exc_info).splitlines())
        return lines


class JournalFormatter(_RecordFormatter):
    """Lines for the journal, each with its sd-daemon priority; the journal knows the time."""

    def format(self, record: logging.LogRecord) -> str:
        """The record; every line has a priority, as the journal takes lines one by one."""
        priority = next(
            (prefix for level, prefix in _PRIORITIES if record.levelno >= level), _DEBUG_PRIORITY
        )
        first, *more = self.lines(record)
        return "\n".join([priority + first, *(f"{priority}  {line}" for line in more)])


class TerminalFormatter(_RecordFormatter):
    """Lines for people: local time, level, where from, and what."""

    def __init__(self) -> None:
        super().__init__(datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The record; the lines of a traceback are indented."""
        time = self.formatTime(record, self.datefmt)
        first, *more = self.lines(record)
        return "\n".join(
            [f"{time} {record.levelname:7} {first}", *(f"    {line}" for line in more)]
        )
