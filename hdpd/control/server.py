"""Runs the control interface: sockets, HTTP server, start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from hdpd.config import ControlAddress, TcpAddress
from hdpd.control.access import Access
from hdpd.control.asgi import Config, Server
from hdpd.control.auth import Authenticator
from hdpd.control.call import Context
from hdpd.control.endpoints import Endpoints
from hdpd.control.events import Events
from hdpd.control.jsonrpc import MAX_MESSAGE_BYTES
from hdpd.control.logring import LogRing
from hdpd.control.places import PLACE
from hdpd.control.protocols import HttpProtocol, WebSocketProtocol
from hdpd.control.proxy import BehindProxy
from hdpd.control.rules import local_names
from hdpd.control.searches import Searches
from hdpd.control.services import Services
from hdpd.control.sockets import BACKLOG, Listeners, inherited_unix_sockets
from hdpd.control.tls import CertificateFiles, self_signed
from hdpd.control.tokens import Tokens
from hdpd.database import Database
from hdpd.tasks import keep_running

log = logging.getLogger(__name__)

MAX_HEADER_BYTES = 32 * 1024  # a path of 4096 bytes, each written as %XX, and the rest
PING_S = 20.0  # below the idle limits of proxies and NATs
# A client with MAX_REQUESTS slow requests is not read from meanwhile, so its pongs may be late.
PONG_S = 60.0
GOODBYE_S = 1.0  # for clients to take the last events
FOLLOW_S = 2.0  # between looks at the addresses of interfaces, where any is named or waited for
STOP_S = 1  # for requests to end by themselves


class _Server(Server):
    """uvicorn without its signal handlers, and without its ten wake-ups a second."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._exit = asyncio.Event()

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):  # keeps the Date header right
                    await self._exit.wait()

    def stop_listening(self, listener: socket.socket) -> None:
        """Takes no more connections there; those that stand go on. Nothing if it is not ours."""
        for each in self.servers:
            if any(taken.fileno() == listener.fileno() for taken in each.sockets):
                each.close()

    def exit(self) -> None:
        self.should_exit = True
        self._exit.set()


class Control:
    """The control interface. Make it in the event loop, `start`, and `close` in any case."""

    def __init__(
        self,
        services: Services,
        events: Events,
        state: Database,
        addresses: Collection[ControlAddress],
        hostnames: tuple[str, ...] = (),
        optional: Collection[ControlAddress] = (),
        certificate: CertificateFiles | None = None,
        certificate_dir: Path | None = None,
        trusted_proxies: tuple[str, ...] = (),
        base_path: str = "",
    ) -> None:
        """`hostnames` are further names that this machine is called by in URLs; `optional`
        addresses may be missing where the machine lacks their family (IPv6). Without a
        `certificate` one is made in `certificate_dir` when an address needs it. `trusted_proxies`
        and `base_path` are those of `BehindProxy`.
        """
        self.events = events
        self._addresses = addresses
        self._optional = optional
        self._tokens = Tokens(state)
        self._listeners = Listeners(inherited_unix_sockets(os.environ))
        self.access = Access(self._listeners, self._tokens)
        self._log = LogRing()
        context = Context(
            services, events, self._tokens, Searches(services), self._log, self.access
        )
        self._names = local_names(socket.gethostname(), hostnames)
        self._endpoints = Endpoints(context, Authenticator(self._tokens, self._names))
        behind_proxy = BehindProxy(self._endpoints.application(), trusted_proxies, base_path)
        self._application = self._with_places(behind_proxy)
        self._tokens.on_revoke(self._endpoints.token_revoked)
        self._certificate = certificate
        self._certificate_dir = certificate_dir
        self._following: asyncio.Task[None] | None = None
        self._serving: dict[_Server, asyncio.Task[None]] = {}

    def _with_places(self, application: ASGIApp) -> ASGIApp:
        async def place_known(scope: Scope, receive: Receive, send: Send) -> None:
            scope[PLACE] = self._listeners.places.of(scope.get("client"))
            await application(scope, receive, send)

        return place_known

    async def start(self) -> None:
        """Listens.

        Raises:
            StartError: an address can't be listened on, or the certificate can't be used.
        """
        await self._tokens.load()
        self._log.attach()
        files = self._certificate_files()
        try:
            await self._listeners.open(self._addresses, self._optional)
            await self._serve(list(self._listeners.sockets), None)
            if files is not None:
                await self._serve(list(self._listeners.tls_sockets), files)
            if self._listeners.may_change:
                self._following = keep_running(
                    partial(self._follow_addresses, files), "follow the addresses to listen at"
                )
        except BaseException:
            self._listeners.close()
            raise

    async def _follow_addresses(self, files: CertificateFiles | None) -> None:
        while self._listeners.may_change:
            await asyncio.sleep(FOLLOW_S)
            change = await self._listeners.follow()
            for each in change.gone:
                for server in self._serving:
                    server.stop_listening(each)
            if change.plain:
                await self._serve(change.plain, None)
            if change.tls:
                await self._serve(change.tls, files)

    def _certificate_files(self) -> CertificateFiles | None:
        """What TLS needs, None when no address wants it. Raises StartError."""
        if not any(isinstance(each, TcpAddress) and each.tls for each in self._addresses):
            return None
        files = self._certificate
        if files is None:
            assert self._certificate_dir is not None
            files = self_signed(self._certificate_dir, self._names)
        fingerprint = self.access.tls_fingerprint = files.check()
        log.info("SHA-256 fingerprint of the control certificate: %s", fingerprint)
        return files

    async def _serve(self, sockets: list[socket.socket], files: CertificateFiles | None) -> None:
        """Serves these sockets from now on; uvicorn has TLS for all of its sockets or for none."""
        server = _Server(
            Config(
                self._application,
                http=HttpProtocol,
                ws=WebSocketProtocol,
                lifespan="off",
                interface="asgi3",
                log_config=None,
                # What clients do wrong is no news, and our own mistakes are logged before it.
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_ping_interval=PING_S,
                ws_ping_timeout=PONG_S,
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=STOP_S,
                ssl_certfile=files.certificate if files else None,
                ssl_keyfile=files.key if files else None,
            )
        )
        serving = asyncio.create_task(server.serve(sockets))
        ready = asyncio.create_task(server.ready.wait())
        await asyncio.wait((serving, ready), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            ready.cancel()
            await serving
        self._serving[server] = serving

    async def close(self) -> None:
        """Says goodbye to clients, after what has been emitted, and stops listening; within about
        three seconds.
        """
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if self._serving:
            await self._stop()
        self._listeners.close()
        self._endpoints.close()
        self._log.detach()

    async def _stop(self) -> None:
        goodbyes = [asyncio.create_task(c.stop()) for c in self._endpoints.connections]
        if goodbyes:
            _done, late = await asyncio.wait(goodbyes, timeout=GOODBYE_S)
            for task in late:
                task.cancel()
        for server in self._serving:
            server.exit()
        await asyncio.gather(*self._serving.values())
        tasks = [task for server in self._serving for task in server.server_state.tasks]
        await asyncio.gather(*tasks, return_exceptions=True)
