"""Behind a reverse proxy: who really asks, by which scheme and name, and below which path.

What a proxy says in `X-Forwarded-*` is believed of trusted ones only. One that speaks over the Unix
socket has all the world behind it, so whatever looks forwarded there, or comes from a browser, is
no owner: it needs a token like everybody else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

FORWARDED: Final = "hdpd.forwarded"
"""The key of a scope that says that a proxy has passed the request on."""

_SIGNS: Final = {b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"cf-connecting-ip"}
_SIGNS_OF_BROWSERS: Final = {b"origin", b"referer", b"cookie", b"accept-language"}
_SCHEMES: Final = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}


class BehindProxy:
    """An application that sees requests as they were before a proxy passed them on."""

    def __init__(self, application: ASGIApp, trusted: Sequence[str], base_path: str) -> None:
        """`trusted` are networks; `base_path` is what the page is below, "" for the root, where a
        proxy leaves it in front of paths.
        """
        self._application = application
        self._trusted = tuple(ipaddress.ip_network(each) for each in trusted)
        self._base_path = base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            self._unwrap(scope)
            if scope["path"] == self._base_path and self._base_path:
                await RedirectResponse(f"{self._base_path}/")(scope, receive, send)
                return
            self._strip(scope)
        await self._application(scope, receive, send)

    def _unwrap(self, scope: Scope) -> None:
        headers = scope["headers"]
        named = dict(reversed(headers))  # of two of one name the first
        if not self._is_trusted(scope):
            return
        is_local = _is_unix(scope)
        if is_local and not any(_is_sign(name) for name in named):
            return
        scope[FORWARDED] = is_local
        scheme = _SCHEMES.get(_last(named.get(b"x-forwarded-proto", b"")))
        if scheme is not None:
            is_websocket = scope["type"] == "websocket"
            scope["scheme"] = {"http": "ws", "https": "wss"}[scheme] if is_websocket else scheme
        client = self._client(named.get(b"x-forwarded-for", b""))
        if client is not None:
            scope["client"] = (client, 0)
        host = _last(named.get(b"x-forwarded-host", b""))
        if host:
            scope["headers"] = [(n, v) for n, v in headers if n != b"host"] + [(b"host", host)]

    def _is_trusted(self, scope: Scope) -> bool:
        return _is_unix(scope) or self._trusts((scope.get("client") or ("", 0))[0])

    def _trusts(self, host: str) -> bool:
        try:
            ip = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip.version == each.version and ip in each for each in self._trusted)

    def _client(self, forwarded_for: bytes) -> str | None:
        """The last address that no trusted proxy has: what is before it anybody can write."""
        for each in reversed(forwarded_for.decode("ascii", "replace").split(",")):
            host = each.strip()
            try:
                ipaddress.ip_address(host)
            except ValueError:
                return None
            if not self._trusts(host):
                return host
        return None

    def _strip(self, scope: Scope) -> None:
        base = self._base_path
        if base and scope["path"].startswith(f"{base}/"):
            scope["path"] = scope["path"][len(base) :]
            raw = scope.get("raw_path")
            if raw is not None and raw.startswith(base.encode()):
                scope["raw_path"] = raw[len(base) :]


def _is_unix(scope: Scope) -> bool:
    server = scope.get("server")
    return server is not None and server[1] is None


def _is_sign(name: bytes) -> bool:
    """Whether a header says that this was passed on, or that a browser is behind it."""
    return (
        name in _SIGNS
        or name in _SIGNS_OF_BROWSERS
        or name.startswith((b"x-forwarded-", b"sec-fetch-", b"sec-ch-"))
    )


def _last(value: bytes) -> bytes:
    """What the nearest proxy has written, which is the trusted one."""
    return value.rpartition(b",")[2].strip().lower()
