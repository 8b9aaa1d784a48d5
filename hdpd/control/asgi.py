"""What is used of uvicorn, loaded without its command line and what that brings along."""

from __future__ import annotations

from hdpd.lean import standing_in

with standing_in("uvicorn.main", "Server", "main", "run"):
    from uvicorn.config import Config
    from uvicorn.protocols.http.h11_impl import H11Protocol
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
    from uvicorn.server import Server

__all__ = ["Config", "H11Protocol", "Server", "WebSocketsSansIOProtocol"]
