"""One read: what is accepted of a peer's answer and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hdpd.errors import (
    ConnectionLost,
    FileChanged,
    FileUnreadable,
    HdpdError,
    ProtocolError,
    SlotLost,
    TimedOut,
)
from hdpd.remote import reads as fetch
from hdpd.remote.reads import AskAgain, start_read
from hdpd.wire.fields import Message
from hdpd.wire.messages import Read, ReadStarted, error_answer
from hdpd.wire.paths import RemotePath
from tests.fake_peer import FakeFile, FakePeer, FakeStream

STARTED = ReadStarted(4, 10, 0, b"v").to_wire()


def answering(*items: Message | bytes | HdpdError) -> FakePeer:
    async def answer(_request: Read, stream: FakeStream) -> bool:
        for item in items:
            await stream.put(item)
        return True

    return FakePeer(on_read=answer)


async def read(
    peer: FakePeer, length: int = 4, on_queued: Callable[[int], None] = lambda _: None
) -> bytes:
    counted = 0

    def count(size: int) -> None:
        nonlocal counted
        counted += size

    session = peer.session()
    request = Read(RemotePath.from_text("s/f"), 2, length)
    try:
        started = await start_read(session, request, lambda place, _eta: on_queued(place), count)
        with started.stream:
            data = await started.all()
    finally:
        assert not session.open_streams, "the stream was not ended"
        await asyncio.sleep(0)
    assert counted == len(data)
    return data


async def test_bytes_in_pieces() -> None:
    peer = FakePeer({"s/f": FakeFile(b"0123456789")}, chunk=3)
    assert await read(peer, 8) == b"23456789"
    assert await read(peer, 100) == b"23456789"
    assert await read(peer, 0) == b""
    assert await read(answering(STARTED, b"ab", b"cd", {"end": b"v"})) == b"abcd"


async def test_waiting_in_line_is_told() -> None:
    told: list[int] = []
    peer = answering({"queued": 5}, {"queued": 1}, STARTED, b"abcd", {"end": b"v"})
    assert await read(peer, on_queued=told.append) == b"abcd"
    assert told == [5, 1]


async def test_a_second_read_in_line_is_given_up() -> None:
    def refuse(_position: int) -> None:
        raise AskAgain

    with pytest.raises(AskAgain):
        await read(answering({"queued": 5}), on_queued=refuse)


async def test_waiting_in_line_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MAX_QUEUED_FRAMES", 3)
    with pytest.raises(AskAgain):
        await read(answering(*[{"queued": 1}] * 4))


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ([error_answer(FileUnreadable("no"))], FileUnreadable),
        ([{"error": "unheard_of", "message": "x"}], HdpdError),
        ([{"error": 5, "message": "x"}], ProtocolError),
        ([{"queued": 0}], ProtocolError),
        ([{"queued": "soon"}], ProtocolError),
        ([{}], ProtocolError),
        ([STARTED | {"validator": b""}], ProtocolError),
        ([STARTED | {"validator": bytes(65)}], ProtocolError),
        ([STARTED | {"length": 3}], ProtocolError),
        ([STARTED | {"length": 5}], ProtocolError),
        ([STARTED | {"size": 3}], ProtocolError),
        ([STARTED | {"size": -1}], ProtocolError),
        ([STARTED | {"mtime": 0.5}], ProtocolError),
        ([STARTED, b"abcd", {"end": b"w"}], FileChanged),
        ([STARTED, b"abcd", {"end": None}], ProtocolError),
        ([STARTED, b"abcd", error_answer(FileChanged())], FileChanged),
        ([STARTED, b"ab", SlotLost()], SlotLost),
        ([STARTED, b""], ProtocolError),
        ([STARTED, b"ab", ConnectionLost()], ConnectionLost),
    ],
)
async def test_answers_that_do_not_count(
    items: list[Message | bytes | HdpdError], error: type[HdpdError]
) -> None:
    with pytest.raises(error):
        await read(answering(*items))


async def test_silence_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "ANSWER_S", 0.01)
    monkeypatch.setattr(fetch, "QUEUE_S", 0.01)
    for items in ([], [{"queued": 1}], [STARTED], [STARTED, b"abcd"]):
        with pytest.raises(TimedOut):
            await read(answering(*items))
