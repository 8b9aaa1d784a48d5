"""The places for TCP connections to the control port, which count from `accept`. Pure but for the
sockets at the end.

Whoever has shown a token keeps its place. All others compete: of one address's the oldest goes when
there are more than its share, and of the address with the most when all places are taken. So those
who hold connections for nothing push each other out, before TLS too, and never the owner.
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final

from hdpd.identity.addresses import source_of

MAX_PLACES: Final = 256  # about 20 KiB each while idle; a Unix socket is not limited by others
SHARE: Final = 64  # of an address; a browser has six connections

Client = tuple[str, int]
"""The other end of a connection, as the kernel tells it."""

PLACE: Final = "hdpd.place"
"""The key of a scope that holds the place of its connection."""


class Place:
    """One connection; `is_known` once it has shown a token. `end` closes it."""

    def __init__(self, client: Client, end: Callable[[], None]) -> None:
        self.client = client
        self.source = source_of(client[0])
        self.is_known = False
        self.end = end


class Places:
    """Who has a place, the oldest first. `ended` counts those that had to go for another."""

    def __init__(self, most: int = MAX_PLACES, share: int = SHARE) -> None:
        self.ended = 0
        self._most = most
        self._share = share
        self._taken: dict[Client, Place] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def of(self, client: Client | None) -> Place | None:
        """The place of the connection from there."""
        return None if client is None else self._taken.get(client)

    def take(self, place: Place) -> None:
        """One more connection, for which another one, or it itself, may have to end."""
        self._taken[place.client] = place
        strangers = [each for each in self._taken.values() if not each.is_known]
        counts = Counter(each.source for each in strangers)
        if counts[place.source] > self._share:
            self._end(next(each for each in strangers if each.source == place.source))
        elif len(self._taken) > self._most:
            largest, _ = counts.most_common(1)[0]
            self._end(next(each for each in strangers if each.source == largest))

    def free(self, place: Place) -> None:
        """The connection is closed."""
        if self._taken.get(place.client) is place:
            del self._taken[place.client]

    def _end(self, place: Place) -> None:
        del self._taken[place.client]
        self.ended += 1
        place.end()


class CountedListener(socket.socket):
    """A listening socket whose connections have places."""

    places: Places

    def accept(self) -> tuple[socket.socket, tuple[str | int, ...]]:
        """As of a socket; the connection may be shut down already."""
        plain, address = super().accept()
        accepted = _Counted(fileno=plain.detach())
        accepted.take(self.places, (address[0], address[1]))
        return accepted, address


class _Counted(socket.socket):
    """A connection that gives its place back when it is closed."""

    _place: Place | None = None
    _places: Places | None = None

    def take(self, places: Places, client: Client) -> None:
        self._places, self._place = places, Place(client, self._shut_down)
        places.take(self._place)

    def _shut_down(self) -> None:
        # Whoever reads it sees its end, and closes it: a handshake, or a request.
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """As of a socket."""
        if self._places is not None and self._place is not None:
            self._places.free(self._place)
        super().close()
