"""uvicorn's protocols with the limits that it lacks: strangers can't hold connections for nothing.

The overridden methods are uvicorn's own callbacks; tests fail when they are not called any more.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hdpd.control.asgi import H11Protocol, WebSocketsSansIOProtocol

IDLE_S = 30.0  # for a request to come in


class HttpProtocol(H11Protocol):
    """HTTP/1.1, with a limit on the time until a request is there."""

    idle_seconds = IDLE_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_timer = self.loop.call_later(self.idle_seconds, self._drop_when_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._idle_timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Now the next request has its time to come in."""
        if not self.transport.is_closing():
            self._idle_timer.cancel()
            self._idle_timer = self.loop.call_later(self.idle_seconds, self._drop_when_idle)
        super().on_response_complete()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._idle_timer.cancel()
        super().handle_websocket_upgrade(event)

    def _drop_when_idle(self) -> None:
        """Runs when no request has come in, or completed, for so long."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
        else:
            self._idle_timer = self.loop.call_later(self.idle_seconds, self._drop_when_idle)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket whose client is dropped when it answers no ping: closing alone would wait for ever
    for it to read what it was sent.
    """

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()
