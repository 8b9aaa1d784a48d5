"""MQTT 3.1.1 (OASIS standard) to several brokers at once; the only file that knows paho.

paho resolves, connects and shakes hands in blocking calls, so each attempt runs in a short-lived
thread; from then on its client lives in the event loop alone (`loop_read`, `loop_write`,
`loop_misc`), which costs one callback a message and no locks of ours. Nothing here raises at the
caller: a broker that is away is tried again for ever, and what cannot be sent is dropped, because
announcements are repeated anyway.

One file, because paho's callbacks, sockets and errors are understood, and replaced, in one place.
"""

from __future__ import annotations

import asyncio
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
from hdpd.discovery.records import RECORD_BYTES
from hdpd.discovery.status import BrokerStatus
from hdpd.identity.topics import Topic
from hdpd.lean import without
from hdpd.threads.blocking import BlockingCalls

with without("dns"):  # for finding a broker by a domain's name
    import paho.mqtt.client as paho

SUBTOPIC_PREFIX: Final = "hdp/1/"

# Short enough to notice a dead path within a minute, long enough to be no load for a public broker.
KEEPALIVE_SECONDS: Final = 30
CONNECT_SECONDS: Final = 5.0
DIAL_SECONDS: Final = 30.0  # with the name server and TLS; each wait in it has its own end
ANSWER_SECONDS: Final = 10.0
CHECK_SECONDS: Final = 2.0
RETRY: Final = Backoff(first=1.0, longest=30.0)
# A connection that held so long was a good one; a broker that drops us sooner is left alone longer.
STABLE_SECONDS: Final = 30.0

# MQTT 3.1.1 cannot ask for a limit; instead of a larger message the connection is closed.
MAX_PACKET_BYTES: Final = 2**20
# Ten busy topics. The rest of a flood waits in the broker's queue and is lost there, not here.
MAX_PACKETS_PER_SECOND: Final = 500
# The bytes of a TLS record that select() does not see, in packets that one callback may handle.
_MAX_PACKETS_AT_ONCE: Final = 32
# Announcements that may wait for a slow broker; each is about 700 bytes.
_MAX_UNSENT: Final = 64

OnMessage = Callable[[bytes, bytes, str], None]


class Mqtt:
    """Publishes and receives records at all brokers. For use in one event loop."""

    def __init__(
        self, servers: Sequence[MqttServer], on_message: OnMessage, on_connected: Callable[[], None]
    ) -> None:
        """Connects to nothing yet.

        `on_message` gets a topic's public id, a payload of RECORD_BYTES and the server's URL;
        `on_connected` is called whenever a broker can be published to (again).
        """
        self._subtopics: set[str] = set()
        self._brokers = [
            _Broker(server, self._subtopics, on_message, on_connected) for server in servers
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins to connect, without waiting for it."""
        self._tasks = [asyncio.create_task(broker.run()) for broker in self._brokers]

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
    ) -> None:
        self._server = server
        self._subtopics = subtopics
        self._on_message = on_message
        self._on_connected = on_connected
        self._retry = asyncio.Event()
        self.connected = False
        self._error: str | None = None
        self._client: paho.Client | None = None
        self._lost: asyncio.Future[str] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._fd = -1
        self._unsent = 0
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
            try:
                await self._stay_connected()
            except (OSError, ValueError) as error:
                self._error = _explain(error)
            if self._loop.time() - started > STABLE_SECONDS:
                failures = 0
            delay = RETRY.delay(failures, random.random())  # noqa: S311 (spreads load)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._retry.wait()
            self._retry.clear()
            failures += 1

    def status(self) -> BrokerStatus:
        return BrokerStatus(str(self._server), self.connected, self._error)

    def retry_now(self) -> None:
        if self._client is None:
            self._retry.set()

    def subscribe(self, subtopics: Sequence[str]) -> None:
        if self._client is not None and self.connected and subtopics:
            self._client.subscribe([(subtopic, 0) for subtopic in subtopics])

    def unsubscribe(self, subtopic: str) -> None:
        if self._client is not None and self.connected:
            self._client.unsubscribe(subtopic)

    def publish(self, subtopic: str, payload: bytes) -> None:
        if self._client is not None and self.connected and self._unsent < _MAX_UNSENT:
            self._unsent += 1
            self._client.publish(subtopic, payload, qos=0, retain=False)

    async def _stay_connected(self) -> None:
        """Returns never; raises OSError or ValueError when there is no connection any more."""
        client = await self._dials.run(partial(_dial, self._server), DIAL_SECONDS, late=_discard)
        self._attach(client)
        lost = self._lost = self._loop.create_future()
        give_up = self._loop.time() + ANSWER_SECONDS
        try:
            while True:
                await asyncio.wait([lost], timeout=CHECK_SECONDS)
                if lost.done():
                    raise ConnectionError(lost.result())
                if not self.connected and self._loop.time() > give_up:
                    raise TimeoutError
                client.loop_misc()
        finally:
            self.connected = False
            self._client = None
            _discard(client)

    def _attach(self, client: paho.Client) -> None:
        """From here on the event loop drives the client."""
        transport = client.socket()
        if transport is None:
            raise ConnectionError("it closed the connection")
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
        if self._packets >= MAX_PACKETS_PER_SECOND and client.socket() is not None:
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
            self._lose(f"it refused the connection: {reason}")
            return
        self.connected = True
        self._error = None
        self.subscribe(sorted(self._subtopics))
        self._loop.call_soon(self._on_connected)

    def _disconnected(
        self, client: paho.Client, _data: object, _flags: object, reason: ReasonCode, _more: object
    ) -> None:
        too_large = isinstance(client, _Client) and client.was_sent_too_much
        self._lose(
            "it sent a message that is too large"
            if too_large
            else f"the connection was lost: {reason}"
        )

    def _subscribed(
        self,
        _client: paho.Client,
        _data: object,
        _message_id: int,
        reasons: list[ReasonCode],
        _more: object,
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._error = "it does not let us subscribe to our topics"

    def _received(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        # Ours are never retained: one that is was put there to be found by whoever comes later.
        if len(message.payload) != RECORD_BYTES or message.retain:
            return
        if message.topic in self._subtopics:
            public_id = bytes.fromhex(message.topic.removeprefix(SUBTOPIC_PREFIX))
            arguments = (public_id, bytes(message.payload), str(self._server))
            # Not called from within paho, which would take an error for one of the connection.
            self._loop.call_soon(self._on_message, *arguments)

    def _lose(self, reason: str) -> None:
        """The first reason is the one that says something."""
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)


class _Client(paho.Client):
    """paho's client, which by itself takes messages of up to 256 MiB from anybody.

    `_sock_recv` is the one private name that this file relies on; a test notices when it moves.
    """

    was_sent_too_much = False

    def _sock_recv(self, bufsize: int) -> bytes:
        """Called with what is left of the packet that is being read."""
        if bufsize > MAX_PACKET_BYTES:
            self.was_sent_too_much = True
            raise ConnectionError
        return super()._sock_recv(bufsize)


def _subtopic(topic: Topic) -> str:
    return SUBTOPIC_PREFIX + topic.public_id.hex()


def _open(server: MqttServer) -> paho.Client:
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
    client.connect_timeout = CONNECT_SECONDS
    if server.scheme in {"ws", "wss"}:
        client.ws_set_options(path=server.path)
    if server.scheme in {"mqtts", "wss"}:
        client.tls_set_context(ssl.create_default_context())
    if server.user is not None:
        client.username_pw_set(server.user, server.password)
    client.connect(server.host, server.port, keepalive=KEEPALIVE_SECONDS)
    return client


def _dial(server: MqttServer) -> paho.Client:
    """A client with an open transport on which CONNECT has been sent."""
    try:
        return _open(server)
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


def _explain(error: Exception) -> str:
    """What went wrong with a broker, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not accepted: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens at that port"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
