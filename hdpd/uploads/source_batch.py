"""Small files on their way out, many for one request: each is read whole and checked before it is
sent, and one that cannot be had never holds up the others.

The method blocks and is for the disk threads.
"""

from __future__ import annotations

import os

from hdpd.errors import FileChanged, FileUnreadable, HdpdError
from hdpd.uploads.source_file import OpenFile
from hdpd.wire.codec import frame
from hdpd.wire.messages import Batch, ReadStarted, error_answer
from hdpd.wire.paths import RemotePath

PIECE_BYTES = 128 * 1024
"""Read at once, and a file more: a dozen small files, so that changing threads costs little."""


class SourceBatch:
    """The files of one `batch` of a peer, as they are put on its stream."""

    def __init__(self, open_file: OpenFile, request: Batch) -> None:
        self._open_file = open_file
        self._files = request.files
        self._next = 0

    @property
    def is_finished(self) -> bool:
        """Whether the last file has been read."""
        return self._next == len(self._files)

    def next_piece(self) -> tuple[bytes, RemotePath, int]:
        """The frames and bytes of the next files; the path and the size of the last one."""
        parts: list[bytes] = []
        size = 0
        while True:
            path, wanted = self._files[self._next]
            self._next += 1
            try:
                started, data = self._read(path, wanted)
            except HdpdError as error:
                parts.append(frame(error_answer(error)))
            else:
                parts += (frame(started.to_wire()), data)
                size += len(data)
            if self.is_finished or size >= PIECE_BYTES:
                return b"".join(parts), path, wanted

    def _read(self, path: RemotePath, wanted: int) -> tuple[ReadStarted, bytes]:
        with self._open_file(path) as file:
            data = b""
            if file.size == wanted:
                try:
                    # One byte more than there should be shows that it has grown.
                    data = os.pread(file.fd, wanted + 1, 0)
                except OSError as error:
                    raise FileUnreadable(f"{path} cannot be read: {error.strerror}") from None
                if len(data) != wanted or file.validator_now() != file.validator:
                    raise FileChanged(f"{path} changed while it was read")
            return ReadStarted(len(data), file.size, file.mtime_ns, file.validator), data
