"""The last lines of the log, in memory, for people who look at hdpd from another computer."""

from __future__ import annotations

import logging
import threading
from collections import deque

from hdpd.control.services import Json

MAX_LINES = 500
MAX_LINE_CHARS = 1000  # at most 500 kB together, usually a tenth
_FORMATTER = logging.Formatter()


class LogRing(logging.Handler):
    """Keeps what is logged while it is attached to the root logger. Any thread may log."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[tuple[int, Json]] = deque(maxlen=MAX_LINES)
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
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        # What others chose may hold surrogates, which JSON can't.
        text = text[:MAX_LINE_CHARS].encode(errors="backslashreplace").decode()
        with self._own_lock:
            self._seq += 1
            line: Json = {
                "seq": self._seq,
                "time": record.created,
                "level": level,
                "text": text,
            }
            self._lines.append((self._seq, line))

    def since(self, seq: int) -> Json:
        """`{seq, lines}`: those after the number `seq` that are still held, and the last number. A
        number from the future is from an earlier run of hdpd.
        """
        with self._own_lock:
            if seq > self._seq:
                seq = 0
            lines = [line for number, line in self._lines if number > seq]
            return {"seq": self._seq, "lines": lines}
