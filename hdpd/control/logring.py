"""The last lines of the log, in memory, for people who look at hdpd from another computer."""

from __future__ import annotations

import logging
import threading
from collections import deque

from hdpd.control.results import LogLevel, LogLine, LogLines

MAX_LINES = 500
MAX_LINE_CHARS = 1000  # at most 500 kB together, usually a tenth
_LEVELS: tuple[tuple[int, LogLevel], ...] = (
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
    (logging.NOTSET, "debug"),
)
_FORMATTER = logging.Formatter()


class LogRing(logging.Handler):
    """Keeps what is logged while it is attached to the root logger. Any thread may log."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[LogLine] = deque(maxlen=MAX_LINES)
        self._seq = 0
        self._own_lock = threading.Lock()

    def attach(self) -> None:
        logging.getLogger().addHandler(self)

    def detach(self) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            if record.exc_info:
                text += "\n" + _FORMATTER.formatException(record.exc_info)
        except Exception:  # noqa: BLE001 - a wrong format is told on standard error, as logging does
            self.handleError(record)
            return
        level = next(word for least, word in _LEVELS if record.levelno >= least)
        # What others chose may hold surrogates, which JSON can't.
        text = text[:MAX_LINE_CHARS].encode(errors="backslashreplace").decode()
        with self._own_lock:
            self._seq += 1
            line = LogLine(seq=self._seq, time=record.created, level=level, text=text)
            self._lines.append(line)

    def since(self, seq: int) -> LogLines:
        """Those after the number `seq` that are still held. A number from the future is from an
        earlier run of hdpd.
        """
        with self._own_lock:
            if seq > self._seq:
                seq = 0
            return LogLines(seq=self._seq, lines=[line for line in self._lines if line.seq > seq])
