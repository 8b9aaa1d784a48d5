"""Peers' directories as clients list them: what has not changed is not sent again.

A page is kept with its validator and never shown before the peer has said, on a session with a
common topic, that it is still current: that costs one round trip and hardly any bytes. So nothing
is shown of a peer that is away, and pages may outlive a session. Peers tell when a listing has
changed; clients hear that as `listing.changed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from msgspec import Struct
from msgspec.structs import replace

from hdpd.errors import TimedOut
from hdpd.identity.keys import PeerId
from hdpd.remote.pagecache import CachedPage, PageCache
from hdpd.remote.pages import ListingSession, ask_for_page
from hdpd.shares.answers import Sink
from hdpd.wire.messages import Changed, Entry, Ls, Request
from hdpd.wire.paths import RemotePath

LIST_S = 30.0  # for a whole page; a slow link gets along with smaller pages

# Of one peer, at most 1 MB with paths of full length. When clients have listed more of its
# directories since the last change, they are told that any may have changed.
MAX_SHOWN = 256


class ListingChanged(Struct, frozen=True):
    """What was listed of a directory, at a peer or here (`self`), may be another thing now; without
    a path it may be any of them.
    """

    peer: PeerId | Literal["self"]
    path: RemotePath | None


Emit = Callable[[ListingChanged], None]


class Session(ListingSession, Protocol):
    """The link to one connected peer."""

    @property
    def peer_id(self) -> PeerId: ...
    @property
    def name(self) -> str: ...


class Listings:
    """Asks peers for listings, and hears from them."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._pages = PageCache()
        # What clients may show of each connected peer. A peer can't make clients hear more than
        # they have asked for: each listing is good for one event.
        self._shown: dict[PeerId, set[RemotePath] | None] = {}  # None: more than are counted

    async def page(self, session: Session, request: Ls) -> tuple[Sequence[Entry], bytes | None]:
        """The page of a peer's directory, and the cursor of the next one. Raises what the peer
        answered, and TimedOut.
        """
        try:
            async with asyncio.timeout(LIST_S):
                if request.recursive:
                    return (await ask_for_page(session, request, LIST_S))[:2]
                return await self._current(session, request)
        except TimeoutError:
            raise TimedOut(f"{session.name} did not send the listing in time") from None

    async def _current(self, session: Session, request: Ls) -> tuple[Sequence[Entry], bytes | None]:
        peer = session.peer_id
        self._show(peer, request.path)  # before the answer, which a change may overtake
        known = self._pages.get(peer, request)
        asked = replace(request, if_none_match=known.validator if known else b"")
        page = await ask_for_page(session, asked, LIST_S)
        if page.not_modified:
            assert known is not None, "this is no answer to who has nothing"
            return known.entries, known.cursor
        kept = CachedPage(page.entries, page.cursor, page.validator) if page.validator else None
        self._pages.put(peer, request, kept)
        return page.entries, page.cursor

    def _show(self, peer: PeerId, path: RemotePath) -> None:
        shown = self._shown.setdefault(peer, set())
        if shown is not None:
            shown.add(path)
            if len(shown) > MAX_SHOWN:
                self._shown[peer] = None

    # What peers tell

    async def answer_changed(self, session: Session, request: Request, stream: Sink) -> None:
        """A peer's listings are not current any more."""
        assert isinstance(request, Changed)
        peer = session.peer_id
        for path in [None] if request.paths is None else request.paths:
            if self._tell(peer, path):
                self._pages.forget(peer, path)
        await stream.send_message({"ok": True}, end=True)

    def peer_connected(self, peer: PeerId) -> None:
        """What was told before may have been lost with an earlier session."""
        self._tell(peer, None)

    def peer_disconnected(self, peer: PeerId) -> None:
        """It tells nothing any more; clients hear of that by its own event."""
        self._shown.pop(peer, None)

    def _tell(self, peer: PeerId, path: RemotePath | None) -> bool:
        """Tells the clients, if it is of interest to any."""
        shown = self._shown.get(peer, set())
        if path is None or shown is None:
            path = None
            if shown is not None and not shown:
                return False
            del self._shown[peer]
        elif path in shown:
            shown.discard(path)
        else:
            return False
        self._emit(ListingChanged(peer, path))
        return True
