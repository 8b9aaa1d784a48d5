"""MQTT 3.1.1 (OASIS standard) to several brokers at once; the only file that knows paho.

paho resolves, connects and shakes hands in blocking calls, so each attempt runs in a short-lived
thread; from then on its client lives in the event loop alone (`loop_read`, `loop_write`,
`loop_misc`), which costs one callback a message and no locks of ours. Nothing here raises at the
caller: a broker that is away is tried again for ever, and what cannot be sent is dropped, because
announcements are repeated anyway.

Whole because paho's callbacks, sockets and errors are understood, and replaced, in one place.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import random
import secrets
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from hdpd.backoff import Backoff
from hdpd.config import MqttServer
from hdpd.discovery.proof import Proof, Trouble
from hdpd.discovery.records import NONCE_BYTES, RECORD_BYTES
from hdpd.discovery.status import BrokerStatus
from hdpd.identity.topics import Topic
from hdpd.lean import without
from hdpd.tasks import keep_running
from hdpd.threads.blocking import BlockingCalls

with without("dns"):  # for finding a broker by a domain's name
    import paho.mqtt.client as paho

log = logging.getLogger(__name__)

SUBTOPIC_PREFIX: Final = "hdp/1/"

# Short enough to notice a dead path within a minute, long enough to be no load for a public broker.
KEEPALIVE_S: Final = 30
CONNECT_S: Final = 5.0
DIAL_S: Final = 30.0  # with the name server and TLS; each wait in it has its own end
ANSWER_S: Final = 10.0
CHECK_S: Final = 2.0
RETRY: Final = Backoff(first=1.0, longest=30.0)
# A connection that held so long was a good one; a broker that drops us sooner is left alone longer.
STABLE_S: Final = 30.0

# MQTT 3.1.1 cannot ask for a limit; instead of a larger message the connection is closed.
MAX_PACKET_BYTES: Final = 2**20
# Ten busy topics. The rest of a flood waits in the broker's queue and is lost there, not here.
MAX_PACKETS_PER_S: Final = 500
# The bytes of a TLS record that select() does not see, in packets that one callback may handle.
_MAX_PACKETS_AT_ONCE: Final = 32
# Announcements that may wait for a slow broker; each is about 700 bytes.
_MAX_UNSENT: Final = 64

# Brokers that also listen with TLS, and where.
TLS_PORTS: Final = {("mqtt", "broker.hivemq.com"): 8883}
TLS_AGAIN_S: Final = 3600.0  # after it failed, as behind a firewall that lets 1883 through
_KNOWN_BY: Final = NONCE_BYTES  # bytes of a record, which are random

OnMessage = Callable[[bytes, bytes, str], None]


class Mqtt:
    """Publishes and receives records at all brokers. For use in one event loop."""

    def __init__(
        self,
        servers: Sequence[MqttServer],
        on_message: OnMessage,
        on_connected: Callable[[], None],
        interface: str | None = None,
    ) -> None:
        """Connects to nothing yet.

        `on_message` gets a topic's public id, a payload of RECORD_BYTES and the server's URL;
        `on_connected` is called whenever a broker can be published to (again), or should be, to
        see whether it works. With an `interface`, nothing leaves by another one.
        """
        self._subtopics: set[str] = set()
        self._brokers = [
            _Broker(server, self._subtopics, on_message, on_connected, interface)
            for server in servers
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins to connect, without waiting for it."""
        self._tasks = [keep_running(broker.run, "broker") for broker in self._brokers]

    def subscribe(self, topic: Topic) -> None:
        """Receives what is published for the topic, at every broker from now on."""
        subtopic = _subtopic(topic)
        self._subtopics.add(subtopic)
        for broker in self._brokers:
            broker.subscribe([subtopic])

    def unsubscribe(self, topic: Topic) -> None:
        """The opposite of `subscribe`."""
        subtopic = _subtopic(topic)
        self._subtopics.discard(subtopic)
        for broker in self._brokers:
            broker.unsubscribe(subtopic)

    def publish(self, topic: Topic, payload: bytes) -> None:
        """Sends to every connected broker; to the others never."""
        for broker in self._brokers:
            broker.publish(_subtopic(topic), payload)

    def retry_now(self) -> None:
        """Tries the brokers that are away at once: the network is another one."""
        for broker in self._brokers:
            broker.retry_now()

    @property
    def is_connected(self) -> bool:
        """Whether at least one broker is."""
        return any(broker.connected for broker in self._brokers)

    def status(self) -> tuple[BrokerStatus, ...]:
        """How it stands with each broker."""
        return tuple(broker.status() for broker in self._brokers)

    async def close(self) -> None:
        """Disconnects. An attempt to connect that hangs is left to die with its own timeout."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []


class _Broker:
    """The connection to one broker, made again whenever it is lost."""

    def __init__(
        self,
        server: MqttServer,
        subtopics: set[str],
        on_message: OnMessage,
        on_connected: Callable[[], None],
        interface: str | None,
    ) -> None:
        self._configured = server
        self._server = server  # the one that is tried, which may be its port for TLS
        self._tls_failed = -math.inf
        self._interface = interface
        self._subtopics = subtopics
        self._on_message = on_message
        self._on_connected = on_connected
        self._retry = asyncio.Event()
        self.connected = False
        self._trouble: Trouble | None = None
        self._error: str | None = None
        self._proof = Proof()
        self._client: paho.Client | None = None
        self._lost: asyncio.Future[OSError] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._fd = -1
        self._unsent = 0
        self._was_connected = False
        self._packets = 0
        self._second = 0.0
        self._resume: asyncio.Handle | None = None
        # The one before may still wait for a name server.
        self._dials = BlockingCalls(f"connect {server}", threads=2)

    async def run(self) -> None:
        """Connects, stays connected and reconnects, until cancelled."""
        self._loop = asyncio.get_running_loop()
        failures = 0
        while True:
            started = self._loop.time()
            was_plain = self._choose(started)
            try:
                await self._stay_connected()
            except (OSError, ValueError) as error:
                if not was_plain and not self._was_connected:
                    self._tls_failed = self._loop.time()
                    continue
                self._note(_kind(error), _explain(error))
            if self._loop.time() - started > STABLE_S:
                failures = 0
            delay = RETRY.delay(failures, random.random())  # noqa: S311 (spreads load)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._retry.wait()
            self._retry.clear()
            failures += 1

    def status(self) -> BrokerStatus:
        return BrokerStatus(
            str(self._server if self.connected else self._configured),
            self.connected,
            self._error,
            self._proof.works if self.connected else None,
            self._trouble,
        )

    def _choose(self, now: float) -> bool:
        """Which port to try next: TLS, where the broker is known to offer it and did not fail
        lately. Whether it is the configured one.
        """
        port = TLS_PORTS.get((self._configured.scheme, self._configured.host))
        is_due = port is not None and now - self._tls_failed > TLS_AGAIN_S
        self._server = self._configured
        if port is not None and is_due:
            self._server = dataclasses.replace(self._configured, scheme="mqtts", port=port)
        self._was_connected = False
        return not is_due

    def _note(self, trouble: Trouble | None, error: str | None = None) -> None:
        """What is wrong is logged once, however often it is tried."""
        if (trouble, error) != (self._trouble, self._error):
            level = logging.INFO if trouble in (None, "away") else logging.WARNING
            log.log(level, "broker %s: %s", self._server, error or "connected")
        self._trouble, self._error = trouble, error

    def retry_now(self) -> None:
        if self._client is None:
            self._retry.set()

    def subscribe(self, subtopics: Sequence[str]) -> None:
        if self._client is not None and self.connected and subtopics:
            self._client.subscribe([(subtopic, 0) for subtopic in subtopics])

    def unsubscribe(self, subtopic: str) -> None:
        if self._client is not None and self.connected:
            self._proof.forget()
            self._client.unsubscribe(subtopic)

    def publish(self, subtopic: str, payload: bytes) -> None:
        if self._client is not None and self.connected and self._unsent < _MAX_UNSENT:
            self._unsent += 1
            if subtopic in self._subtopics:
                self._proof.published(payload[:_KNOWN_BY], self._loop.time())
            self._client.publish(subtopic, payload, qos=0, retain=False)

    async def _stay_connected(self) -> None:
        """Returns never; raises OSError or ValueError when there is no connection any more."""
        client = await self._dials.run(
            partial(_dial, self._server, self._interface), DIAL_S, late=_discard
        )
        self._attach(client)
        lost = self._lost = self._loop.create_future()
        give_up = self._loop.time() + ANSWER_S
        try:
            while True:
                await asyncio.wait([lost], timeout=CHECK_S)
                if lost.done():
                    raise lost.result()
                if not self.connected and self._loop.time() > give_up:
                    raise TimeoutError
                client.loop_misc()
                self._check()
        finally:
            self.connected = False
            self._client = None
            _discard(client)

    def _check(self) -> None:
        """Whether what was published came back."""
        again = self._proof.look(self._loop.time())
        if self._proof.works is False and self._trouble is None:
            if self._proof.worked:
                self._note("away", "it does not answer: what is published there came back before")
            else:
                text = "it is connected, but what is published there does not come back"
                self._note("silent", text)
        elif self._proof.works and self._trouble in ("silent", "away"):
            self._note(None)
        if again:
            self._loop.call_soon(self._on_connected)

    def _attach(self, client: paho.Client) -> None:
        """From here on the event loop drives the client."""
        transport = client.socket()
        if transport is None:
            raise getattr(client, "failure", None) or _closed()
        self._client = client
        self._unsent = 0
        self._fd = transport.fileno()
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        client.on_socket_register_write = self._want_write
        client.on_socket_unregister_write = self._all_written
        client.on_socket_close = self._stop_watching
        self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        client = self._client
        if client is None:
            return
        now = self._loop.time()
        if now - self._second >= 1:
            self._second, self._packets = now, 0
        for _ in range(_MAX_PACKETS_AT_ONCE):
            self._packets += 1
            client.loop_read()
            transport: Any = client.socket()
            if transport is None or not hasattr(transport, "pending") or not transport.pending():
                break
        else:
            self._resume = self._loop.call_soon(self._readable)
        if self._packets >= MAX_PACKETS_PER_S and client.socket() is not None:
            self._pause(self._second + 1)

    def _pause(self, until: float) -> None:
        """Stops reading for a moment: a flood shall fill the broker's buffers, not our time."""
        self._loop.remove_reader(self._fd)
        if self._resume is not None:
            self._resume.cancel()
        self._resume = self._loop.call_at(until, self._go_on)

    def _go_on(self) -> None:
        self._loop.add_reader(self._fd, self._readable)
        self._readable()

    def _want_write(self, client: paho.Client, _data: object, _transport: object) -> None:
        self._loop.add_writer(self._fd, client.loop_write)

    def _all_written(self, _client: paho.Client, _data: object, _transport: object) -> None:
        self._unsent = 0
        self._loop.remove_writer(self._fd)

    def _stop_watching(self, _client: paho.Client, _data: object, _transport: object) -> None:
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        if self._resume is not None:
            self._resume.cancel()

    def _connected(
        self, _client: paho.Client, _data: object, _flags: object, reason: ReasonCode, _more: object
    ) -> None:
        if reason.is_failure:
            self._lose(ConnectionRefusedByBroker(f"it refused the connection: {reason}"))
            return
        self.connected = self._was_connected = True
        self._proof = Proof()
        self._note(None)
        self.subscribe(sorted(self._subtopics))
        self._loop.call_soon(self._on_connected)

    def _disconnected(
        self, client: paho.Client, _data: object, _flags: object, reason: ReasonCode, _more: object
    ) -> None:
        failure = client.failure if isinstance(client, _Client) else None
        if failure is not None:
            self._lose(failure)
        elif self.connected:
            self._lose(ConnectionError(f"the connection was lost: {reason}"))
        else:
            self._lose(_closed())

    def _subscribed(
        self,
        _client: paho.Client,
        _data: object,
        _message_id: int,
        reasons: list[ReasonCode],
        _more: object,
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._note("subscription", "it does not let us subscribe to our topics")

    def _received(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        # Ours are never retained: one that is was put there to be found by whoever comes later.
        if len(message.payload) != RECORD_BYTES or message.retain:
            return
        if self._proof.received(bytes(message.payload[:_KNOWN_BY])):
            self._check()
        if message.topic in self._subtopics:
            public_id = bytes.fromhex(message.topic.removeprefix(SUBTOPIC_PREFIX))
            arguments = (public_id, bytes(message.payload), str(self._server))
            # Not called from within paho, which would take an error for one of the connection.
            self._loop.call_soon(self._on_message, *arguments)

    def _lose(self, reason: OSError) -> None:
        """The first reason is the one that says something."""
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)


class ConnectionRefusedByBroker(ConnectionError):
    """It answered, and does not want us."""


def _closed() -> ConnectionRefusedByBroker:
    return ConnectionRefusedByBroker("it closes the connection without an answer")


class _Client(paho.Client):
    """paho's client, which by itself takes messages of up to 256 MiB from anybody, and leaves by
    any interface.

    `_sock_recv` and `_create_socket_connection` are the private names that this file relies on;
    tests notice when they move.
    """

    failure: OSError | None = None  # why it ends, where paho would not tell
    interface: str | None = None

    def _create_socket_connection(self) -> socket.socket:
        if self.interface is None:
            return super()._create_socket_connection()
        return _connect_by(self.interface, self.host, self.port)

    def _sock_recv(self, bufsize: int) -> bytes:
        """Called with what is left of the packet that is being read."""
        if bufsize > MAX_PACKET_BYTES:
            self.failure = ConnectionError("it sent a message that is too large")
            raise self.failure
        try:
            return super()._sock_recv(bufsize)
        except ssl.SSLError as error:  # a broker that wants a certificate says so only now
            self.failure = error
            raise


def _subtopic(topic: Topic) -> str:
    return SUBTOPIC_PREFIX + topic.public_id.hex()


def _connect_by(interface: str, host: str, port: int) -> socket.socket:
    """A connection that leaves by that interface or not at all. Raises OSError."""
    try:
        socket.if_nametoindex(interface)
    except OSError as error:  # the name server need not be asked, which is reached by any way
        message = f"the interface {interface}, which is bound alone, is not there"
        raise OSError(error.errno, message) from None
    failure: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
            opened.settimeout(CONNECT_S)
            opened.connect(address)
        except OSError as error:
            opened.close()
            failure = error
        else:
            return opened
    raise failure


def _tls_context(server: MqttServer) -> ssl.SSLContext:
    """Raises OSError where a file is missing or is no certificate."""
    context = ssl.create_default_context(cafile=server.ca_file)
    if server.certificate is not None:
        context.load_cert_chain(server.certificate, server.key)
    return context


def _open(server: MqttServer, interface: str | None) -> paho.Client:
    """A client on an open transport, CONNECT sent. Blocks; raises whatever paho lets through."""
    client = _Client(
        CallbackAPIVersion.VERSION2,
        # Another one each time, so that a broker cannot link our connections by it.
        client_id=secrets.token_hex(10),
        clean_session=True,
        protocol=paho.MQTTv311,
        transport="websockets" if server.scheme in {"ws", "wss"} else "tcp",
        # It would do so in blocking calls from within the event loop.
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_S
    client.interface = interface
    if server.scheme in {"ws", "wss"}:
        client.ws_set_options(path=server.path)
    if server.scheme in {"mqtts", "wss"}:
        client.tls_set_context(_tls_context(server))
    if server.user is not None:
        client.username_pw_set(server.user, server.password)
    client.connect(server.host, server.port, keepalive=KEEPALIVE_S)
    return client


def _dial(server: MqttServer, interface: str | None) -> paho.Client:
    """A client with an open transport on which CONNECT has been sent."""
    try:
        return _open(server, interface)
    except (OSError, ValueError):
        raise
    # A hostile broker makes the WebSocket handshake fail in ways that paho does not document.
    except Exception as error:  # noqa: BLE001
        raise ConnectionError(f"it answers nonsense: {error}") from None


def _discard(client: paho.Client) -> None:
    """Says goodbye where the transport takes it at once, and closes it in any case."""
    client.on_connect = client.on_disconnect = client.on_message = client.on_subscribe = None
    if client.socket() is not None:
        with suppress(OSError, ValueError):
            client.disconnect()
            client.loop_write()
    if (transport := client.socket()) is not None:
        if client.on_socket_close is not None:
            client.on_socket_close(client, None, transport)
        transport.close()


def _kind(error: Exception) -> Trouble:
    if isinstance(error, ConnectionRefusedByBroker):
        return "refused"
    return "certificate" if isinstance(error, ssl.SSLError | FileNotFoundError) else "away"


def _explain(error: Exception) -> str:
    """What went wrong with a broker, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not accepted: {error.verify_message}"
    if isinstance(error, FileNotFoundError):
        return f"a certificate or key for it cannot be read: {error.strerror}"
    if isinstance(error, ssl.SSLError) and "CERTIFICATE_REQUIRED" in str(error.reason):
        return "it wants a certificate of this machine"
    if isinstance(error, ssl.SSLError):
        return f"TLS with it fails: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens at that port"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
