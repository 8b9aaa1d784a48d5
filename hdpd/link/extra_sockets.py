"""UDP sockets beside the main ones: a birthday run opens hundreds, and one may become a path."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
from collections.abc import Callable

from hdpd.link.sockets import UdpSocket

log = logging.getLogger(__name__)

MAX_SOCKETS = 600  # two birthday runs, and what came of earlier ones; each is one open file
# Sessions of users start programs with 1024, of which shared files shall not be short meanwhile.
WANTED_FILES = 4096


class ExtraSockets:
    """Owns them from `open` until nobody uses them: `is_path` says whether a connection does."""

    def __init__(
        self, readable: Callable[[UdpSocket], None], is_path: Callable[[UdpSocket], bool]
    ) -> None:
        self._readable = readable
        self._is_path = is_path
        self._held: set[UdpSocket] = set()
        self._released: set[UdpSocket] = set()
        self._loop = asyncio.get_running_loop()
        _raise_file_limit()

    def __contains__(self, opened: UdpSocket) -> bool:
        return opened in self._held or opened in self._released

    def open(self, host: str | None, interface: str | None = None) -> UdpSocket | None:
        """A socket on a port that the system chooses, or None when there are too many files."""
        if len(self._held) + len(self._released) >= MAX_SOCKETS:
            return None
        try:
            opened = UdpSocket(host, 0, interface)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS):
                log.debug("opening a socket: %s", error)
            return None
        self._held.add(opened)
        self._loop.add_reader(opened.fileno(), self._readable, opened)
        return opened

    def release(self, opened: UdpSocket) -> None:
        """Closes it, or leaves it to the connection whose path it is."""
        if opened in self._held:
            self._held.discard(opened)
            self._released.add(opened)
            self.sweep()

    def sweep(self) -> None:
        """Closes what was released and is no connection's path any more."""
        for opened in [each for each in self._released if not self._is_path(each)]:
            self._released.discard(opened)
            self._close(opened)

    def close(self) -> None:
        for opened in self._held | self._released:
            self._close(opened)
        self._held.clear()
        self._released.clear()

    def _close(self, opened: UdpSocket) -> None:
        self._loop.remove_reader(opened.fileno())
        self._loop.remove_writer(opened.fileno())
        opened.close()


def _raise_file_limit() -> None:
    """Lets this process open more files, as far as the hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < WANTED_FILES:
        allowed = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
