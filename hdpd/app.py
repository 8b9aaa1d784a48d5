"""The composition root: makes every part, wires them, starts them, stops them in order.

The only file that knows all parts; what they need of each other they are given here. Whole because
the order in which parts are made, wired, started and stopped is one thing to read.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from hdpd.config import Config, TcpAddress
from hdpd.config.peer_rules import PeerRules
from hdpd.control.daemon import Daemon
from hdpd.control.events import Events
from hdpd.control.eventtypes import Stopping
from hdpd.control.server import Control
from hdpd.control.services import Services
from hdpd.control.tls import CertificateFiles
from hdpd.database import Database
from hdpd.discovery.discovery import Discovery
from hdpd.downloads.connections import ConnectionsOfPeers
from hdpd.downloads.downloads import Downloads
from hdpd.errors import NotFound, StartError
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.link.endpoint import Endpoint
from hdpd.link.selection import Selection
from hdpd.link.session import Handlers, Session, Surroundings
from hdpd.log import set_level
from hdpd.nat.nat import Nat
from hdpd.notify import Notifier
from hdpd.peers.fixed import FixedAddresses
from hdpd.peers.peers import Peers
from hdpd.peers.record_numbers import RecordNumbers
from hdpd.peers.topics import Topics
from hdpd.rates.limits import TransferLimits
from hdpd.reload import Apply, Reloader
from hdpd.remote.listings import ListingChanged, Listings
from hdpd.shares.shares import Shares
from hdpd.state_directory import StateDirectory
from hdpd.tasks import keep_running
from hdpd.uploads.digests import Digests
from hdpd.uploads.privileges import Privileges
from hdpd.uploads.uploads import Uploads
from hdpd.wire.messages import (
    Announce,
    Batch,
    Changed,
    Digest,
    Ls,
    Observed,
    Read,
    Rendezvous,
    Search,
)
from hdpd.wire.paths import RemotePath

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 4.0  # systemd and people expect a stop within 5 s
STATUS_INTERVAL_S = 10.0
GC_OBJECTS = 20_000  # made before the youngest are looked through; about 2 MB


async def run(config: Config, read_config: Callable[[], Config]) -> int:
    """Runs hdpd until SIGTERM, SIGINT or `daemon.shutdown`; returns the exit status. SIGHUP takes
    over what `read_config` then gives, as far as it can be changed while hdpd runs.

    Raises:
        StartError: it cannot start; the message says why and what to do.
    """
    directory = StateDirectory(config.state_dir)
    try:
        app = App(config, directory, read_config)
        starting = asyncio.create_task(app.start())
        stopped = asyncio.create_task(app.stopped.wait())
        try:
            # A start may wait for room on the disk of the state directory.
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                await stopped
        finally:
            starting.cancel()
            stopped.cancel()
            await asyncio.wait({starting, stopped})
            await app.close()
    finally:
        directory.close()
    return 0


class App:
    """All parts of one hdpd.

    First all of them are made, each of those below it; then `_wire` tells each one what is above
    it; only then `start` opens, reads and begins. So nothing can be reached before it is complete.
    """

    def __init__(
        self, config: Config, directory: StateDirectory, read_config: Callable[[], Config]
    ) -> None:
        self.stopped = asyncio.Event()
        self._config = config
        self._directory = directory
        self._notifier = Notifier()
        self._closing = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

        self._identity = directory.identity()
        self._state = Database(config.state_dir / "state.db", "state", durable=True)
        self._record_numbers = RecordNumbers(self._state)
        self._events = Events()
        emit = self._events.emit
        self.topics = Topics(self._state, config.topics, emit)

        # Reaching others.
        self._endpoint = Endpoint(self._identity, config.quic_engine)
        self._handlers = Handlers()
        around = Surroundings(self._identity, self._endpoint, self.topics.current, self._handlers)
        self.nat = Nat(self._endpoint, config, emit)
        self._discovery = Discovery(
            self._identity,
            self.nat.candidates,
            self._record_numbers.take,
            () if config.lan_only else config.mqtt_servers,
            mdns=config.mdns,
            addresses=self.nat.addresses,
            interface=Selection(config.bind).interface_only(),
        )
        self.peers = Peers(around, self.topics, self._state, self.nat, self._discovery, emit)

        self._fixed = FixedAddresses(self.topics.current, self.peers.get)
        self._fixed.set(config.peers)

        # What is offered.
        index = config.state_dir / "index.db"
        self.shares = Shares(index, self._state, config.shares, emit, config.ignore)
        self.privileges = Privileges(self._state, PeerRules(config.peers, config.daily_quota))
        self.limits = TransferLimits(self._state, config.limits, emit)
        self.uploads = Uploads(
            self.shares.open_file,
            config.upload_slots,
            self.limits.upload,
            emit,
            privileges=self.privileges,
        )
        self.digests = Digests(self.shares.open_file)

        # What others are asked for.
        self.listings = Listings(emit)
        self._connections = ConnectionsOfPeers(self.peers.get, self.peers.open_bulk)
        self.downloads = Downloads(
            self._state,
            self._connections.get,
            config.download_dir,
            self.limits.download,
            emit,
            config.min_free,
            {each.name: each.path for each in config.destinations},
            config.incomplete_dir,
        )
        self._reloader = Reloader(config, read_config, self._appliers())
        self._control = self._make_control()
        self._wire()

    def _make_control(self) -> Control:
        config = self._config
        daemon = Daemon(
            self._identity.peer_id,
            self._reloader,
            self._endpoint,
            self.nat,
            self._discovery,
            self.topics,
            self.shares,
            self.downloads,
            self._fixed,
            self.stopped.set,
        )
        services = Services(
            daemon=daemon,
            peers=self.peers,
            topics=self.topics,
            shares=self.shares,
            listings=self.listings,
            downloads=self.downloads,
            uploads=self.uploads,
            limits=self.limits,
            nat=self.nat,
        )
        return Control(
            services,
            self._events,
            self._state,
            config.control,
            hostnames=config.control_names,
            optional=tuple(a for a in config.control if a == TcpAddress("::1", 3030)),
            certificate=CertificateFiles(config.control_certificate, config.control_key)
            if config.control_certificate and config.control_key
            else None,
            certificate_dir=config.state_dir,
            trusted_proxies=config.trusted_proxies,
            base_path=config.base_path,
        )

    def _wire(self) -> None:
        """Tells each part what is above it; the only place that does."""
        meeting, answer = self.peers.meeting, self._handlers.answer
        answer(Ls, self.shares.answer_ls)
        answer(Search, self.shares.answer_search)
        answer(Read, self.uploads.answer_read)
        answer(Batch, self.uploads.answer_batch)
        answer(Digest, self.digests.answer_digest)
        answer(Changed, self.listings.answer_changed)
        answer(Announce, meeting.telling.answer_announce)
        answer(Observed, meeting.telling.answer_observed)
        answer(Rendezvous, meeting.traversal.answer_rendezvous)

        self._endpoint.on_accept = meeting.sessions.accept
        self._discovery.on_found = self._fixed.on_found = meeting.found
        self._discovery.on_clock_set = meeting.candidates_changed
        self._discovery.on_punch = meeting.traversal.requested
        self.nat.on_candidates_changed = meeting.candidates_changed
        self.nat.on_network_changed = self.peers.network_changed
        self.nat.on_inside_changed = self._discovery.inside_changed
        self.topics.on_changed = meeting.topics_changed
        self.topics.on_count = self.peers.peers_at
        meeting.on_connected = self._peer_connected
        meeting.on_disconnected = self._peer_disconnected
        meeting.telling.on_observed = self.nat.observed
        self.peers.on_woken = self.nat.network_changed
        self.shares.teller.on_news = self._listing_changed

    def _peer_connected(self, session: Session) -> None:
        self.downloads.peer_connected(session.peer_id)
        self.listings.peer_connected(session.peer_id)

    def _peer_disconnected(self, peer_id: PeerId) -> None:
        self.downloads.peer_disconnected(peer_id)
        self.uploads.peer_disconnected(peer_id)
        self.shares.teller.gone(peer_id)
        self.listings.peer_disconnected(peer_id)

    async def _listing_changed(
        self, who: PeerId | None, paths: tuple[RemotePath, ...] | None
    ) -> None:
        """Tells a peer, or the clients of this hdpd, which listings of ours are not current."""
        if who is None:
            for path in paths or (None,):
                self._events.emit(ListingChanged("self", path))
        elif (session := self.peers.get(who)) is not None:
            await session.ask(Changed(paths))

    # Its life.

    async def start(self) -> None:
        """Starts everything; what was started is stopped by `close`, also after an error."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.shutdown)
        # What is to be read again has only just been read; without a handler it would be the end.
        loop.add_signal_handler(signal.SIGHUP, lambda: None)

        await self._start_parts()
        self._tasks += (
            keep_running(self._watch_status, "status"),
            keep_running(self._notifier.run_watchdog, "watchdog"),
        )
        # The end of a terminal is the end of what was started there.
        hung_up = self.shutdown if sys.stderr.isatty() else self._begin_reload
        loop.add_signal_handler(signal.SIGHUP, hung_up)
        self._notifier.ready(self._status())
        log.info("ready: %s, UDP port %s", name_of(self._identity.peer_id), self._endpoint.ports)
        self._show_login_link()
        # What was made so far stays, and what is made from now on is mostly freed without the
        # collector: looking through it every 700 objects took a tenth of the time of small files.
        gc.freeze()
        gc.set_threshold(GC_OBJECTS, 10, 10)

    async def _start_parts(self) -> None:
        """In order: what was kept, what answers, then the ports, through which others may come."""
        closing = self._closing
        closing.push_async_callback(self._state.close)
        async with self._notifier.extending():
            await self._state.open()
        await self._record_numbers.load()
        closing.push_async_callback(self._record_numbers.close)
        await self._events.start(self._state)
        async with self._notifier.extending():
            await self.shares.start()
        closing.push_async_callback(self.shares.close)
        await self.privileges.start()
        closing.push_async_callback(self.privileges.close)
        await self.limits.start()
        closing.callback(self.limits.close)
        closing.callback(self.uploads.close)
        closing.callback(self.digests.close)
        await self.topics.start()
        await self.peers.load()
        closing.callback(self._endpoint.close)
        closing.push_async_callback(self.peers.close)
        closing.callback(self._connections.close)
        self.downloads.set_clear_finished(self._config.clear_finished)
        await self.downloads.start()
        closing.push_async_callback(self.downloads.close)

        self._open_endpoint()
        self.nat.look()
        await self._discovery.start(self._endpoint.port)
        closing.push_async_callback(self._discovery.close)
        self._discovery.set_topics(self.topics.current())
        await self._control.start()  # after all that it may be asked about
        closing.push_async_callback(self._control.close)
        self.peers.start()
        self._fixed.start()
        closing.push_async_callback(self._fixed.close)
        await self.nat.start()
        closing.push_async_callback(self.nat.close)

    def _open_ports(self, port: int) -> None:
        config = self._config
        self._endpoint.open(config.bind, port, config.exclude, lan_only=config.lan_only)

    def _open_endpoint(self) -> None:
        config = self._config
        last = self._directory.last_port() if config.port == 0 else None
        try:
            self._open_ports(last or config.port)
        except StartError:
            if last is None:
                raise
            self._open_ports(0)
        self._directory.remember_port(self._endpoint.port)
        self._endpoint.gate.set_topics(self.topics.current())

    def _show_login_link(self) -> None:
        """On a terminal only: a log is read by more people than the owner."""
        if sys.stderr.isatty():
            with contextlib.suppress(NotFound):
                link = self._control.access.login_link().url
                print(f"The control page, logged in: {link}", file=sys.stderr)  # noqa: T201

    async def close(self) -> None:
        """Stops everything, in the opposite order, within 5 s."""
        self._notifier.stopping()
        self._events.emit(Stopping())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._closing.aclose()
        except TimeoutError:
            log.warning("stopping took longer than %g s; the rest is cut off", STOP_TIMEOUT_S)
        self._notifier.close()

    def shutdown(self) -> None:
        """Asks `run` to end."""
        self.stopped.set()

    # The configuration.

    def _appliers(self) -> Mapping[str, Apply]:
        """What takes over a field of the configuration while hdpd runs."""

        async def topics(config: Config) -> None:
            await self.topics.configure(config.topics)

        async def shares(config: Config) -> None:
            await self.shares.configure(config.shares, config.ignore)

        async def ignore(config: Config) -> None:
            await self.shares.configure(config.shares, config.ignore)

        async def upload_slots(config: Config) -> None:
            self.uploads.set_slots(config.upload_slots)

        async def peers(config: Config) -> None:
            rules = self.privileges.rules
            self.privileges.rules = replace(rules, rules=config.peers)
            self._fixed.set(config.peers)

        async def daily_quota(config: Config) -> None:
            rules = self.privileges.rules
            self.privileges.rules = replace(rules, quota=config.daily_quota)

        async def min_free(config: Config) -> None:
            self.downloads.set_reserve(config.min_free)

        async def limits(config: Config) -> None:
            await self.limits.configure(config.limits)

        async def log_level(config: Config) -> None:
            set_level(config.log_level)

        own = (topics, shares, ignore, log_level)
        appliers = (*own, upload_slots, limits, peers, daily_quota, min_free)
        return {applier.__name__: applier for applier in appliers}

    def _begin_reload(self) -> None:
        # A task that has ended keeps its place until the end: reloads are rare.
        self._tasks.append(asyncio.get_running_loop().create_task(self._reload()))

    async def _reload(self) -> None:
        self._notifier.reloading()
        outcome = await self._reloader.reload()
        self._notifier.ready(f"{outcome}; {self._status()}")

    # While it runs.

    async def _watch_status(self) -> None:
        while True:
            await asyncio.sleep(STATUS_INTERVAL_S)
            self._notifier.status(self._status())

    def _status(self) -> str:
        connected = len(self.peers.connected())
        shares = len(self.shares.list())
        peers = "1 peer" if connected == 1 else f"{connected} peers"
        return f"{peers} connected, {shares} shared, UDP port {self._endpoint.port}"
