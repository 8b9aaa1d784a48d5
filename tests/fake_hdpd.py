"""A small real server with hdpd's control interface and canned answers, for tests of hdpctl.

It listens on a Unix socket and on TCP in a thread of its own, and keeps what it was asked.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.config import Config
from uvicorn.server import Server

from hdpctl.cli import cli

Json = dict[str, Any]
METHOD_NOT_FOUND = {"code": -32601, "message": "Method not found"}


class Refusal(Exception):
    """An answer that is a JSON-RPC error."""

    def __init__(self, word: str, message: str) -> None:
        super().__init__(message)
        self.error = {"code": -32000, "message": message, "data": {"error": word}}


@dataclass
class FakeHdpd:
    """What the server answers, and what it was asked."""

    unix: str = ""
    tcp: str = ""
    token: str | None = None
    answers: dict[str, Json | Refusal | Callable[[Json], Json]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    # Sent over a WebSocket after the answer to a call of that method; None closes the socket.
    notifications: dict[str, list[tuple[str, Json] | None]] = field(default_factory=dict)
    calls: list[tuple[str, Json]] = field(default_factory=list)
    # Bytes of a file that the connection breaks off after.
    broken_after: int | None = None
    # Close each connection after one answer.
    closes: bool = False
    status: int = 200
    body: bytes = b""

    def forget(self) -> FakeHdpd:
        """Be as new; only the addresses stay."""
        vars(self).update(vars(FakeHdpd(self.unix, self.tcp)))
        return self

    def params_of(self, method: str) -> list[Json]:
        """The parameters of each call of `method`, in order."""
        return [params for called, params in self.calls if called == method]

    def run(self, *arguments: str | bytes, server: str | None = None, stdin: str = "") -> Result:
        """Run hdpctl in this process against this server (over the Unix socket by default)."""
        words = ["--server", server or self.unix, *map(os.fsdecode, arguments)]
        return CliRunner().invoke(cli, words, input=stdin, prog_name="hdpctl")

    def answer(self, request: Json) -> Json:
        method, params = request["method"], request.get("params", {})
        self.calls.append((method, params))
        reply: Json = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            canned = self.answers.get(method)
            if canned is None:
                return {**reply, "error": METHOD_NOT_FOUND}
            if isinstance(canned, Refusal):
                raise canned
            return {**reply, "result": canned(params) if callable(canned) else canned}
        except Refusal as refusal:
            return {**reply, "error": refusal.error}

    def refuses(self, authorization: str | None, host: str | None) -> bool:
        over_tcp = host != "localhost"
        return over_tcp and self.token is not None and authorization != f"Bearer {self.token}"


class Application:
    """The three endpoints of the control interface."""

    def __init__(self, fake: FakeHdpd) -> None:
        self.fake = fake
        self.app = Starlette(
            routes=[
                Route("/rpc", self.rpc, methods=["POST"]),
                WebSocketRoute("/rpc", self.stream),
                Route("/files/{path:path}", self.file),
            ]
        )

    def refusal(self, request: Request) -> Response | None:
        headers = request.headers
        if self.fake.refuses(headers.get("authorization"), headers.get("host")):
            return JSONResponse({"error": "unauthorized", "message": "a token is needed"}, 401)
        if self.fake.status != 200:
            return Response(self.fake.body, self.fake.status)
        return None

    async def rpc(self, request: Request) -> Response:
        if refusal := self.refusal(request):
            return refusal
        document = await request.json()
        if isinstance(document, list):
            return JSONResponse([self.fake.answer(one) for one in document])
        headers = {"Connection": "close"} if self.fake.closes else None
        return JSONResponse(self.fake.answer(document), headers=headers)

    async def stream(self, socket: WebSocket) -> None:
        headers = socket.headers
        if self.fake.refuses(headers.get("authorization"), headers.get("host")):
            await socket.send_denial_response(JSONResponse({"error": "unauthorized"}, 401))
            return
        await socket.accept()
        try:
            while True:
                request = await socket.receive_json()
                await socket.send_json(self.fake.answer(request))
                for notification in self.fake.notifications.get(request["method"], []):
                    if notification is None:
                        await socket.close()
                        return
                    method, params = notification
                    await socket.send_json({"jsonrpc": "2.0", "method": method, "params": params})
        except WebSocketDisconnect:
            pass

    async def file(self, request: Request) -> Response:
        if refusal := self.refusal(request):
            return refusal
        content = self.fake.files.get(request.path_params["path"])
        if content is None:
            return JSONResponse({"error": "path_not_found", "message": "no such file"}, 404)
        if self.fake.broken_after is not None:
            part, length = content[: self.fake.broken_after], str(len(content))
            return StreamingResponse(_one(part), headers={"Content-Length": length})
        asked = request.headers.get("range")
        if asked is None:
            return Response(content)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
        assert found, asked
        start, end = int(found[1]), int(found[2] or len(content) - 1)
        if start >= len(content):
            return Response(status_code=416, headers={"Content-Range": f"bytes */{len(content)}"})
        return Response(content[start : end + 1], 206)


async def _one(part: bytes) -> AsyncIterator[bytes]:
    yield part


@contextmanager
def serving(tmp_path: Path) -> Iterator[FakeHdpd]:
    """A fake hdpd that listens on a Unix socket in `tmp_path` and on TCP."""
    fake = FakeHdpd()
    path = tmp_path / "hdpd.sock"
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unix.bind(str(path))
    tcp = socket.create_server(("127.0.0.1", 0))
    fake.unix, fake.tcp = f"unix:{path}", f"http://127.0.0.1:{tcp.getsockname()[1]}"
    config = Config(Application(fake).app, ws="websockets-sansio", lifespan="off", log_config=None)
    config.timeout_graceful_shutdown = 1
    server = Server(config)
    thread = threading.Thread(target=server.run, args=([unix, tcp],))
    # A connection made before the server runs waits in the backlog.
    unix.listen()
    thread.start()
    try:
        yield fake
    finally:
        server.should_exit = True
        thread.join()
        unix.close()
        tcp.close()
