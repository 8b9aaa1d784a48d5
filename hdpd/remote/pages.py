"""Asks a peer for one page of a directory, and checks it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from hdpd.errors import ProtocolError
from hdpd.remote.reads import AnswerStream
from hdpd.wire.messages import (
    Entry,
    Ls,
    LsEnd,
    Request,
    entries_from_wire,
    raise_if_error,
)
from hdpd.wire.paths import MAX_NAME_BYTES, MAX_PATH_BYTES

ENTRY_OVERHEAD_BYTES = 64  # of CBOR around the path
ANSWER_OVERHEAD_BYTES = 64 * 1024  # frames, cursor, errors


class Page(NamedTuple):
    """One page of a peer's directory, and the cursor of the next one. `not_modified` says that the
    page is that of the validator that was sent, and not sent again.
    """

    entries: list[Entry]
    cursor: bytes | None
    validator: bytes | None
    not_modified: bool


class ListingSession(Protocol):
    """What a listing needs of a session."""

    async def call(self, request: Request, *, budget: int) -> AnswerStream: ...


async def ask_for_page(session: ListingSession, request: Ls, answer_seconds: float) -> Page:
    """One page of a peer's directory.

    Raises:
        ProtocolError: more entries than were asked for, or none of a listing that nobody has.
        HdpdError: what the peer answered, or why there was no answer within `answer_seconds`.
    """
    longest = MAX_PATH_BYTES if request.recursive else MAX_NAME_BYTES
    budget = ANSWER_OVERHEAD_BYTES + request.limit * (longest + ENTRY_OVERHEAD_BYTES)
    entries: list[Entry] = []
    with await session.call(request, budget=budget) as stream:
        while True:
            answer = await stream.receive(answer_seconds)
            raise_if_error(answer)
            if "end" in answer:
                end = LsEnd.from_wire(answer)
                if end.not_modified and (entries or not request.if_none_match):
                    raise ProtocolError("the peer says that a listing is what nobody has")
                return Page(entries, end.cursor, end.validator, end.not_modified)
            # A name with a slash in a plain listing would be somewhere else than it says.
            entries += [
                entry
                for entry in entries_from_wire(answer, "entries")
                if request.recursive or b"/" not in entry.path.raw
            ]
            if len(entries) > request.limit:
                raise ProtocolError("the peer lists more entries than it was asked for")
