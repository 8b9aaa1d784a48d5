"""Searches at all connected peers at once; hits are handed on as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial

from hdpd.control import results as r
from hdpd.control.encoding import Text, show
from hdpd.control.entries import SELF, connected_session, hit
from hdpd.control.parameters import FilesSearch
from hdpd.control.services import Services
from hdpd.errors import Busy, HdpdError
from hdpd.link.session import Session
from hdpd.remote.searches import PEER_S, search_peer
from hdpd.wire.messages import Entry

log = logging.getLogger(__name__)

MAX_SEARCHES = 8  # at once, of all clients; each asks every peer
_HITS_AT_ONCE = 200  # in one notification


class _Findings:
    """The hits so far, at most `limit`, and what can be said about those that are missing."""

    def __init__(self, limit: int) -> None:
        self.unanswered: list[str] = []
        self.truncated = False
        self._room = limit
        self._waiting: list[r.Hit] = []
        self._news = asyncio.Event()
        self._over = False

    def add(self, peer: str, name: str, entries: Sequence[Entry]) -> bool:
        """Takes hits; False when there is no room for more."""
        if len(entries) > self._room:
            self.truncated = True
        for entry in entries[: self._room]:
            self._waiting.append(hit(peer, name, entry))
        self._room -= min(len(entries), self._room)
        self._news.set()
        return self._room > 0

    def finish(self) -> None:
        self._over = True
        self._news.set()

    async def portions(self) -> AsyncGenerator[list[r.Hit], None]:
        """The hits, as they come, in portions."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                portion = self._waiting[:_HITS_AT_ONCE]
                del self._waiting[:_HITS_AT_ONCE]
                yield portion
            if self._over:
                return


class Searches:
    """Runs searches, a bounded number at once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._running = 0

    def targets(self, params: FilesSearch) -> list[Session | None]:
        """Who is to be asked; None is this hdpd.

        Raises:
            PeerNotFound, PeerAmbiguous, PeerNotConnected
            Busy: too many searches are running.
        """
        if self._running >= MAX_SEARCHES:
            raise Busy("too many searches are running; try again in a few seconds")
        if params.peer == SELF:
            return [None]
        if params.peer is not None:
            return [connected_session(self._services.peers, params.peer)]
        return list(self._services.peers.connected())

    async def collect(self, params: FilesSearch) -> r.Hits:
        """All hits in one answer. Raises as `targets`."""
        findings = _Findings(params.limit)
        hits: list[r.Hit] = []
        async with aclosing(self._run(params, self.targets(params), findings)) as portions:
            async for portion in portions:
                hits += portion
        unanswered = show(list[Text], findings.unanswered)
        return r.Hits(hits=hits, unanswered=unanswered, truncated=findings.truncated)

    async def stream(
        self,
        params: FilesSearch,
        targets: list[Session | None],
        search: str,
        notify: Callable[[r.SearchHits], Awaitable[None]],
    ) -> None:
        """Notifies of hits as they come, and at last of the outcome."""
        findings = _Findings(params.limit)
        async with aclosing(self._run(params, targets, findings)) as portions:
            async for portion in portions:
                await notify(r.SearchHits(search=search, hits=portion))
        unanswered = show(list[Text], findings.unanswered)
        end = r.SearchHits(
            search=search,
            hits=[],
            done=True,
            unanswered=unanswered,
            truncated=findings.truncated,
        )
        await notify(end)

    async def _run(
        self, params: FilesSearch, targets: list[Session | None], findings: _Findings
    ) -> AsyncGenerator[list[r.Hit], None]:
        """Portions of hits as they come."""

        async def ask_all() -> None:
            async with asyncio.TaskGroup() as group:
                for target in targets:
                    group.create_task(self._ask(target, params, findings))
            findings.finish()

        self._running += 1
        asking = asyncio.create_task(ask_all())
        try:
            async with aclosing(findings.portions()) as portions:
                async for portion in portions:
                    yield portion
        finally:
            self._running -= 1
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask(self, session: Session | None, params: FilesSearch, findings: _Findings) -> None:
        """Asks one; whatever goes wrong there is only that one's hits missing."""
        peer = SELF if session is None else session.peer_id.text
        try:
            async with asyncio.timeout(PEER_S):
                if session is None:
                    entries, truncated = await self._services.shares.search(
                        params.query, params.limit
                    )
                    findings.add(SELF, SELF, entries)
                else:
                    add = partial(findings.add, peer, session.name)
                    truncated = await search_peer(session, params.query, params.limit, add)
            findings.truncated |= truncated
        except (HdpdError, TimeoutError) as error:
            log.debug("%s did not answer a search: %s", peer, error)
            findings.unanswered.append(peer)
        except Exception:
            log.exception("a search at %s failed", peer)
            findings.unanswered.append(peer)
