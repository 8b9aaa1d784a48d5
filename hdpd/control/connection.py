"""One WebSocket: requests in, answers and notifications out, with nothing unbounded between.

There is no queue of its own: whoever has something to send waits until the client takes it. Events
wait in the one log, hits at the peers, requests in the client's socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from hdpd.control import jsonrpc
from hdpd.control.auth import Caller
from hdpd.control.call import Call, Context
from hdpd.control.encoding import Result, encode
from hdpd.control.events import Subscription

MAX_REQUESTS = 16  # of one client at once; what it sends beyond waits in its socket
# Progress that comes in meanwhile is coalesced: a thousand running downloads are one event each, a
# few times a second.
COALESCE_S = 0.2
CLOSE_GOING_AWAY = 1001  # RFC 6455, 7.4.1
CLOSE_POLICY = 1008


class Connection:
    """A client's WebSocket, from its acceptance to its end."""

    def __init__(self, websocket: WebSocket, caller: Caller, context: Context) -> None:
        self.caller = caller
        self._websocket = websocket
        self._context = context
        self._places = asyncio.Semaphore(MAX_REQUESTS)
        self._sending = asyncio.Lock()
        self._requests: set[asyncio.Task[None]] = set()
        self._jobs: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None
        self._following: asyncio.Task[None] | None = None
        self._ended = False

    async def run(self) -> None:
        """Serves the client until it goes or is sent away; leaves nothing running."""
        await self._websocket.accept()
        try:
            while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
                await self._places.acquire()
                if self._ended:
                    break
                text = message.get("text")
                request = message["bytes"] if text is None else text.encode()
                self._spawn(self._requests, self._serve(request))
        except asyncio.CancelledError:
            for task in self._requests:
                task.cancel()
            raise
        finally:
            self._ended = True
            self._drop_subscription()
            for job in self._jobs:
                job.cancel()
            await self._finish_requests()

    async def _finish_requests(self) -> None:
        """Requests are not broken off half-way, each has a time limit; unless hdpd stops."""
        tasks = [*self._requests, *self._jobs]
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for task in tasks:
                task.cancel()

    def _spawn(
        self, group: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        group.add(task)
        task.add_done_callback(group.discard)
        return task

    async def _serve(self, request: bytes) -> None:
        try:
            call = Call(self._context, self.caller, self)
            answer = await jsonrpc.answer(request, call)
            if answer is not None:
                await self._send(answer)
            for follow_up in call.after_answer:
                follow_up()
        finally:
            self._places.release()

    async def _send(self, text: bytes) -> None:
        """Sends when it is this message's turn and the client has taken what was sent before. A
        client that is gone, or has no right to it any more, gets nothing.
        """
        async with self._sending:
            if self._ended:
                return
            try:
                await self._websocket.send_text(text.decode())
            except (WebSocketDisconnect, RuntimeError):
                self._ended = True

    # What methods may ask for.

    async def notify(self, method: str, params: Result) -> None:
        await self._send(encode({"jsonrpc": "2.0", "method": method, "params": params}))

    def start(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if not self._ended:
            self._spawn(self._jobs, job())

    def follow(self, subscription: Subscription) -> None:
        self._drop_subscription()
        if self._ended:
            subscription.close()
            return
        self._subscription = subscription
        self._following = self._spawn(self._jobs, self._pump(subscription))

    async def _pump(self, subscription: Subscription) -> None:
        while events := await subscription.next():
            for event in events:
                await self._send(event.text)
            await asyncio.sleep(COALESCE_S)

    def _drop_subscription(self) -> None:
        if self._following is not None:
            self._following.cancel()
            self._following = None
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    # Its end.

    def refuse(self) -> None:
        """Sends the client away at once, as its token is not valid any more."""
        self._ended = True
        self._drop_subscription()
        self._spawn(self._jobs, self._close(CLOSE_POLICY, "the token was revoked"))

    async def stop(self) -> None:
        """Sends what has been emitted and closes, as hdpd is stopping."""
        if self._subscription is not None and self._following is not None:
            self._subscription.close()
            await asyncio.gather(self._following, return_exceptions=True)
        self._ended = True
        await self._close(CLOSE_GOING_AWAY, "hdpd is stopping")

    async def _close(self, code: int, reason: str) -> None:
        async with self._sending:
            try:
                await self._websocket.close(code, reason)
            except (WebSocketDisconnect, RuntimeError):
                return
