"""Hears routers that tell all the LAN that they have restarted and forgotten what was mapped
(RFC 6886, section 3.2.1; RFC 6887, section 14.1.2). Nobody has to believe them: it makes us look.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

PORT: Final = 5350  # of clients; the group is that of all machines on the link, 224.0.0.1
MAX_BYTES: Final = 1100
MAX_AT_ONCE: Final = 16
GAP_S: Final = 2.0  # an announcement is repeated ten times


class Announcements:
    """`on_router` gets the address of whoever announced something, at most once in two seconds."""

    def __init__(self, on_router: Callable[[str], None]) -> None:
        self._on_router = on_router
        self._socket: socket.socket | None = None
        self._heard = float("-inf")
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Listens, unless somebody has the port for himself."""
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(("", PORT))
        except OSError as error:
            log.debug("routers' announcements are not heard: %s", error)
            opened.close()
            return
        opened.setblocking(False)
        self._socket = opened
        self._loop.add_reader(opened.fileno(), self._readable)

    def close(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _readable(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(OSError):
            for _ in range(MAX_AT_ONCE):
                _, address = self._socket.recvfrom(MAX_BYTES)
                if self._loop.time() - self._heard > GAP_S:
                    self._heard = self._loop.time()
                    self._on_router(address[0])
