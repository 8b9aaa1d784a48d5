"""One stream: messages and raw bytes, the budget, back-pressure, and every way in which it ends."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.errors import (
    Busy,
    Cancelled,
    ConnectionLost,
    FileChanged,
    FileUnreadable,
    HdpdError,
    ProtocolError,
    RemoteError,
    SlotLost,
    TimedOut,
)
from hdpd.link.connection import Connection
from hdpd.link.stream import UNSENT_HIGH_BYTES, Stream, lost, reset_error
from hdpd.wire.codec import frame
from hdpd.wire.messages import ResetCode
from tests.waiting import until


class FakeConnection:
    """Notes what a stream does."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, bool]] = []
        self.resets: list[tuple[ResetCode, bool]] = []
        self.unsent = 0

    def send_stream(self, stream: Stream, data: bytes, end: bool) -> None:
        self.sent.append((data, end))

    def unsent_bytes(self, stream: Stream) -> int:
        return self.unsent

    def reset_stream(self, stream: Stream, code: ResetCode, *, send: bool) -> None:
        self.resets.append((code, send))


def make(budget: int = 100_000) -> tuple[Stream, FakeConnection]:
    connection = FakeConnection()
    return Stream(cast("Connection", connection), 0, budget), connection


# Receiving.


@given(st.lists(st.integers(1, 30), max_size=20))
def test_messages_arrive_however_they_are_cut(cuts: list[int]) -> None:
    messages = [{"number": number, "text": "x" * number} for number in range(5)]
    rest = b"".join(map(frame, messages))

    async def receive_all() -> None:
        stream, _ = make()
        data = rest
        for cut in cuts:
            stream.data_received([data[:cut]], False)
            data = data[cut:]
        stream.data_received([data], True)
        assert [await stream.receive(1) for _ in messages] == messages
        with pytest.raises(ProtocolError, match="in the middle"):
            await stream.receive(1)

    asyncio.run(receive_all())


async def test_raw_bytes_after_a_message() -> None:
    stream, _ = make()
    stream.data_received([frame({"ok": True}) + b"first", b"second", b"third"], False)
    assert await stream.receive() == {"ok": True}
    assert await stream.receive_bytes(3) == b"fir"
    assert await stream.receive_bytes(100) == b"st"
    assert await stream.receive_bytes(8) == b"secondth"
    assert await stream.receive_bytes(100) == b"ird"
    stream.data_received([frame({"end": b"v"})], True)
    assert await stream.receive() == {"end": b"v"}


@given(st.lists(st.binary(max_size=40), max_size=10), st.integers(1, 50))
def test_no_byte_is_lost_or_doubled(chunks: list[bytes], limit: int) -> None:
    async def receive_all() -> bytes:
        stream, _ = make()
        stream.data_received(chunks, True)
        taken = b""
        while True:
            try:
                some = await stream.receive_bytes(limit)
            except ProtocolError:
                return taken
            assert 1 <= len(some) <= limit
            taken += some

    assert asyncio.run(receive_all()) == b"".join(chunks)


async def test_what_is_not_there_yet_is_waited_for() -> None:
    stream, _ = make()
    receiving = asyncio.create_task(stream.receive())
    await asyncio.sleep(0)
    stream.data_received([frame({"n": 1})], False)
    assert await receiving == {"n": 1}


async def test_silence_has_an_end() -> None:
    stream, _ = make()
    with pytest.raises(TimedOut):
        await stream.receive(0.01)
    stream.data_received([b"\0"], False)
    with pytest.raises(TimedOut):
        await stream.receive(0.01)
    stream.data_received([b"\0\0\x01\xa0"], False)
    assert await stream.receive(0.01) == {}, "a time limit spoils nothing"


@pytest.mark.parametrize("data", [b"\0\1\0\1", b"\xff\xff\xff\xff", b"\0\0\0\1\xff"])
async def test_a_message_that_cannot_be_is_refused(data: bytes) -> None:
    stream, _ = make()
    stream.data_received([data], False)
    with pytest.raises(ProtocolError):
        await stream.receive()


def test_more_than_the_budget_is_an_error() -> None:
    stream, _ = make(budget=10)
    stream.data_received([b"12345", b"67890"], False)
    with pytest.raises(ProtocolError, match="more than"):
        stream.data_received([b"!"], True)


async def test_what_came_before_the_end_of_the_connection_is_still_there() -> None:
    stream, _ = make()
    stream.data_received([frame({"n": 1})], True)
    stream.failed(lost("unplugged"))
    assert await stream.receive() == {"n": 1}
    with pytest.raises(ConnectionLost, match="unplugged"):
        await stream.receive()


# Sending.


async def test_a_sender_waits_while_much_is_unsent() -> None:
    stream, connection = make()
    connection.unsent = UNSENT_HIGH_BYTES + 1
    sending = asyncio.create_task(stream.send(bytes(1000)))
    await until(lambda: stream._writable, "the wait")
    stream.wake_writer()
    await until(lambda: stream._writable, "the second wait: it is still too much")
    connection.unsent = 0
    stream.wake_writer()
    await sending


async def test_the_end_of_something_large_is_waited_for_too() -> None:
    stream, connection = make()
    connection.unsent = UNSENT_HIGH_BYTES + 1
    sending = asyncio.create_task(stream.send(bytes(UNSENT_HIGH_BYTES), end=True))
    await until(lambda: stream._writable, "the wait")
    connection.unsent = 0
    stream.wake_writer()
    await sending
    assert connection.sent == [(bytes(UNSENT_HIGH_BYTES), True)]


async def test_a_waiting_sender_learns_of_the_end() -> None:
    stream, connection = make()
    connection.unsent = UNSENT_HIGH_BYTES + 1
    sending = asyncio.create_task(stream.send(bytes(1000)))
    await until(lambda: stream._writable, "the wait")
    stream.failed(Cancelled())
    with pytest.raises(Cancelled):
        await sending
    with pytest.raises(Cancelled):
        await stream.send(b"more")


async def test_a_stream_that_was_ended_takes_no_more() -> None:
    stream, _ = make()
    await stream.send(b"all", end=True)
    with pytest.raises(AssertionError):
        await stream.send(b"more")


async def test_what_is_unsent_can_be_asked() -> None:
    stream, connection = make()
    connection.unsent = 1234
    assert stream.unsent_bytes == 1234


# Ending.


async def test_leaving_the_block_resets_what_is_not_complete() -> None:
    stream, connection = make()
    with stream:
        await stream.send(b"request", end=True)
    assert connection.resets == [(ResetCode.CANCELLED, False)]
    with pytest.raises(Cancelled):
        await stream.receive()


async def test_leaving_the_block_of_a_complete_stream_does_nothing() -> None:
    stream, connection = make()
    with stream:
        await stream.send(b"request", end=True)
        stream.data_received([frame({})], True)
        await stream.receive()
    assert stream.complete
    assert connection.resets == []


async def test_a_reset_happens_once_and_wakes_whoever_waits() -> None:
    stream, connection = make()
    receiving = asyncio.create_task(stream.receive())
    await until(lambda: stream._readable, "the wait")
    stream.reset(ResetCode.SLOT_LOST)
    stream.reset(ResetCode.BUSY)
    assert connection.resets == [(ResetCode.SLOT_LOST, True)]
    with pytest.raises(Cancelled):
        await receiving


async def test_the_first_failure_is_the_one_that_is_told() -> None:
    stream, _ = make()
    stream.failed(FileChanged())
    stream.failed(lost("later"))
    with pytest.raises(FileChanged):
        await stream.receive()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (ResetCode.CANCELLED, Cancelled),
        (ResetCode.FILE_CHANGED, FileChanged),
        (ResetCode.FILE_UNREADABLE, FileUnreadable),
        (ResetCode.SLOT_LOST, SlotLost),
        (ResetCode.BUSY, Busy),
        (ResetCode.INTERNAL_ERROR, RemoteError),
        (ResetCode.OK, RemoteError),
        (2**62 - 1, RemoteError),
    ],
)
def test_what_a_reset_means(code: int, error: type[HdpdError]) -> None:
    assert type(reset_error(code)) is error
