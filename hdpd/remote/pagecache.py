"""Pages of peers' listings, the least recently used given up first. Pure.

A page is only of use together with its peer, who says by its validator whether it is still current.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct

from hdpd.identity.keys import PeerId
from hdpd.recent import Recent
from hdpd.wire.messages import Entry, Ls
from hdpd.wire.paths import RemotePath

MAX_PAGES = 256
MAX_BYTES = 8 * 1024 * 1024  # of all pages: 30,000 entries; a larger page is not kept
PAGE_BYTES = 1000  # what a page costs besides its entries and paths
ENTRY_BYTES = 220  # what an entry costs besides its path


class CachedPage(Struct, frozen=True):
    """A page as it was received."""

    entries: list[Entry]
    cursor: bytes | None
    validator: bytes

    @property
    def cost(self) -> int:
        """About how many bytes of memory it takes."""
        paths = sum(len(entry.path.raw) for entry in self.entries)
        return PAGE_BYTES + ENTRY_BYTES * len(self.entries) + paths + len(self.cursor or b"")


class _Key(NamedTuple):
    """What was asked, and whom: a validator is good for the same question only."""

    peer: PeerId
    path: RemotePath
    sort: str
    limit: int
    cursor: bytes | None


class PageCache:
    """The pages, by what was asked."""

    def __init__(self, max_pages: int = MAX_PAGES, max_bytes: int = MAX_BYTES) -> None:
        self._pages = Recent[_Key, CachedPage](max_pages)  # the least recently used first
        self._bytes = 0
        self._max_bytes = max_bytes

    def get(self, peer: PeerId, request: Ls) -> CachedPage | None:
        """The answer that the peer gave once."""
        key = _key(peer, request)
        page = self._pages.get(key)
        if page is not None:
            self._pages.put(key, page)
        return page

    def put(self, peer: PeerId, request: Ls, page: CachedPage | None) -> None:
        """Keeps the peer's answer in place of an earlier one; None is one that can't be kept."""
        self._drop(_key(peer, request))
        if page is None or page.cost > self._max_bytes:
            return
        gone = self._pages.put(_key(peer, request), page)
        self._bytes += page.cost - (gone[1].cost if gone else 0)
        while self._bytes > self._max_bytes:
            _, oldest = self._pages.pop_oldest()
            self._bytes -= oldest.cost

    def forget(self, peer: PeerId, path: RemotePath | None) -> None:
        """Gives up what it holds of a directory, or of all of the peer's."""
        for key in list(self._of(peer, path)):
            self._drop(key)

    def _of(self, peer: PeerId, path: RemotePath | None) -> Iterator[_Key]:
        return (k for k in self._pages if k.peer == peer and (path is None or k.path == path))

    def _drop(self, key: _Key) -> None:
        if (page := self._pages.pop(key)) is not None:
            self._bytes -= page.cost


def _key(peer: PeerId, request: Ls) -> _Key:
    return _Key(peer, request.path, request.sort, request.limit, request.cursor)
