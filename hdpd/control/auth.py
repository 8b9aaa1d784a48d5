"""Decides who is calling: by the Unix socket's file mode, a bearer token, or a session cookie."""

from __future__ import annotations

import asyncio
import logging
import time

from msgspec import Struct
from starlette.requests import HTTPConnection

from hdpd.control.places import PLACE
from hdpd.control.proxy import FORWARDED
from hdpd.control.rules import Role, SlowDown, check_host, check_network, check_origin
from hdpd.control.tokens import Tokens, is_session
from hdpd.errors import Busy, Unauthorized

log = logging.getLogger(__name__)

# So many failed log-ins are kept waiting at once; further ones are refused without being looked
# at. It costs a task and a connection for each.
MAX_DELAYED = 32


class Caller(Struct, frozen=True):
    """Who calls; `token` is the id of the token, None on the Unix socket."""

    role: Role
    token: str | None = None


OWNER = Caller(Role.ADMIN)


class Authenticator:
    """Admits requests or raises; the order of the rules is that of the module rules.py."""

    def __init__(self, tokens: Tokens, names: frozenset[str]) -> None:
        self._tokens = tokens
        self._names = names
        self._slow_down = SlowDown()
        self._delayed = 0

    def check_site(self, connection: HTTPConnection, *, origin: bool = True) -> None:
        """Refuses what a browser sends for a foreign page. Raises Forbidden."""
        if is_local(connection):
            return
        if http_scheme(connection) == "http" and connection.client is not None:
            check_network(connection.client.host, connection.scope["server"][0])
        check_host(connection.headers.get("host"), self._names)
        if origin:
            check_origin(connection.headers, http_scheme(connection))

    async def admit(self, connection: HTTPConnection) -> Caller:
        """Who makes this request.

        Raises:
            Forbidden: it is made for a page of another site.
            Unauthorized: the token is missing or wrong; after a wrong one this takes a while.
            Busy: too many wrong tokens are being tried.
        """
        self.check_site(connection)
        if is_local(connection):
            return OWNER
        secret = _presented_token(connection)
        if secret is None:
            raise Unauthorized(
                "a token is needed: make one on that machine with `hdpctl token new`"
            )
        token = await self._tokens.check(secret)
        if token is None:
            await self._delay(connection)
            raise Unauthorized("the token is not valid; it may have been revoked")
        if (place := connection.scope.get(PLACE)) is not None:
            place.is_known = True
        return Caller(token.role, token.id)

    async def log_in(self, connection: HTTPConnection, code: str) -> str:
        """The session token for the code of a login link. Raises as `admit`, and LimitReached."""
        self.check_site(connection)
        try:
            secret = await self._tokens.use_code(code)
        except Unauthorized:
            await self._delay(connection)
            raise
        self._slow_down.succeeded(_address(connection))
        return secret

    async def check_token(self, connection: HTTPConnection, secret: str) -> None:
        """Sees to it that a token that somebody typed in is valid. Raises as `admit`."""
        self.check_site(connection)
        if await self._tokens.check(secret) is None:
            await self._delay(connection)
            raise Unauthorized("the token is not valid; it may have been revoked")

    async def log_out(self, connection: HTTPConnection) -> None:
        """Ends the browser's session; a token that was typed in stays valid. Raises as `admit`."""
        caller = await self.admit(connection)
        if caller.token is not None and is_session(caller.token):
            await self._tokens.revoke(caller.token)

    async def _delay(self, connection: HTTPConnection) -> None:
        """Waits as long as failures from this address have to; right tokens never wait. What guards
        a machine, and its owner, find the address in the log.
        """
        log.warning("a log-in from %s failed: wrong token or link", _address(connection) or "here")
        if self._delayed >= MAX_DELAYED:
            raise Busy("too many failed log-ins at once; try again later")
        self._delayed += 1
        try:
            await asyncio.sleep(self._slow_down.failed(_address(connection), time.monotonic()))
        finally:
            self._delayed -= 1


def is_local(connection: HTTPConnection) -> bool:
    """Whether it came by a Unix socket, from nobody farther away: only then the server's address
    has no port.
    """
    server = connection.scope.get("server")
    return server is not None and server[1] is None and not connection.scope.get(FORWARDED)


def cookie_name(connection: HTTPConnection) -> str:
    """Cookies don't tell ports apart, so the name does: two hdpd may run on one host."""
    server = connection.scope.get("server") or ("", 0)
    return f"hdpd_session_{server[1]}"


def _address(connection: HTTPConnection) -> str:
    client = connection.client
    return client.host if client else ""


def http_scheme(connection: HTTPConnection) -> str:
    return "https" if connection.scope["scheme"] in {"https", "wss"} else "http"


def _presented_token(connection: HTTPConnection) -> str | None:
    """The bearer token (RFC 6750, 2.1), else the session cookie."""
    header = connection.headers.get("authorization")
    if header is not None:
        scheme, _space, token = header.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""
    return connection.cookies.get(cookie_name(connection))
