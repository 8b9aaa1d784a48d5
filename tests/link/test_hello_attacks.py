"""The hello over real connections: thieves, relays, garbage, silence and floods."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from hdpd.errors import (
    AuthenticationFailed,
    HdpdError,
    NoCommonTopic,
    PeerNotConnected,
    ProtocolError,
    TimedOut,
)
from hdpd.identity.keys import Certificate, Identity
from hdpd.link import session as session_module
from hdpd.link.connection import Connection
from hdpd.link.engine import EngineFactory, EngineName
from hdpd.link.hello import Asker
from hdpd.link.session import Session, dial_hello
from hdpd.link.stream import REQUEST_BUDGET, Stream
from hdpd.wire.codec import frame
from hdpd.wire.messages import Announce, Request, ResetCode
from tests.link.helpers import ENGINES, PAIRS, Node, identity, nodes, topic
from tests.waiting import until

ALICE, BOB, MALLORY = identity(1), identity(2), identity(3)
PARTY = topic("party")
REQUEST = Announce(())
Message = dict[str, Any]


def steal_certificate(thief: Node, victim: Identity, engine: EngineName) -> None:
    """The thief presents the victim's certificate; the key it must sign with is its own."""
    stolen, own = victim.certificate(), thief.identity.certificate()
    thief.endpoint.engines = EngineFactory(
        engine, Certificate(stolen.der, stolen.cert_pem, own.key_pem)
    )


async def shaken(connection: Connection) -> None:
    """Waits for the TLS handshake; raises what ended the connection before it."""
    done = asyncio.get_running_loop().create_future()
    connection.on_handshake = lambda: None if done.done() else done.set_result(None)
    connection.on_ended = lambda error: None if done.done() else done.set_exception(error)
    async with asyncio.timeout(20):
        await done


async def ended(connection: Connection) -> int | None:
    """The code with which the other side closed the connection."""
    await until(lambda: connection.ended, "the end of the connection")
    return connection.close_code


@pytest.mark.parametrize("engines", PAIRS, ids="-".join)
async def test_a_stolen_certificate(engines: tuple[EngineName, EngineName]) -> None:
    alice, thief = Node(engines[0], who=ALICE), Node(engines[1], who=MALLORY)
    steal_certificate(thief, BOB, engines[1])
    # The knock is for Bob; the thief may well let it pass.
    thief.endpoint.gate._peer_id = BOB.peer_id
    async with nodes(alice, thief):
        connection = alice.endpoint.dial(BOB.peer_id, [thief.address], PARTY)
        with pytest.raises(HdpdError) as raised:
            await dial_hello(connection, alice.around, BOB.peer_id)
        # TLS itself refuses: there was no hello to fail.
        assert isinstance(raised.value, PeerNotConnected)
        assert thief.connections, "it was not the knock that failed"
        assert not thief.sessions


@pytest.mark.parametrize("engine", ENGINES)
async def test_another_peer_at_the_address_sees_no_hello(engine: EngineName) -> None:
    alice, mallory = Node(engine, who=ALICE), Node(engine, who=MALLORY)
    mallory.endpoint.gate._peer_id = BOB.peer_id
    async with nodes(alice, mallory):
        connection = alice.endpoint.dial(BOB.peer_id, [mallory.address], PARTY)
        with pytest.raises(AuthenticationFailed):
            await dial_hello(connection, alice.around, BOB.peer_id)
        assert connection._own_streams == 0
        [seen] = mallory.connections
        assert await ended(seen) == ResetCode.REFUSED
        assert not seen._streams


class Man:
    """In the middle: answers Alice in Mallory's own name and passes what she says on to Bob."""

    def __init__(self, node: Node, bob: Node) -> None:
        self.node = node
        self.bob = bob
        self.tasks: list[asyncio.Task[None]] = []
        node.endpoint.on_accept = self.accept

    def accept(self, connection: Connection) -> None:
        connection.on_stream = lambda stream: self.tasks.append(
            asyncio.get_running_loop().create_task(self.relay(stream))
        )

    async def relay(self, alice: Stream) -> None:
        connection = self.node.connect(self.bob)
        await shaken(connection)
        bob = await connection.open_stream(REQUEST_BUDGET)
        with contextlib.suppress(HdpdError), bob:
            await bob.send(frame(await alice.receive()))
            await alice.send(frame(await bob.receive()))
            await bob.send(frame(await alice.receive()), end=True)
            await alice.send(frame(await bob.receive()), end=True)
        alice.reset(ResetCode.CANCELLED)


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_man_in_the_middle_is_accepted_by_neither_side(engine: EngineName) -> None:
    """Mallory is a peer whom Alice dials under its true name; it does not know the topic's key."""
    alice, bob, mallory = (Node(engine, who=who) for who in (ALICE, BOB, MALLORY))
    async with nodes(alice, bob, mallory):
        man = Man(mallory, bob)
        with pytest.raises(HdpdError):
            await alice.dial(mallory)
        await until(lambda: bob.refusals, "Bob's refusal")
        assert isinstance(bob.refusals[0], AuthenticationFailed)
        assert not bob.sessions
        await asyncio.gather(*man.tasks)


async def hello_by_hand(
    node: Node, to: Node, change: Any = lambda message: message
) -> tuple[Connection, Message, Message]:
    """A client's hello with the proofs as `change` leaves them; returns what was sent."""
    connection = node.connect(to)
    await shaken(connection)
    certificate_hash = b"\0" * 32
    asker = Asker(
        node.identity, to.identity.peer_id, certificate_hash, node.topics, bytes, first=True
    )
    stream = await connection.open_stream(REQUEST_BUDGET)
    request = asker.request()
    await stream.send(frame(request))
    proofs = change(asker.prove(await stream.receive()))
    with contextlib.suppress(HdpdError):
        await stream.send(frame(proofs), end=True)
    return connection, request, proofs


async def test_the_hello_is_bound_to_the_certificate_of_the_connection() -> None:
    """Right key, right topic, fresh nonces, but made for a connection with another certificate."""
    alice, bob = Node(who=ALICE), Node(who=BOB)
    async with nodes(alice, bob):
        connection, _, _ = await hello_by_hand(alice, bob)
        assert await ended(connection) == ResetCode.REFUSED
        assert isinstance(bob.refusals[0], AuthenticationFailed)


@pytest.mark.parametrize("joined", [(), (topic("a"),), tuple(topic(f"b{n}") for n in range(5))])
async def test_a_stranger_learns_nothing_from_a_refusal(joined: tuple[Any, ...]) -> None:
    """Whatever the server has joined: the same code, no reason, the same messages before it."""
    alice, bob = Node(who=ALICE), Node(who=BOB, topics=joined)
    bob.endpoint.gate.set_topics([PARTY])  # as with a replayed knock
    async with nodes(alice, bob):
        connection = alice.connect(bob)
        received = []

        def note(stream_id: int, chunks: list[bytes], end: bool) -> None:
            received.append(sum(map(len, chunks)))
            data_received(stream_id, chunks, end)

        data_received, connection.stream_data_received = (  # type: ignore[method-assign]
            connection.stream_data_received,
            note,
        )
        with pytest.raises(NoCommonTopic):
            await dial_hello(connection, alice.around, BOB.peer_id)
        assert connection.close_code == ResetCode.REFUSED
        assert str(connection.ended).endswith(f"closed with code {int(ResetCode.REFUSED)}")
        assert received == [len(frame({"nonce": bytes(32)}))]


async def refused(node: Node, to: Node, *messages: bytes) -> int | None:
    """What the server closes with when the first stream holds these bytes."""
    connection = node.connect(to)
    await shaken(connection)
    stream = await connection.open_stream(REQUEST_BUDGET)
    for message in messages:
        await stream.send(message)
    return await ended(connection)


@pytest.mark.parametrize(
    "messages",
    [
        [b"\0\0\0\x01\xff"],
        [b"GET / HTTP/1.1\r\n\r\n"],
        [b"\xff" * 100],
        [frame({})],
        [frame(REQUEST.to_wire())],
        [frame({"request": "topics", "nonce": bytes(32)})],
        [frame({"request": "hello", "version": 1, "nonce": bytes(31)})],
        [frame({"request": "hello", "version": "1", "nonce": bytes(32)})],
        [frame({"request": "hello", "version": 1, "nonce": bytes(32)}), frame({})],
        [frame({"request": "hello", "version": 1, "nonce": bytes(32)}), b"\0\0\0\x01\xff"],
        [frame({"request": "teapot"})],
    ],
)
async def test_garbage_and_anything_before_the_hello_is_refused(messages: list[bytes]) -> None:
    served = []

    async def serve(session: Session, request: Request, stream: Stream) -> None:
        served.append(request)

    alice, bob = Node(who=ALICE), Node(who=BOB, handlers={"announce": serve})
    async with nodes(alice, bob):
        assert await refused(alice, bob, *messages) == ResetCode.REFUSED
        assert isinstance(bob.refusals[0], ProtocolError)
        assert not served


async def test_a_second_stream_before_the_end_of_the_hello_is_refused() -> None:
    alice, bob = Node(who=ALICE), Node(who=BOB)
    async with nodes(alice, bob):
        connection = alice.connect(bob)
        await shaken(connection)
        for _ in range(2):
            stream = await connection.open_stream(REQUEST_BUDGET)
            await stream.send(b"\0")
        assert await ended(connection) == ResetCode.REFUSED


async def ask_early(bob: Node, count: int) -> None:
    """What a server does that has more to ask than to prove."""
    await until(lambda: bob.connections and bob.connections[0]._streams, "the hello")
    for _ in range(count):
        stream = await bob.connections[0].open_stream(REQUEST_BUDGET)
        await stream.send(frame(REQUEST.to_wire()), end=True)


async def test_a_server_is_not_served_before_the_end_of_the_hello(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "HELLO_TIMEOUT_S", 0.5)
    served = []

    async def serve(session: Session, request: Request, stream: Stream) -> None:
        served.append(request)

    alice, bob = Node(who=ALICE, handlers={"announce": serve}), Node(who=BOB)
    bob.endpoint.on_accept = bob.connections.append
    async with nodes(alice, bob):
        early = asyncio.create_task(ask_early(bob, 3))
        with pytest.raises(TimedOut):
            await alice.dial(bob)
        await early
        assert await ended(bob.connections[0]) == ResetCode.REFUSED
        assert not served


async def test_a_server_that_asks_too_much_before_the_end_of_the_hello_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "MAX_REQUESTS", 10)
    alice, bob = Node(who=ALICE), Node(who=BOB)
    bob.endpoint.on_accept = bob.connections.append
    async with nodes(alice, bob):
        dialling = asyncio.create_task(alice.dial(bob))
        with contextlib.suppress(HdpdError):
            await ask_early(bob, 20)
        with pytest.raises(PeerNotConnected):
            await dialling
        assert await ended(bob.connections[0]) == ResetCode.PROTOCOL_ERROR


async def test_a_silent_client_is_put_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "HELLO_TIMEOUT_S", 0.3)
    alice, bob = Node(who=ALICE), Node(who=BOB)
    async with nodes(alice, bob):
        connection = alice.connect(bob)
        await shaken(connection)
        assert await ended(connection) == ResetCode.REFUSED
        assert isinstance(bob.refusals[0], TimedOut)


async def test_a_silent_server_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "HELLO_TIMEOUT_S", 0.3)
    alice, bob = Node(who=ALICE), Node(who=BOB)
    bob.endpoint.on_accept = bob.connections.append
    async with nodes(alice, bob):
        with pytest.raises(TimedOut):
            await alice.dial(bob)
        assert await ended(bob.connections[0]) == ResetCode.REFUSED


async def test_a_server_that_proves_no_topic_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the right key but does not know the topic, and answers with noise."""
    alice, bob = Node(who=ALICE), Node(who=BOB)

    async def liar(connection: Connection) -> None:
        opened: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        connection.on_stream = opened.set_result
        stream = await opened
        await stream.receive()
        await stream.send(frame({"nonce": bytes(32)}))
        await stream.receive()
        await stream.send(frame({"proofs": bytes(1024)}), end=True)

    tasks = []
    bob.endpoint.on_accept = lambda connection: tasks.append(
        asyncio.get_running_loop().create_task(liar(connection))
    )
    async with nodes(alice, bob):
        with pytest.raises(NoCommonTopic):
            await alice.dial(bob)
        await asyncio.gather(*tasks)


async def test_64_topics_are_proved_in_one_hello() -> None:
    topics = tuple(topic(f"t{number}") for number in range(64))
    alice, bob = Node(who=ALICE, topics=topics), Node(who=BOB, topics=topics)
    async with nodes(alice, bob):
        session = await alice.dial(bob)
        assert session.topics == {each.public_id for each in topics}


async def test_one_dials_oneself() -> None:
    """An old record of ours, or a mirror: it must not become a session."""
    alice = Node(who=ALICE)
    async with nodes(alice):
        with pytest.raises(HdpdError):
            await alice.dial(alice)
        assert not alice.sessions
