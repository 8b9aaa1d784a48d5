"""A range of a shared file on its way out: opened, read piece by piece, and checked at the end.

All methods block and are for the disk threads. A range that fits into one piece is opened, read,
checked and closed in a single call, because for small files every change of threads counts.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from hdpd.errors import Cancelled, FileChanged, FileUnreadable
from hdpd.shares.opening import OpenedFile
from hdpd.wire.messages import Read, ReadStarted
from hdpd.wire.paths import RemotePath

PIECE_BYTES = 512 * 1024
"""Read at once: large enough that changing threads costs nothing next to it, small enough that two
of them and what the stream holds unsent are little memory for each read."""

OpenFile = Callable[[RemotePath], OpenedFile]


class SourceFile:
    """One `read` of a peer. `close` may come from anywhere, at any time, and is waited for."""

    __slots__ = ("_closed", "_end", "_file", "_lock", "_open_file", "_position", "_request")

    def __init__(self, open_file: OpenFile, request: Read) -> None:
        self._open_file = open_file
        self._request = request
        self._file: OpenedFile | None = None
        self._position = request.offset
        self._end = request.offset
        self._closed = False
        self._lock = threading.Lock()

    @property
    def is_finished(self) -> bool:
        """Whether the last piece has been read and was checked."""
        return self._closed

    def start(self) -> tuple[ReadStarted, bytes]:
        """Opens the file and reads the first piece.

        Raises:
            FileChanged: it is not the file that the asker wants, or changed in this moment.
            PathNotFound, NotAFile, ShareAway: as they say.
            FileUnreadable: the disk refuses to hand it out.
        """
        request = self._request
        with self._lock:
            if self._closed:
                raise Cancelled
            self._file = file = self._open_file(request.path)
            try:
                if request.if_match is not None and request.if_match != file.validator:
                    raise FileChanged(f"{request.path} has changed")
                length = min(request.length, max(0, file.size - request.offset))
                self._end = request.offset + length
                if length > PIECE_BYTES:
                    # The disk reads ahead of us, beyond what the kernel would do by itself.
                    os.posix_fadvise(file.fd, request.offset, length, os.POSIX_FADV_WILLNEED)
                started = ReadStarted(length, file.size, file.mtime_ns, file.validator)
                return started, self._read_piece(file)
            except BaseException:
                self._close(file)
                raise

    def next_piece(self) -> bytes:
        """The bytes after those read before; raises FileChanged and FileUnreadable."""
        with self._lock:
            if self._closed or self._file is None:
                raise Cancelled
            try:
                return self._read_piece(self._file)
            except BaseException:
                self._close(self._file)
                raise

    def close(self) -> None:
        """Gives up the file, whatever it is at."""
        with self._lock:
            if self._file is not None:
                self._close(self._file)
            self._closed = True

    def _close(self, file: OpenedFile) -> None:
        file.close()
        self._closed = True

    def _read_piece(self, file: OpenedFile) -> bytes:
        wanted = min(PIECE_BYTES, self._end - self._position)
        try:
            piece = os.pread(file.fd, wanted, self._position)
            while len(piece) < wanted:
                more = os.pread(file.fd, wanted - len(piece), self._position + len(piece))
                if not more:
                    raise FileChanged(f"{self._request.path} has become shorter")
                piece += more
            self._position += wanted
            if self._position == self._end:
                if file.validator_now() != file.validator:
                    raise FileChanged(f"{self._request.path} changed while it was read")
                self._close(file)
        except OSError as error:
            raise FileUnreadable(f"{self._request.path} cannot be read: {error.strerror}") from None
        return piece
