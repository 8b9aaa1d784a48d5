"""SHA-256 of whole files, computed in the background: niced threads, slice by slice.

Files on one disk take turns, each for a slice, so that a short one never waits for a long one to
end, and the disk is read by one of them at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable
from weakref import WeakValueDictionary

from msgspec import Struct

from hdpd.errors import Cancelled, FileChanged, FileUnreadable
from hdpd.shares.opening import OpenedFile
from hdpd.threads.disk_threads import DiskThreads

SLICE_BYTES = 8 * 1024 * 1024
PIECE_BYTES = 1024 * 1024
SLICE_S = 60.0  # a disk that takes longer for a slice does not answer
NICENESS = 15  # of the threads; the event loop and the transfers go first


class Hashed(Struct, frozen=True):
    """The digest of a file, and what the file was."""

    digest: bytes
    size: int
    mtime_ns: int
    validator: bytes


class _File:
    """A file while its digest grows. All methods block and are for the threads."""

    def __init__(self, open_file: Callable[[], OpenedFile]) -> None:
        self._open_file = open_file
        self._file: OpenedFile | None = None
        self._hash = hashlib.sha256()
        self._closed = False
        self._lock = threading.Lock()  # `close` comes while a slice is read, when nobody waits
        self.done_bytes = 0

    def slice(self) -> Hashed | None:
        """Takes in the next slice; the result when it was the last one."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        with self._lock:
            if self._closed:
                raise Cancelled
            if self._file is None:
                self._file = self._open_file()
            try:
                return self._take_in(self._file)
            except OSError as error:
                raise FileUnreadable(f"the file cannot be read: {error.strerror}") from None

    def _take_in(self, file: OpenedFile) -> Hashed | None:
        end = min(file.size, self.done_bytes + SLICE_BYTES)
        while self.done_bytes < end:
            wanted = min(PIECE_BYTES, end - self.done_bytes)
            piece = os.pread(file.fd, wanted, self.done_bytes)
            if not piece:
                raise FileChanged("the file has become shorter")
            self._hash.update(piece)
            self.done_bytes += len(piece)
        if self.done_bytes < file.size:
            return None
        if file.validator_now() != file.validator:
            raise FileChanged("the file changed while it was read")
        return Hashed(self._hash.digest(), file.size, file.mtime_ns, file.validator)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()


class Hasher:
    """Made and used in one event loop. Of each disk one file is read at a time."""

    def __init__(self) -> None:
        self._threads = DiskThreads()
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def hash(
        self, disk: bytes, open_file: Callable[[], OpenedFile], progress: Callable[[int], None]
    ) -> Hashed:
        """The digest of what `open_file` opens in a thread; `progress` hears the bytes so far.

        Raises:
            FileChanged: it changed meanwhile.
            FileUnreadable: the disk refuses it, or does not answer.
            HdpdError: what `open_file` raises.
        """
        turns = self._turns.setdefault(disk, asyncio.Lock())
        file = _File(open_file)
        try:
            while True:
                # A lock of asyncio is handed on in the order of asking: each file has its turn.
                async with turns, asyncio.timeout(SLICE_S):
                    hashed = await self._threads.run(disk, file.slice)
                progress(file.done_bytes)
                if hashed is not None:
                    return hashed
        except TimeoutError:
            raise FileUnreadable("the disk does not answer") from None
        finally:
            self._threads.run(disk, file.close)

    def close(self) -> None:
        """Ends the threads after what they are at; what is asked for must have ended before."""
        self._threads.close()
