"""Sessions: requests and their errors, topics that come and go, staying alive, and the end."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from hdpd.errors import (
    Busy,
    ConnectionLost,
    FileChanged,
    HdpdError,
    NoCommonTopic,
    PathNotFound,
    PeerNotConnected,
    ProtocolError,
    RemoteError,
    UnknownRequest,
)
from hdpd.identity.topics import Topic
from hdpd.link import liveness
from hdpd.link import session as session_module
from hdpd.link.engine import EngineName
from hdpd.link.session import Session
from hdpd.link.stream import REQUEST_BUDGET, Stream
from hdpd.wire.codec import frame
from hdpd.wire.messages import Announce, Request, ResetCode
from tests.link.helpers import (
    ENGINES,
    Node,
    answer_ok,
    connection_of,
    drain,
    nodes,
    pair,
    round_trip,
    topic,
)
from tests.waiting import until

MIB = 1024 * 1024
REQUEST = Announce(())
PARTY, OTHER = topic("party"), topic("other")


async def ask_raw(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Sends any map as a request; the answer as it comes."""
    with await connection_of(session).open_stream(REQUEST_BUDGET) as stream:
        await stream.send(frame(message), end=True)
        return await stream.receive()


# Requests.


async def test_an_unknown_request_is_refused_and_the_connection_stays() -> None:
    async with pair(handlers={"announce": answer_ok}) as (_, _, near, _):
        answer = await ask_raw(near, {"request": "teapot"})
        assert answer["error"] == UnknownRequest.code
        assert await near.ask(REQUEST) == {"ok": True}


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"request": 5},
        {"request": "hello", "version": 1, "nonce": bytes(32)},
        {"request": "topics"},
        {"request": "ls", "path": ["..", "etc"], "recursive": False, "sort": "name", "limit": 1},
        {"request": "announce", "records": "x"},
        {"request": "search"},
    ],
)
async def test_a_bad_request_is_answered_and_the_connection_stays(message: dict[str, Any]) -> None:
    async with pair(handlers={"announce": answer_ok}) as (_, _, near, _):
        answer = await ask_raw(near, message)
        assert answer["error"] in {"protocol_error", "path_invalid"}
        assert await near.ask(REQUEST) == {"ok": True}


async def test_garbage_on_a_stream_is_answered_and_the_connection_stays() -> None:
    async with pair(handlers={"announce": answer_ok}) as (_, _, near, _):
        with await connection_of(near).open_stream(REQUEST_BUDGET) as stream:
            await stream.send(b"\xff" * 50, end=True)
            assert (await stream.receive())["error"] == ProtocolError.code
        assert await near.ask(REQUEST) == {"ok": True}


async def test_an_error_before_the_first_byte_is_the_answer() -> None:
    async def fail(session: Session, request: Request, stream: Stream) -> None:
        raise PathNotFound("there is no music/x")

    async with pair(handlers={"announce": fail}) as (_, _, near, _):
        with pytest.raises(PathNotFound, match="there is no music/x"):
            await near.ask(REQUEST)


async def test_an_error_after_bytes_is_a_reset() -> None:
    async def fail(session: Session, request: Request, stream: Stream) -> None:
        await stream.send(b"a beginning")
        raise FileChanged

    async with pair(handlers={"announce": fail}) as (_, _, near, _):
        stream = await near.call(REQUEST, budget=1000)
        with stream, pytest.raises(FileChanged):
            await drain(stream)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_mistake_in_a_handler_tells_the_peer_nothing(
    begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(session: Session, request: Request, stream: Stream) -> None:
        if begun:
            await stream.send(b"a beginning")
        raise RuntimeError("the secret is 42")

    async with pair(handlers={"announce": fail}) as (_, _, near, far):
        stream = await near.call(REQUEST, budget=1000)
        with stream, pytest.raises(RemoteError) as raised:
            await drain(stream)
        assert "42" not in str(raised.value)
        assert "the secret is 42" in caplog.text
        assert not far.closed


async def test_a_handler_that_answers_nothing_does_not_leave_the_asker_waiting() -> None:
    async def forget(session: Session, request: Request, stream: Stream) -> None:
        return

    async with pair(handlers={"announce": forget}) as (_, _, near, _):
        with pytest.raises(RemoteError):
            await near.ask(REQUEST)


async def test_requests_end_with_the_session() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(session: Session, request: Request, stream: Stream) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with pair(handlers={"announce": wait}) as (_, _, near, far):
        asking = asyncio.create_task(near.ask(REQUEST))
        await begun.wait()
        far.close()
        with pytest.raises(ConnectionLost):
            await asking
        await asyncio.wait_for(ended.wait(), 5)
        with pytest.raises(ConnectionLost):
            await near.ask(REQUEST)


async def test_a_request_ends_when_its_asker_hangs_up() -> None:
    """Or else the asker of something that takes long could fill the places by asking again."""
    begun: list[int] = []
    ended: list[int] = []

    async def wait(session: Session, request: Request, stream: Stream) -> None:
        begun.append(stream.id)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(stream.id)

    async with pair(handlers={"announce": wait}) as (_, _, near, far):
        for count in range(1, session_module.MAX_REQUESTS + 10):
            with await near.call(REQUEST, budget=100):
                await until(lambda: len(begun) == count, "the request")  # noqa: B023
        await until(lambda: ended == begun, "the end of all requests")
        assert not far.closed


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_thousand_requests_at_once_are_not_all_taken(engine: EngineName) -> None:
    """Past its own limit the asker goes on; the engine's limit of streams holds it back."""
    waiting = 0

    async def wait(session: Session, request: Request, stream: Stream) -> None:
        nonlocal waiting
        waiting += 1
        try:
            await asyncio.Event().wait()
        finally:
            waiting -= 1

    async with pair(("aioquic", engine), handlers={"announce": wait}) as (_, _, near, far):
        flood(near, 1000, end=True)
        await until(lambda: waiting >= 100, "as many as there may be")
        await round_trip(near)
        assert waiting <= session_module.MAX_REQUESTS
        await until(lambda: len(connection_of(far)._streams) == waiting, "their handlers")
        assert not far.closed
    await until(lambda: waiting == 0, "the end of all requests")


def flood(session: Session, count: int, *, end: bool) -> None:
    """Requests on new streams, without regard for any limit of ours; only aioquic can."""
    engine = connection_of(session)._engine
    for _ in range(count):
        engine.send(engine.next_stream_id(), frame(REQUEST.to_wire()), end)
    connection_of(session).schedule_transmit()


async def test_beyond_its_places_a_session_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "MAX_REQUESTS", 10)
    go_on = asyncio.Event()

    async def wait(session: Session, request: Request, stream: Stream) -> None:
        await go_on.wait()
        await stream.send_message({"ok": True}, end=True)

    async with pair(handlers={"announce": wait}) as (_, _, near, _):
        asking = [asyncio.create_task(near.ask(REQUEST)) for _ in range(30)]
        await until(lambda: sum(task.done() for task in asking) == 20, "the refusals")
        go_on.set()
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(each) for each in results].count(Busy) == 20
        assert results.count({"ok": True}) == 10
        assert await near.ask(REQUEST) == {"ok": True}


@pytest.mark.parametrize("engine", ENGINES)
async def test_streams_that_a_peer_never_ends_are_bounded(engine: EngineName) -> None:
    """They are answered and forgotten here; the engine grants no more until they are ended."""
    answered = 0

    async def answer(session: Session, request: Request, stream: Stream) -> None:
        nonlocal answered
        await stream.send_message({"ok": True}, end=True)
        answered += 1

    async with pair(("aioquic", engine), handlers={"announce": answer}) as (_, _, near, far):
        # This peer does not even reset what it is asked to stop sending.
        handlers = connection_of(near)._engine._connection._QuicConnection__frame_handlers
        handlers[0x05] = (
            lambda context, frame_type, buffer: [buffer.pull_uint_var() for _ in range(2)],
            handlers[0x05][1],
        )
        flood(near, 1000, end=False)
        await until(lambda: answered >= 100, "as many as there may be")
        await round_trip(near)
        assert answered <= 128
        await until(lambda: not connection_of(far)._streams, "the end of their streams")


# Topics.


def set_and_renew(node: Node, session: Session, *topics: Topic) -> asyncio.Task[None]:
    node.set_topics(*topics)
    return asyncio.create_task(session.renew_topics())


@pytest.mark.parametrize("asker", [0, 1])
async def test_a_topic_joined_on_either_side_becomes_common(asker: int) -> None:
    async with pair() as (client, server, near, far):
        both = frozenset({PARTY.public_id, OTHER.public_id})
        ends = [(client, near), (server, far)]
        await set_and_renew(*ends[1 - asker], PARTY, OTHER)
        assert near.topics == far.topics == {PARTY.public_id}, "only one side has it"
        changed: list[Session] = []
        near.on_topics = far.on_topics = changed.append
        await set_and_renew(*ends[asker], PARTY, OTHER)
        await until(lambda: near.topics == far.topics == both, "the common topics")
        assert set(map(id, changed)) == {id(near), id(far)}


@pytest.mark.parametrize("asker", [0, 1])
async def test_a_topic_left_on_either_side_is_not_common_any_more(asker: int) -> None:
    async with pair(handlers={"announce": answer_ok}) as (client, server, near, far):
        await set_and_renew(client, near, PARTY, OTHER)
        await set_and_renew(server, far, PARTY, OTHER)
        await until(lambda: len(near.topics) == len(far.topics) == 2, "both topics")
        await set_and_renew(*[(client, near), (server, far)][asker], OTHER)
        await until(lambda: near.topics == far.topics == {OTHER.public_id}, "the other topic")
        assert await near.ask(REQUEST) == {"ok": True}


@pytest.mark.parametrize("round_", range(5))
async def test_topics_that_both_sides_change_at_once(round_: int) -> None:
    """Both join one and leave one in the same moment, and must come to the same end."""
    third = topic("third")
    async with pair() as (client, server, near, far):
        await set_and_renew(client, near, PARTY, OTHER)
        await set_and_renew(server, far, PARTY, OTHER)
        await until(lambda: len(near.topics) == len(far.topics) == 2, "both topics")
        async with asyncio.timeout(5):
            await asyncio.gather(
                set_and_renew(client, near, OTHER, third),
                set_and_renew(server, far, OTHER, third, PARTY),
                set_and_renew(client, near, OTHER, third),
            )
        both = frozenset({OTHER.public_id, third.public_id})
        await until(lambda: near.topics == far.topics == both, "the common topics")
        assert near._proofs < 20


async def test_two_who_always_ask_at_once_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """In step, each answers the other while its own question is under way."""
    async with pair() as (client, server, near, far):
        sent = []
        send = Stream.send

        async def both_first(self: Stream, data: bytes, *, end: bool = False) -> None:
            sent.append(data)
            await send(self, data, end=end)
            if b"topics" in data:
                # Nobody goes on before both have asked.
                asked = sum(b"topics" in each for each in sent)
                with_other = asked + asked % 2
                for _ in range(50):
                    if sum(b"topics" in each for each in sent) >= with_other:
                        break
                    await asyncio.sleep(0.001)

        monkeypatch.setattr(Stream, "send", both_first)
        async with asyncio.timeout(10):
            await asyncio.gather(
                set_and_renew(client, near, PARTY, OTHER), set_and_renew(server, far, PARTY, OTHER)
            )
        both = frozenset({PARTY.public_id, OTHER.public_id})
        await until(lambda: near.topics == far.topics == both, "the common topics")


@pytest.mark.parametrize("leaver", [0, 1])
async def test_leaving_the_last_common_topic_ends_everything(leaver: int) -> None:
    begun = asyncio.Event()

    async def wait(session: Session, request: Request, stream: Stream) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with pair(handlers={"announce": wait}) as (client, server, near, far):
        asking = asyncio.create_task(near.ask(REQUEST))
        await begun.wait()
        node, session = [(client, near), (server, far)][leaver]
        other = [far, near][leaver]
        await set_and_renew(node, session, OTHER)
        assert session.closed
        assert isinstance(session.end, NoCommonTopic)
        with pytest.raises((NoCommonTopic, PeerNotConnected)):
            await asking
        await until(lambda: other.closed, "the other side's end")
        assert other.close_code == ResetCode.REFUSED
        with pytest.raises(HdpdError):
            await session.ask(REQUEST)


async def test_nothing_is_served_without_a_common_topic() -> None:
    served = []

    async def serve(session: Session, request: Request, stream: Stream) -> None:
        served.append(request)

    async with pair(handlers={"announce": serve}) as (_, _, near, far):
        far.topics = frozenset()  # between leaving and the close
        assert (await ask_raw(near, REQUEST.to_wire()))["error"] == NoCommonTopic.code
        assert not served


async def test_a_peer_that_fails_to_prove_is_without_topics() -> None:
    """`topics` with noise for proofs: the session ends, as after leaving."""
    async with pair() as (_, _, near, far):
        with await connection_of(near).open_stream(REQUEST_BUDGET) as stream:
            await stream.send(frame({"request": "topics", "nonce": bytes(32)}))
            await stream.receive()
            await stream.send(frame({"proofs": bytes(1024)}), end=True)
            await until(lambda: far.closed, "the end of the session")


# Staying alive, and the end.


async def test_an_idle_session_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "KEEP_ALIVE_S", 0.02)
    async with pair() as (_, _, near, _):
        await until(lambda: near._liveness._next_ping > 10, "ten pings")
        await until(lambda: near.rtt > 0, "an answer")
        assert len(near._liveness._pings) <= 2


async def test_pings_end_with_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "KEEP_ALIVE_S", 0.01)
    async with pair() as (_, _, near, far):
        near.close()
        await until(lambda: far.closed, "the end")
        pings = near._liveness._next_ping, far._liveness._next_ping
        await asyncio.sleep(0.05)
        assert (near._liveness._next_ping, far._liveness._next_ping) == pings


async def test_the_end_is_told_once() -> None:
    async with pair() as (_, _, near, far):
        told: list[Session] = []
        near.on_closed = far.on_closed = told.append
        near.close(ResetCode.DUPLICATE)
        near.close()
        await until(lambda: len(told) == 2, "both ends")
        assert near.closed
        assert far.closed
        assert far.close_code == ResetCode.DUPLICATE
        assert told == [near, far]


async def test_a_request_too_large_to_send_leaves_no_stream() -> None:
    async with pair(handlers={"announce": answer_ok}) as (_, _, near, _):
        with pytest.raises(ValueError, match="exceeds"):
            await near.ask(Announce((bytes(2000),) * 40))
        assert connection_of(near)._own_streams == 0
        assert await near.ask(REQUEST) == {"ok": True}


async def test_without_credit_for_a_stream_the_peer_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hdpd.link.connection.STREAM_CREDIT_TIMEOUT_S", 0.1)

    async def wait(session: Session, request: Request, stream: Stream) -> None:
        await asyncio.Event().wait()

    async with pair(handlers={"announce": wait}) as (_, _, near, _):
        asking = [asyncio.create_task(near.ask(REQUEST)) for _ in range(97)]
        done, pending = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        [refused] = done
        assert isinstance(refused.exception(), Busy)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await until(lambda: connection_of(near)._own_streams == 0, "the end of all streams")


async def test_sessions_of_a_closed_endpoint_end_quietly(caplog: pytest.LogCaptureFixture) -> None:
    client, server = Node(), Node()
    caplog.set_level(logging.WARNING, "hdpd")
    async with nodes(client, server):
        near = await client.dial(server)
        await until(lambda: server.sessions, "the session")
        server.endpoint.close()
        await until(lambda: near.closed, "the end")
        assert near.close_code == ResetCode.SHUTTING_DOWN
        assert not [record for record in caplog.records if record.name.startswith("hdpd")]


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_ping_that_meets_the_peers_goodbye_is_no_warning(
    engine: EngineName, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair((engine, engine)) as (_, _, near, far):
        connection = connection_of(near)
        with monkeypatch.context() as held:  # what came is not handled yet
            held.setattr(connection, "_dispatch", lambda: None)
            far.close(ResetCode.SHUTTING_DOWN)
            await until(lambda: connection._engine.closed() is not None, "the goodbye")
            near.ping_now()
        connection._dispatch()
        assert connection.close_code == ResetCode.SHUTTING_DOWN
        assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
