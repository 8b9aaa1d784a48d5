"""Answers `digest`: what a shared file's content is, in 32 bytes, for a peer that has a copy of it.

Reading a whole file is much work for a short request, so it is done behind everything else, one
file of each peer at a time: whoever asks for more only waits longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from hdpd.errors import Busy, FileChanged
from hdpd.identity.keys import PeerId
from hdpd.shares.answers import Sink
from hdpd.shares.hashing import Hashed, Hasher
from hdpd.shares.opening import OpenedFile
from hdpd.uploads.source_file import OpenFile
from hdpd.wire.messages import Digest, Digested

KEEP_ALIVE_S = 10.0
"""Between frames that tell how far it is; the asker gives up after six times that."""

MAX_OF_PEER = 16  # requests of one peer that wait or are answered; each a task, about 5 kB
MAX_OF_ALL = 256


class DigestSession(Protocol):
    """What is needed of a session."""

    @property
    def peer_id(self) -> PeerId: ...


class Digests:
    """All digests that peers ask for; made and used in one event loop."""

    def __init__(self, open_file: OpenFile) -> None:
        self._open_file = open_file
        self._hasher = Hasher()
        self._turns: dict[PeerId, asyncio.Lock] = {}
        self._asked: dict[PeerId, int] = {}

    async def answer_digest(self, session: DigestSession, request: Digest, stream: Sink) -> None:
        """Computes and sends the digest; the end of the task gives it up.

        Raises:
            Busy: too many wait already.
            FileChanged: it is not the file of `if_match`, or changed meanwhile.
            HdpdError: why the file cannot be read.
        """
        peer = session.peer_id
        of_peer = self._asked.get(peer, 0)
        if of_peer >= MAX_OF_PEER or sum(self._asked.values()) >= MAX_OF_ALL:
            raise Busy("too many digests are asked for already; try again later")
        self._asked[peer] = of_peer + 1
        done_bytes = 0

        def progress(done: int) -> None:
            nonlocal done_bytes
            done_bytes = done

        task = asyncio.create_task(self._compute(peer, request, progress))
        try:
            while not (await asyncio.wait({task}, timeout=KEEP_ALIVE_S))[0]:
                await stream.send_message({"digesting": done_bytes})
            hashed = task.result()
        finally:
            task.cancel()
            self._asked[peer] -= 1
            if not self._asked[peer]:
                del self._asked[peer]
                self._turns.pop(peer, None)
        answer = Digested(hashed.digest, hashed.size, hashed.mtime_ns, hashed.validator)
        await stream.send_message(answer.to_wire(), end=True)

    async def _compute(
        self, peer: PeerId, request: Digest, progress: Callable[[int], None]
    ) -> Hashed:
        async with self._turns.setdefault(peer, asyncio.Lock()):
            share = b"" if request.path.is_root else request.path.share.raw
            return await self._hasher.hash(share, partial(self._open, request), progress)

    def _open(self, request: Digest) -> OpenedFile:
        file = self._open_file(request.path)
        if request.if_match not in (None, file.validator):
            file.close()
            raise FileChanged(f"{request.path} has changed")
        return file

    def close(self) -> None:
        """Ends the threads; the sessions have ended their requests."""
        self._hasher.close()
