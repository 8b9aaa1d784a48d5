"""Calls over HTTP: JSON-RPC 2.0 by POST to /rpc, and file contents by GET below /files."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote

from hdpctl.errors import ConnectError, ControlError, RpcError, refusal, rpc_error
from hdpctl.server import Route

CALL_TIMEOUT_S = 60.0
MAX_BATCH = 50
PAGE_ENTRIES = 1000
# Shorter than any server keeps a connection, so that a call never meets one that is closing: it
# could not be sent again without knowing whether it was carried out.
REUSE_WITHIN_S = 2.0
REUSE_AT_MOST_S = 15.0

SESSION_COOKIE = re.compile(r"hdpd_session_\d+=([^;]+)")

Json = dict[str, Any]
Call = tuple[str, Mapping[str, Any]]


class Client:
    """A connection to hdpd for one call after the other. Every method raises `ControlError`."""

    def __init__(self, route: Route, token: str | None) -> None:
        self._route = route
        self._token = token
        self._connection: _RoutedConnection | None = None
        self._opened_at = self._used_at = 0.0

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def log_in(self, code: str) -> str:
        """Trade the code of a login link for the token of a new session."""
        headers = {"Content-Type": "application/json"}
        response = self._exchange("POST", "/login", json.dumps({"code": code}), headers, None)
        raw = self._read(response)
        cookie = SESSION_COOKIE.match(response.headers.get("Set-Cookie") or "")
        if response.status != 200 or cookie is None:
            raise self._refusal(response.status, raw)
        return cookie[1]

    def call(self, method: str, params: Mapping[str, Any] | None = None) -> Json:
        """Call `method` with parameters by name and return its result object.

        Raises RpcError when hdpd refuses, ConnectError when it cannot be reached.
        """
        answer = self._post(_request(1, method, params or {}))
        return _result(method, answer)

    def batch(self, calls: Sequence[Call]) -> list[Json | RpcError]:
        """Make many calls, 50 at a time; the answers are in the order of the calls."""
        answers: list[Json | RpcError] = []
        for start in range(0, len(calls), MAX_BATCH):
            chunk = calls[start : start + MAX_BATCH]
            reply = self._post([_request(i, *call) for i, call in enumerate(chunk)])
            if not isinstance(reply, list):
                _result("batch", reply)
                raise ControlError(f"{self._route.server} did not answer the batch")
            by_id = {item.get("id"): item for item in reply if isinstance(item, dict)}
            for i, (method, _) in enumerate(chunk):
                try:
                    answers.append(_result(method, by_id.get(i)))
                except RpcError as error:
                    answers.append(error)
        return answers

    def pages(self, method: str, key: str, params: Mapping[str, Any]) -> Iterator[list[Json]]:
        """Follow a paged list: yields the `key` member of each page, one page at a time."""
        wanted = {"limit": PAGE_ENTRIES, **params}
        while True:
            page = self.call(method, wanted)
            yield page.get(key) or []
            cursor = page.get("next_cursor")
            if cursor is None:
                return
            wanted["cursor"] = cursor

    def open_file(self, peer: str, path: str, byte_range: str | None) -> HTTPResponse:
        """Ask for the bytes of a file; `byte_range` is a `Range` header (RFC 9110, 14.2) or None.

        The response is a 200, a 206, or a 416 for the caller to explain. There is no time limit:
        the file may wait long for an upload slot at the peer.
        """
        headers = {"Range": byte_range} if byte_range else {}
        url = f"/files/{quote(peer, safe='')}/{quote(path)}"
        response = self._exchange("GET", url, None, headers, None)
        if response.status in (200, 206, 416):
            return response
        raise self._refusal(response.status, self._read(response))

    def _post(self, document: object) -> Any:
        # Not escaped: many long names still fit into one request. What is no valid Unicode, only
        # `hdpctl rpc` can hold, and hdpd refuses it.
        body = json.dumps(document, ensure_ascii=False).encode(errors="surrogatepass")
        headers = {"Content-Type": "application/json"}
        response = self._exchange("POST", "/rpc", body, headers, CALL_TIMEOUT_S)
        raw = self._read(response)
        try:
            answer = json.loads(raw)
        except ValueError:
            raise self._refusal(response.status, raw) from None
        if response.status == 200 or (isinstance(answer, dict) and "jsonrpc" in answer):
            return answer
        raise self._refusal(response.status, raw)

    def _exchange(
        self,
        verb: str,
        path: str,
        body: bytes | str | None,
        headers: Mapping[str, str],
        timeout_s: float | None,
    ) -> HTTPResponse:
        try:
            connection = self._connected()
            connection.sock.settimeout(timeout_s)
            server = self._route.server
            if token := self._token or server.token:
                headers = {**headers, "Authorization": f"Bearer {token}"}
            connection.request(verb, server.url_path(path), body, headers)
            return connection.getresponse()
        except (OSError, HTTPException) as error:
            raise self._lost(error) from error

    def _connected(self) -> _RoutedConnection:
        now = time.monotonic()
        fresh = now - self._used_at < REUSE_WITHIN_S and now - self._opened_at < REUSE_AT_MOST_S
        # Without a socket, the server announced that it closes the connection.
        if self._connection and self._connection.sock and fresh:
            return self._connection
        self.close()
        self._connection = _RoutedConnection(self._route)
        self._connection.connect()
        self._opened_at = now
        return self._connection

    def _read(self, response: HTTPResponse) -> bytes:
        try:
            raw = response.read()
        except (OSError, HTTPException) as error:
            raise self._lost(error) from error
        self._used_at = time.monotonic()
        return raw

    def _lost(self, error: Exception) -> ConnectError:
        self.close()
        where = self._route.server
        if isinstance(error, TimeoutError):
            return ConnectError(f"{where} did not answer within {CALL_TIMEOUT_S:.0f} s")
        if isinstance(error, ssl.SSLError):
            return ConnectError(f"{where}: no TLS connection: {error.reason or error}")
        if isinstance(error, ConnectionError):
            return ConnectError(f"{where} closed the connection; did hdpd stop?")
        return ConnectError(f"{where} does not answer as hdpd does: {error}")

    def _refusal(self, status: int, raw: bytes) -> ControlError:
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = None
        return refusal(self._route.server, status, answer, self._route.tokenless_hint())


class _RoutedConnection(HTTPConnection):
    """`HTTPConnection` over whatever socket the route opens."""

    def __init__(self, route: Route) -> None:
        super().__init__("localhost")
        self._route = route

    def connect(self) -> None:
        sock = self._route.connect()
        server = self._route.server
        self.host, self.port = server.host, server.port or self.default_port
        self.sock = sock


def _request(call_id: int, method: str, params: Mapping[str, Any]) -> Json:
    return {"jsonrpc": "2.0", "id": call_id, "method": method, "params": dict(params)}


def _result(method: str, answer: object) -> Json:
    if isinstance(answer, dict):
        if "error" in answer:
            raise rpc_error(method, answer["error"])
        if isinstance(result := answer.get("result"), dict):
            return result
    raise RpcError(f"{method}: the answer is not one of hdpd's")
