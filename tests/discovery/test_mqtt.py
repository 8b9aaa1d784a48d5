"""MQTT against a real broker, and against servers that hang, lie or are not there."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import ipaddress
import os
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion

from hdpd.backoff import Backoff
from hdpd.config import MqttServer
from hdpd.discovery import mqtt
from hdpd.discovery.mqtt import SUBTOPIC_PREFIX, Mqtt
from hdpd.discovery.records import RECORD_BYTES
from hdpd.discovery.status import BrokerStatus, DiscoveryStatus
from hdpd.doctor.findings import discovery
from hdpd.identity.topics import Topic
from tests.mosquitto import Mosquitto, broker, free_port, needs_mosquitto
from tests.waiting import WAIT_S, News, until

__all__ = ["broker"]

PARTY = Topic.from_master("party", b"p" * 32)
CHOIR = Topic.from_master("choir", b"c" * 32)
HELLO = b"hello".ljust(RECORD_BYTES, b".")

# paho leaves the socket of a failed handshake to the garbage collector, which closes it at once.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "RETRY", Backoff(first=0.05, longest=0.2))


class Client:
    """An Mqtt that remembers what it received."""

    def __init__(self, *servers: MqttServer) -> None:
        self.mqtt = Mqtt(servers, self._received, self._connected)
        self.received: list[tuple[bytes, bytes, str]] = []
        self.connections = 0
        self._news = News()

    def _received(self, topic_id: bytes, payload: bytes, server: str) -> None:
        self.received.append((topic_id, payload, server))
        self._news.tell()

    def _connected(self) -> None:
        self.connections += 1
        self._news.tell()

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits until the condition holds, looked at after every event."""
        await self._news.until(condition)

    async def until_status(self, word: str) -> str:
        """Waits until the first broker's error holds the word."""
        await until(lambda: word in self._error(), word)
        return self._error()

    def doctor(self) -> str:
        """What the owner is told of the first broker."""
        told = next(iter(discovery(DiscoveryStatus(self.mqtt.status(), None))))
        return f"{told.state} {told.text} {told.advice}"

    def _error(self) -> str:
        return str(self.mqtt.status()[0].error)


@asynccontextmanager
async def started(*servers: MqttServer, connected: int = 1) -> AsyncIterator[Client]:
    client = Client(*servers)
    await client.mqtt.start()
    try:
        await client.until(lambda: client.connections >= connected)
        yield client
    finally:
        await client.mqtt.close()


@needs_mosquitto
async def test_what_one_publishes_the_other_receives(broker: Mosquitto) -> None:
    async with started(broker.server) as anna, started(broker.server) as bert:
        bert.mqtt.subscribe(PARTY)
        bert.mqtt.publish(PARTY, HELLO)
        await bert.until(lambda: bert.received)
        anna.mqtt.publish(PARTY, HELLO[::-1])
        await bert.until(lambda: len(bert.received) == 2)
    url = str(broker.server)
    assert bert.received == [(PARTY.public_id, HELLO, url), (PARTY.public_id, HELLO[::-1], url)]
    assert anna.received == []


@needs_mosquitto
async def test_topics_subscribed_before_the_connection_count(broker: Mosquitto) -> None:
    client = Client(broker.server)
    client.mqtt.subscribe(PARTY)
    await client.mqtt.start()
    await client.until(lambda: client.connections)
    client.mqtt.publish(PARTY, HELLO)
    await client.until(lambda: client.received)
    await client.mqtt.close()


@needs_mosquitto
async def test_after_unsubscribing_nothing_comes(broker: Mosquitto) -> None:
    async with started(broker.server) as client:
        client.mqtt.subscribe(PARTY)
        client.mqtt.subscribe(CHOIR)
        client.mqtt.unsubscribe(PARTY)
        client.mqtt.publish(PARTY, HELLO)
        client.mqtt.publish(CHOIR, HELLO)
        await client.until(lambda: client.received)
    assert [topic_id for topic_id, _, _ in client.received] == [CHOIR.public_id]


@needs_mosquitto
async def test_a_broker_that_restarts_is_found_again(broker: Mosquitto) -> None:
    async with started(broker.server) as client:
        client.mqtt.subscribe(PARTY)
        await asyncio.to_thread(broker.stop)
        await client.until_status("lost")
        assert client.mqtt.status()[0].connected is False
        client.mqtt.publish(PARTY, HELLO)
        await asyncio.to_thread(broker.start)
        await client.until(lambda: client.connections == 2)
        client.mqtt.publish(PARTY, HELLO)
        await client.until(lambda: client.received)
        assert client.mqtt.status() == (BrokerStatus(str(broker.server), True, None, True, None),)
    assert len(client.received) == 1


@needs_mosquitto
async def test_a_broker_may_appear_later(tmp_path: Path) -> None:
    late = Mosquitto(tmp_path)
    client = Client(late.server)
    await client.mqtt.start()
    await client.until_status("nothing listens")
    await asyncio.to_thread(late.start)
    await client.until(lambda: client.connections)
    await client.mqtt.close()
    late.stop()


@needs_mosquitto
async def test_two_brokers_are_used_at_once_and_one_is_enough(tmp_path: Path) -> None:
    brokers = [Mosquitto(tmp_path), Mosquitto(tmp_path)]
    for each in brokers:
        await asyncio.to_thread(each.start)
    async with started(*(each.server for each in brokers), connected=2) as client:
        client.mqtt.subscribe(PARTY)
        client.mqtt.publish(PARTY, HELLO)
        await client.until(lambda: len(client.received) == 2)
        assert {server for _, _, server in client.received} == {
            str(each.server) for each in brokers
        }
        await asyncio.to_thread(brokers[0].stop)
        await client.until_status("lost")
        client.mqtt.publish(PARTY, HELLO)
        await client.until(lambda: len(client.received) == 3)
    brokers[1].stop()


def password_file(directory: Path) -> Path:
    path = directory / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", path, "anna", "s3cret"], check=True)
    path.chmod(0o644)
    return path


@needs_mosquitto
@pytest.mark.parametrize("password", ["s3cret", "wrong"])
async def test_user_and_password_count(tmp_path: Path, password: str) -> None:
    locked = Mosquitto(
        tmp_path, f"password_file {password_file(tmp_path)}", "allow_anonymous false"
    )
    await asyncio.to_thread(locked.start)
    client = Client(MqttServer("mqtt", "127.0.0.1", locked.port, "anna", password))
    await client.mqtt.start()
    if password == "s3cret":
        await client.until(lambda: client.connections)
    else:
        assert "refused" in await client.until_status("uthori")
        assert client.mqtt.status()[0].connected is False
        assert "wrong" not in str(client.mqtt.status())
        assert "mqtts://USER:PASSWORD@HOST" in client.doctor()
    await client.mqtt.close()
    locked.stop()


@needs_mosquitto
async def test_a_broker_that_refuses_our_topics_says_so(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic write #\n")
    acl.chmod(0o644)
    deaf = Mosquitto(tmp_path, f"acl_file {acl}")
    await asyncio.to_thread(deaf.start)
    async with started(deaf.server) as client:
        client.mqtt.subscribe(PARTY)
        # mosquitto grants the subscription and delivers nothing; what counts is that all goes on.
        client.mqtt.publish(PARTY, HELLO)
        assert client.mqtt.is_connected
    deaf.stop()


@needs_mosquitto
async def test_a_broker_that_drops_what_we_publish_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once in the log, and until what is published comes back."""
    monkeypatch.setattr("hdpd.discovery.proof.ECHO_S", 0.2)
    monkeypatch.setattr("hdpd.discovery.proof.AGAIN_S", 0.3)
    monkeypatch.setattr(mqtt, "CHECK_S", 0.1)
    caplog.set_level("INFO", "hdpd.discovery.mqtt")
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite sensors/#\n")
    broker = Mosquitto(tmp_path, f"acl_file {rules}")
    await asyncio.to_thread(broker.start)
    async with started(broker.server) as client:
        client.mqtt.subscribe(PARTY)
        client.mqtt.publish(PARTY, HELLO)
        await client.until_status("does not come back")
        status = client.mqtt.status()[0]
        assert (status.connected, status.works, status.trouble) == (True, False, "silent")
        assert "allow publishing at hdp/1/#" in client.doctor()
        asked = client.connections
        await client.until(lambda: client.connections > asked)  # to publish again
        client.mqtt.publish(PARTY, HELLO)
        await asyncio.sleep(0.5)
        assert caplog.text.count("does not come back") == 1
        rules.write_text("topic readwrite hdp/#\n")
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(broker.start)
        await client.until(lambda: client.mqtt.status()[0].connected)
        client.mqtt.publish(PARTY, HELLO)
        await until(lambda: client.mqtt.status()[0].works)
        assert client.doctor() == "ok connected, and what is published there comes back None"
    await asyncio.to_thread(broker.stop)


@needs_mosquitto
async def test_a_broker_with_an_authority_of_its_own_that_wants_a_certificate(
    tmp_path: Path,
) -> None:
    cert, key = certificate(tmp_path)
    lines = (f"certfile {cert}", f"keyfile {key}", f"cafile {cert}", "require_certificate true")
    broker = Mosquitto(tmp_path, *lines, scheme="mqtts")
    await asyncio.to_thread(broker.start)
    knows = dataclasses.replace(broker.server, ca_file=str(cert))
    async with started(knows, connected=0) as nobody:
        await until(lambda: nobody.mqtt.status()[0].error, "a refusal")
        # Whether its reason is heard before the line is cut is a matter of luck.
        assert "certificate=PATH" in nobody.doctor()
        assert "internet connection" not in nobody.doctor()
    known = dataclasses.replace(knows, certificate=str(cert), key=str(key))
    async with started(known) as client:
        assert client.doctor() == "ok connected None"
    away = dataclasses.replace(known, ca_file=str(tmp_path / "not-there.pem"))
    async with started(away, connected=0) as client:
        await client.until_status("cannot be read")
        assert "ca_file=" in client.doctor()
    await asyncio.to_thread(broker.stop)


@needs_mosquitto
async def test_tls_is_used_where_a_broker_offers_it_and_plain_mqtt_where_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    plain = Mosquitto(tmp_path)
    secure = Mosquitto(tmp_path, f"certfile {cert}", f"keyfile {key}", scheme="mqtts")
    monkeypatch.setattr(mqtt, "TLS_PORTS", {("mqtt", "127.0.0.1"): secure.port})
    await asyncio.to_thread(plain.start)
    async with started(plain.server) as client:
        assert client.mqtt.status()[0].server == f"mqtt://127.0.0.1:{plain.port}"
    await asyncio.to_thread(secure.start)
    async with started(plain.server) as client:
        assert client.mqtt.status()[0].server == f"mqtts://127.0.0.1:{secure.port}"
    for each in (plain, secure):
        await asyncio.to_thread(each.stop)


def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, valid where SSL_CERT_FILE names it, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = directory / "cert.pem", directory / "key.pem"
    cert_path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_path, key_path


@needs_mosquitto
@pytest.mark.parametrize("scheme", ["mqtts", "ws", "wss"])
async def test_other_transports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    cert_path, key_path = certificate(tmp_path)
    settings = ["protocol websockets"] * (scheme[0] == "w")
    if scheme in {"mqtts", "wss"}:
        settings += [f"certfile {cert_path}", f"keyfile {key_path}"]
    secure = Mosquitto(tmp_path, *settings, scheme=scheme)
    await asyncio.to_thread(secure.start)
    if scheme in {"mqtts", "wss"}:
        client = Client(secure.server)
        await client.mqtt.start()
        await client.until_status("certificate is not accepted")
        await client.mqtt.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(cert_path))
    async with started(secure.server) as client:
        client.mqtt.subscribe(PARTY)
        for _ in range(40):
            client.mqtt.publish(PARTY, HELLO)
        await client.until(lambda: len(client.received) == 40)
    secure.stop()


@contextmanager
def stranger(broker: Mosquitto) -> Iterator[paho.Client]:
    """Somebody who uses the broker as well."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


@needs_mosquitto
async def test_garbage_of_a_stranger_does_not_arrive(broker: Mosquitto) -> None:
    subtopic = SUBTOPIC_PREFIX + PARTY.public_id.hex()
    async with started(broker.server) as client:
        client.mqtt.subscribe(PARTY)
        client.mqtt.publish(PARTY, HELLO)
        await client.until(lambda: client.received)
        with stranger(broker) as someone:
            for garbage in (b"", b"x", HELLO[:-1], HELLO + b"x", b"x" * 500_000):
                someone.publish(subtopic, garbage)
            someone.publish(subtopic, HELLO, qos=1).wait_for_publish(WAIT_S)
        await client.until(lambda: len(client.received) == 2)
        assert client.connections == 1


@needs_mosquitto
async def test_a_retained_message_is_not_news(broker: Mosquitto) -> None:
    with stranger(broker) as someone:
        subtopic = SUBTOPIC_PREFIX + PARTY.public_id.hex()
        someone.publish(subtopic, HELLO, qos=1, retain=True).wait_for_publish(WAIT_S)
    async with started(broker.server) as client:
        client.mqtt.subscribe(PARTY)
        client.mqtt.publish(PARTY, HELLO[::-1])
        await client.until(lambda: client.received)
    assert [payload for _, payload, _ in client.received] == [HELLO[::-1]]


@needs_mosquitto
async def test_a_message_that_is_too_large_is_not_taken_in(broker: Mosquitto) -> None:
    """Fails when the private method of paho that is overridden for it has moved."""
    async with started(broker.server) as client:
        client.mqtt.subscribe(PARTY)
        client.mqtt.publish(PARTY, HELLO)
        await client.until(lambda: client.received)
        with stranger(broker) as someone:
            someone.publish(SUBTOPIC_PREFIX + PARTY.public_id.hex(), bytes(3_000_000))
            await client.until_status("too large")
        await client.until(lambda: client.connections == 2)


@needs_mosquitto
async def test_a_flood_is_left_to_the_broker(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "MAX_PACKETS_PER_S", 20)
    async with started(broker.server) as client:
        client.mqtt.subscribe(PARTY)
        client.mqtt.publish(PARTY, HELLO)
        await client.until(lambda: client.received)
        with stranger(broker) as someone:
            for _ in range(2000):
                someone.publish(SUBTOPIC_PREFIX + PARTY.public_id.hex(), HELLO)
            begun = time.monotonic()
            await client.until(lambda: len(client.received) > 50)
            elapsed = time.monotonic() - begun
        assert elapsed > 1
        assert len(client.received) <= 20 * (elapsed + 2)


@contextmanager
def rude_server(answer: bytes | None) -> Iterator[MqttServer]:
    """Accepts connections and answers them all alike; with None it never says a word."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                if answer is not None:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield MqttServer("mqtt", "127.0.0.1", listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


@pytest.mark.parametrize("scheme", ["mqtt", "ws"])
async def test_closing_does_not_wait_for_a_server_that_hangs(scheme: str) -> None:
    with rude_server(None) as server:
        client = Client(MqttServer(scheme, server.host, server.port, path="/mqtt"))
        await client.mqtt.start()
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        await client.mqtt.close()
        assert time.monotonic() - begun < mqtt.CONNECT_S / 2
    assert client.connections == 0


async def test_a_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "ANSWER_S", 0.1)
    monkeypatch.setattr(mqtt, "CHECK_S", 0.05)
    with rude_server(None) as server:
        client = Client(server)
        await client.mqtt.start()
        await client.until_status("does not answer")
        await client.mqtt.close()


NONSENSE = {
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "refusal": b"\x20\x02\x00\x05",
    "other-version": b"\x20\x02\x00\x01",
    "other-client-id": b"\x20\x02\x00\x02",
    "cut-short": b"\x20\x02",
    "endless-length": b"\x30\xff\xff\xff\xff\xff",
    "zeros": bytes(100),
    "noise": os.urandom(1000),
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE.keys())
@pytest.mark.parametrize("scheme", ["mqtt", "ws"])
async def test_a_server_that_talks_nonsense_does_no_harm(scheme: str, answer: bytes) -> None:
    with rude_server(answer) as server:
        client = Client(MqttServer(scheme, server.host, server.port, path="/mqtt"))
        await client.mqtt.start()
        await asyncio.sleep(0.2)
        await client.mqtt.close()
    assert not client.received


async def test_names_that_do_not_resolve_are_named() -> None:
    client = Client(MqttServer("mqtt", "no-such-host.invalid", 1883))
    await client.mqtt.start()
    client.mqtt.subscribe(PARTY)
    client.mqtt.publish(PARTY, HELLO)
    await client.until_status("resolved")
    await client.mqtt.close()


async def test_an_interface_that_is_not_there_is_named_and_no_name_server_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def look_up(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    server = MqttServer("mqtt", "broker.example", 1883)
    bound = Mqtt([server], lambda *_: None, lambda: None, "no-tun7")
    await bound.start()
    await until(lambda: bound.status()[0].error, "an error")
    assert "the interface no-tun7" in str(bound.status()[0].error)
    assert not asked
    await bound.close()


async def test_a_changed_network_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "RETRY", Backoff(first=1000.0, longest=1000.0))
    port = free_port()
    client = Client(MqttServer("mqtt", "127.0.0.1", port))
    await client.mqtt.start()
    await client.until_status("nothing listens")
    with socket.create_server(("127.0.0.1", port)) as listener:
        client.mqtt.retry_now()
        connection, _ = await asyncio.to_thread(listener.accept)
        connection.close()
        await client.mqtt.close()
