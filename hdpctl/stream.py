"""Calls and notifications over one WebSocket at /rpc: search results and events as they happen."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from hdpctl.errors import ConnectError, ControlError, refusal, rpc_error
from hdpctl.server import CONNECT_TIMEOUT_S, Route

CALL_TIMEOUT_S = 60.0
# One notification carries a page of search hits or one event, far below this.
MAX_MESSAGE_BYTES = 16 << 20

Json = dict[str, Any]


class Stream:
    """An open WebSocket to hdpd. Methods raise `ControlError`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._calls = 0
        # Notifications that came while a call waited for its answer: a call's worth at most.
        self._waiting: deque[tuple[str, Json]] = deque()

    def call(self, method: str, params: Mapping[str, Any]) -> Json:
        """Call `method` and return its result; notifications that come meanwhile are kept."""
        self._calls += 1
        request = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": dict(params)}
        try:
            self._socket.send(json.dumps(request))
        except ConnectionClosed as error:
            raise _closed(error) from error
        while True:
            message = self._receive(CALL_TIMEOUT_S)
            if message is None:
                raise ConnectError(f"{method}: no answer within {CALL_TIMEOUT_S:.0f} s")
            if message.get("id") == self._calls:
                break
            self._keep(message)
        if "error" in message:
            raise rpc_error(method, message["error"])
        result = message.get("result")
        return result if isinstance(result, dict) else {}

    def next(self, timeout_s: float | None) -> tuple[str, Json] | None:
        """Wait for a notification: its method and parameters, or None after `timeout_s` seconds."""
        while not self._waiting:
            message = self._receive(timeout_s)
            if message is None:
                return None
            self._keep(message)
        return self._waiting.popleft()

    def _keep(self, message: Json) -> None:
        method, params = message.get("method"), message.get("params")
        if isinstance(method, str) and isinstance(params, dict):
            self._waiting.append((method, params))

    def _receive(self, timeout_s: float | None) -> Json | None:
        try:
            message = json.loads(self._socket.recv(timeout=timeout_s))
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise _closed(error) from error
        except ValueError as error:
            raise ControlError("hdpd sent something that is not JSON") from error
        return message if isinstance(message, dict) else {}


@contextmanager
def open_stream(route: Route, token: str | None) -> Iterator[Stream]:
    """Open a WebSocket to hdpd for the length of the `with` block.

    Raises ConnectError when it cannot be reached, RpcError when it refuses.
    """
    sock = route.connect()
    server = route.server
    token = token or server.token
    try:
        socket = connect(
            # Also over TLS, which the socket has already.
            f"ws://{server.authority}{server.url_path('/rpc')}",
            sock=sock,
            additional_headers={"Authorization": f"Bearer {token}"} if token else None,
            proxy=None,
            compression=None,
            open_timeout=CONNECT_TIMEOUT_S,
            # Leaving must not wait for a daemon that does not say good-bye.
            close_timeout=1,
            max_size=MAX_MESSAGE_BYTES,
        )
    except InvalidStatus as error:
        status, answer = error.response.status_code, _parse(error.response.body)
        raise refusal(server, status, answer, route.tokenless_hint()) from error
    except (OSError, WebSocketException) as error:
        raise ConnectError(f"{server}: no WebSocket connection: {error}") from error
    with socket:
        yield Stream(socket)


def _parse(body: bytes | bytearray | None) -> object:
    try:
        return json.loads(body or b"")
    except ValueError:
        return None


def _closed(error: ConnectionClosed) -> ConnectError:
    reason = error.rcvd.reason if error.rcvd else ""
    return ConnectError(f"hdpd closed the connection{': ' + reason if reason else ''}")
