"""The URLs: the page, /rpc by POST and WebSocket, files, log-in, metrics; and how errors look."""

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
from hdpd.control.auth import Authenticator, Caller, cookie_name, http_scheme
from hdpd.control.call import Call, Context
from hdpd.control.connection import Connection
from hdpd.control.files import FILES, PREFIXES, Files, error_response
from hdpd.control.page import Page
from hdpd.control.tokens import SESSION_S
from hdpd.errors import HdpdError, InvalidParams

log = logging.getLogger(__name__)

BODY_S = 30.0  # for a request's body to come in
MAX_LOGIN_BYTES = 4096
NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class _Login(msgspec.Struct):
    """One of the two."""

    code: str | None = None
    token: str | None = None


class Endpoints:
    """Answers HTTP requests and keeps the set of WebSockets."""

    def __init__(self, context: Context, authenticator: Authenticator) -> None:
        self.connections: set[Connection] = set()
        self._context = context
        self._authenticator = authenticator
        self._files = Files(context.services)
        self._page = Page()

    def application(self) -> ASGIApp:
        routes = Starlette(
            routes=[
                Route("/", self._home),
                Route("/assets/{version}/{name:path}", self._asset),
                Route("/healthz", self._healthz),
                Route("/metrics", self._metrics),
                Route("/login", self._login, methods=["POST"]),
                Route("/logout", self._logout, methods=["POST"]),
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
            if scope["path"].startswith(PREFIXES):
                scope["path"] = FILES
            await routes(scope, receive, send)

        return application

    async def _home(self, request: Request) -> Response:
        # A link on any page may lead here; what the page then asks for is checked.
        self._authenticator.check_site(request, origin=False)
        return self._page.index(request)

    async def _asset(self, request: Request) -> Response:
        self._authenticator.check_site(request)
        return self._page.asset(request.path_params["version"], request.path_params["name"])

    async def _healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n", headers=NO_STORE)

    async def _metrics(self, request: Request) -> Response:
        await self._authenticator.admit(request)  # whatever role: all may look
        # Its library takes a megabyte, for the few who ask.
        from hdpd.control.metrics import CONTENT_TYPE, metrics  # noqa: PLC0415

        text = await metrics(self._context.services)
        return Response(text, headers={**NO_STORE, "Content-Type": CONTENT_TYPE})

    async def _login(self, request: Request) -> Response:
        """Trades the code of a login link, or a token, for a session cookie."""
        self._authenticator.check_site(request)
        try:
            login = msgspec.json.decode(await _body(request, MAX_LOGIN_BYTES), type=_Login)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _not_a_login() from None
        if login.token is not None:
            await self._authenticator.check_token(request, login.token)
            secret = login.token
        elif login.code is not None:
            secret = await self._authenticator.log_in(request, login.code)
        else:
            raise _not_a_login()
        response = JSONResponse({}, headers=NO_STORE)
        response.set_cookie(
            cookie_name(request),
            secret,
            max_age=int(SESSION_S),
            httponly=True,
            samesite="strict",
            secure=http_scheme(request) == "https",
        )
        return response

    async def _logout(self, request: Request) -> Response:
        await self._authenticator.log_out(request)
        response = JSONResponse({}, headers=NO_STORE)
        response.delete_cookie(cookie_name(request), httponly=True, samesite="strict")
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


def _not_a_login() -> InvalidParams:
    return InvalidParams('a login is {"code": "…"} or {"token": "…"}')


async def _run_all(follow_ups: list[Callable[[], None]]) -> None:
    for follow_up in follow_ups:
        follow_up()


async def _body(request: Request, limit: int) -> bytes:
    """The request's body. Raises HTTPException when it is longer, or takes too long to come."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
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
