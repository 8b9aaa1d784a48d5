"""The URLs: /rpc by POST and WebSocket, /files/…, /login, /healthz, and what errors look like."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from hdpd.control import jsonrpc
from hdpd.control.auth import Authenticator, Caller, cookie_name
from hdpd.control.call import Call, Context
from hdpd.control.connection import Connection
from hdpd.control.files import Files, error_response
from hdpd.control.tokens import SESSION_SECONDS
from hdpd.errors import HdpdError, InvalidParams

log = logging.getLogger(__name__)

BODY_SECONDS = 30.0  # for a request's body to come in
MAX_LOGIN_BYTES = 4096
FILES = "/files/"
NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class _Login(msgspec.Struct):
    code: str


class Endpoints:
    """Answers HTTP requests and keeps the set of WebSockets."""

    def __init__(self, context: Context, authenticator: Authenticator) -> None:
        self.connections: set[Connection] = set()
        self._context = context
        self._authenticator = authenticator
        self._files = Files(context.services)

    def application(self) -> ASGIApp:
        routes = Starlette(
            routes=[
                Route("/", self._home),
                Route("/healthz", self._healthz),
                Route("/login", self._login, methods=["POST"]),
                Route("/rpc", self._post, methods=["POST"]),
                WebSocketRoute("/rpc", self._websocket),
                Route(FILES, self._get_file),
            ],
            exception_handlers={
                HdpdError: _hdpd_error,
                HTTPException: _http_error,
                Exception: _bug,
            },
        )

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            # A pattern of a route ends at a line feed, which a file's name may hold.
            if scope["path"].startswith(FILES):
                scope["path"] = FILES
            await routes(scope, receive, send)

        return application

    async def _home(self, request: Request) -> Response:
        self._authenticator.check_site(request, origin=False)
        return PlainTextResponse("hdpd is running; use hdpctl\n", headers=NO_STORE)

    async def _healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n", headers=NO_STORE)

    async def _login(self, request: Request) -> Response:
        """Trades the code of a login link for a session cookie."""
        self._authenticator.check_site(request)
        try:
            login = msgspec.json.decode(await _body(request, MAX_LOGIN_BYTES), type=_Login)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise InvalidParams('a login is {"code": "…"}') from None
        secret = await self._authenticator.log_in(request, login.code)
        response = JSONResponse({}, headers=NO_STORE)
        response.set_cookie(
            cookie_name(request),
            secret,
            max_age=int(SESSION_SECONDS),
            httponly=True,
            samesite="strict",
        )
        return response

    async def _post(self, request: Request) -> Response:
        caller = await self._authenticator.admit(request)
        body = await _body(request, jsonrpc.MAX_MESSAGE_BYTES)
        call = Call(self._context, caller)
        answer = await jsonrpc.answer(body, call)
        follow_ups = BackgroundTask(_run_all, call.after_answer)
        if answer is None:
            return Response(status_code=204, headers=NO_STORE, background=follow_ups)
        return Response(
            answer, headers=NO_STORE, media_type="application/json", background=follow_ups
        )

    async def _websocket(self, websocket: WebSocket) -> None:
        try:
            caller = await self._authenticator.admit(websocket)
        except HdpdError as error:
            await websocket.send_denial_response(error_response(error))
            return
        await self._serve(websocket, caller)

    async def _serve(self, websocket: WebSocket, caller: Caller) -> None:
        connection = Connection(websocket, caller, self._context)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)

    async def _get_file(self, request: Request) -> Response:
        await self._authenticator.admit(request)
        return await self._files.respond(request)

    def close(self) -> None:
        """Frees what it holds, once no request is being answered any more."""
        self._files.close()

    def token_revoked(self, token: str) -> None:
        for connection in self.connections:
            if connection.caller.token == token:
                connection.refuse()


async def _run_all(follow_ups: list[Callable[[], None]]) -> None:
    for follow_up in follow_ups:
        follow_up()


async def _body(request: Request, limit: int) -> bytes:
    """The request's body. Raises HTTPException when it is longer, or takes too long to come."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise HTTPException(413, f"a request is longer than {limit} bytes")
    except TimeoutError:
        raise HTTPException(408, "the request did not come in in time") from None
    return bytes(body)


async def _hdpd_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HdpdError)
    return error_response(error)


_WORDS = {404: "not_found", 405: "method_not_allowed", 408: "timed_out", 413: "request_too_large"}


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    word = _WORDS.get(error.status_code, "invalid_request")
    body = {"error": word, "message": error.detail}
    return JSONResponse(body, error.status_code, error.headers)


async def _bug(request: Request, error: Exception) -> Response:
    target = request.scope["raw_path"].decode(errors="replace")
    log.error("%s %s failed", request.method, target, exc_info=error)
    message = "something went wrong inside hdpd; its log says more"
    return JSONResponse({"error": "internal_error", "message": message}, 500)
