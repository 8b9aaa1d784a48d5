"""GET and HEAD of files, with ranges and entity tags: `/files/PEER/PATH` is streamed from a peer,
`/shares/PATH` is one's own, `/downloads/PATH` a finished download.

None of them is ever a page of hdpd's origin: a few harmless types are shown, in a sandbox, and all
else is a download.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from hdpd import errors
from hdpd.control.entries import SELF
from hdpd.control.http_ranges import (
    RangeNotSatisfiable,
    entity_tag,
    is_unchanged,
    parse_range,
    range_applies,
)
from hdpd.control.media import OCTETS, media_type
from hdpd.control.reading import FileReader, Reading
from hdpd.control.services import Services
from hdpd.errors import Busy, HdpdError, PathInvalid
from hdpd.wire.paths import RemotePath

log = logging.getLogger(__name__)

MAX_READS = 16  # at once; each holds up to 5 MiB
FILES, SHARES, DOWNLOADS = "/files/", "/shares/", "/downloads/"
PREFIXES = (FILES, SHARES, DOWNLOADS)

HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
    "Accept-Ranges": "bytes",
}

_STATUS: tuple[tuple[type[HdpdError], int], ...] = (
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.NotAFile, 409),
    (errors.FileChanged, 409),
    (errors.PeerAmbiguous, 409),
    (errors.InvalidParams, 400),
    (errors.PeerNotConnected, 503),
    (errors.Busy, 503),
    (errors.ShareAway, 503),
    (errors.TimedOut, 503),
)


def error_response(error: HdpdError) -> JSONResponse:
    """`{"error": word, "message"}` with the status that fits; 502 for what a peer did wrong."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 502)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": error.code, "message": error.message}, status, headers)


def parse_target(raw_path: bytes) -> tuple[str, str, RemotePath]:
    """What a request target names: which of PREFIXES, the peer (`self` where it names none) and the
    path.

    Raises:
        PathInvalid: it names no file, or holds what no path may.
    """
    prefix = next(each for each in PREFIXES if raw_path.startswith(each.encode()))
    peer, path = SELF.encode(), raw_path.removeprefix(prefix.encode())
    if prefix == FILES:
        peer, _slash, path = path.partition(b"/")
    try:
        peer_text, path_text = unquote_to_bytes(peer).decode(), unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise PathInvalid("the path in the URL is not UTF-8") from None
    remote = RemotePath.from_text(path_text)
    if not peer_text or remote.is_root:
        raise PathInvalid("the URL names no file: it is /files/PEER/SHARE/PATH")
    return prefix, peer_text, remote


class Files:
    """Answers requests for files that have been admitted already."""

    def __init__(self, services: Services) -> None:
        self._reading = Reading(services)
        self._running = 0

    async def respond(self, request: Request) -> Response:
        """The answer; for a GET its body reads the file. Raises HdpdError before the first byte."""
        prefix, peer, path = parse_target(request.scope["raw_path"])
        if self._running >= MAX_READS:
            raise Busy("too many files are being read; try again later")
        async with AsyncExitStack() as stack:
            self._running += 1
            stack.callback(self._end)
            reader = await self._open(prefix, peer, path)
            plan = _plan(request, path, reader)
            if plan.start == plan.end:
                return Response(status_code=plan.status, headers=plan.headers)
            pieces = await stack.enter_async_context(aclosing(reader.pieces(plan.start, plan.end)))
            # Fetched before anything is answered, as most of what can go wrong shows here.
            first = await anext(pieces)
            return _FileResponse(plan, first, pieces, stack.pop_all())

    async def _open(self, prefix: str, peer: str, path: RemotePath) -> FileReader:
        if prefix == DOWNLOADS:
            return await self._reading.open_finished(path)
        return await self._reading.open(peer, path)

    def close(self) -> None:
        """Ends the threads that read; to be called when no request is being answered any more."""
        self._reading.close()

    def _end(self) -> None:
        self._running -= 1


class _Plan(Struct):
    """The head of an answer, and the bytes of the file that follow it."""

    status: int
    headers: dict[str, str]
    start: int = 0
    end: int = 0


def _plan(request: Request, path: RemotePath, reader: FileReader) -> _Plan:
    tag = entity_tag(reader.validator)
    name = quote(path.name.text, safe="")
    shown_as = media_type(path.name.text)
    disposition = f"{'inline' if shown_as else 'attachment'}; filename*=UTF-8''{name}"
    plan = _Plan(200, {**HEADERS, "ETag": tag, "Content-Disposition": disposition}, 0, reader.size)
    if is_unchanged(request.headers.get("if-none-match"), tag):
        return _Plan(304, plan.headers)
    if range_applies(request.headers.get("if-range"), tag):
        try:
            asked = parse_range(request.headers.get("range"), reader.size)
        except RangeNotSatisfiable:
            return _Plan(416, {**plan.headers, "Content-Range": f"bytes */{reader.size}"})
        if asked is not None:
            plan.status, (plan.start, plan.end) = 206, asked
            plan.headers["Content-Range"] = f"bytes {plan.start}-{plan.end - 1}/{reader.size}"
    plan.headers["Content-Type"] = shown_as or OCTETS
    plan.headers["Content-Length"] = str(plan.end - plan.start)
    if request.method == "HEAD":
        plan.start = plan.end
    return plan


class _FileResponse(StreamingResponse):
    """A body that is read while it is sent, and closes the file however that ends."""

    def __init__(
        self,
        plan: _Plan,
        first: bytes,
        pieces: AsyncGenerator[bytes, None],
        stack: AsyncExitStack,
    ) -> None:
        super().__init__(_chain(first, pieces), plan.status, plan.headers)
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            try:
                await super().__call__(scope, receive, send)
            except HdpdError as error:
                # The server closes the connection, so that the client sees that bytes are missing.
                target = scope["raw_path"].decode(errors="replace")
                log.info("%s was not read to its end: %s", target, error.message)


async def _chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in rest:
        yield piece
