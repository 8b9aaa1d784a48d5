"""The journal's native protocol: records with fields of their own, over its datagram socket.

`journalctl -u hdpd PEER=PersianChinchilla` finds what concerns one peer. Described in
https://systemd.io/JOURNAL_NATIVE_PROTOCOL.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hdpd.log import priority, record_fields, record_lines

SOCKET_PATH: Final = Path("/run/systemd/journal/socket")
# A datagram is at most net.core.wmem_max, 208 KiB where nobody changed it; longer messages would
# have to go through a file, and nobody reads them.
MAX_VALUE_BYTES: Final = 32 * 1024
# The journal reads at once; while it is restarted, the event loop must not wait for it for long.
_SEND_TIMEOUT_S: Final = 0.1


def encode(fields: Iterable[tuple[str, str]]) -> bytes:
    """One record. A name may appear several times; values are cut at MAX_VALUE_BYTES."""
    parts = []
    for name, text in fields:
        value = text.encode("utf-8", "backslashreplace")[:MAX_VALUE_BYTES]
        if b"\n" in value:
            size = len(value).to_bytes(8, "little")
            parts.append(b"%s\n%s%s\n" % (name.encode(), size, value))
        else:
            parts.append(b"%s=%s\n" % (name.encode(), value))
    return b"".join(parts)


class JournalHandler(logging.Handler):
    """Sends records to the journal; to standard error what the journal does not take.

    Raises OSError when there is no journal.
    """

    def __init__(self, path: Path = SOCKET_PATH) -> None:
        super().__init__()
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(_SEND_TIMEOUT_S)
        try:
            # Not connected for good: a restarted journal has another socket at the same path.
            self._socket.sendto(b"", self._path)
        except OSError:
            self._socket.close()
            raise

    def emit(self, record: logging.LogRecord) -> None:
        """Sends the record; raises nothing."""
        try:
            lines = record_lines(record)
            data = encode(
                [
                    ("MESSAGE", "\n".join(lines)),
                    ("PRIORITY", str(priority(record))),
                    ("SYSLOG_IDENTIFIER", "hdpd"),
                    ("LOGGER", record.name),
                    ("CODE_FILE", record.pathname),
                    ("CODE_LINE", str(record.lineno)),
                    ("CODE_FUNC", record.funcName or ""),
                    *record_fields(record),
                ]
            )
        except Exception:  # noqa: BLE001 - a wrong format is told on standard error, as logging does
            self.handleError(record)
            return
        try:
            self._socket.sendto(data, self._path)
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write("\n".join(lines) + "\n")

    def close(self) -> None:
        """Releases the socket."""
        self._socket.close()
        super().close()
