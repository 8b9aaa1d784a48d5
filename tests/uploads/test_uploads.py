"""Uploads: real files through a scripted stream, who waits, who is told, files that misbehave."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hdpd.config.peer_rules import PeerRule, PeerRules
from hdpd.database import Database
from hdpd.errors import (
    Busy,
    Cancelled,
    FileChanged,
    FileUnreadable,
    HdpdError,
    PathNotFound,
    QuotaReached,
)
from hdpd.identity.keys import PeerId
from hdpd.rates.limits import MIN_UPLOAD_SLICE, UPLOAD_SLICE_S
from hdpd.rates.shaper import BURST_S
from hdpd.rates.throttle import Throttle
from hdpd.shares.opening import OpenedFile, Place, open_file
from hdpd.uploads import lease, source_batch, source_file, uploads
from hdpd.uploads.privileges import Privileges
from hdpd.uploads.status import ActiveUpload, UploadsChanged, UploadsStatus, WaitingUpload
from hdpd.uploads.uploads import Uploads
from hdpd.wire.codec import FrameReader, frame
from hdpd.wire.fields import Message
from hdpd.wire.messages import Batch, Read, ReadStarted, ResetCode, read_ended
from hdpd.wire.paths import RemotePath
from tests.fake_peer import FakeSession
from tests.waiting import News

PIECE = source_file.PIECE_BYTES


def session_of(letter: str) -> FakeSession:
    session = FakeSession(PeerId(letter.encode() * 32))
    session.name = f"Fake{letter}"
    return session


A, B, C = (session_of(letter) for letter in "ABC")


class AnswerStream:
    """Keeps what is sent; `gate` holds the sender, as a reader does that does not read."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.ended = False
        self.reset_code: ResetCode | None = None
        self.unsent_bytes = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.activity = News()

    async def send(self, data: bytes, *, end: bool = False) -> None:
        assert not self.ended
        if self.reset_code is None:
            self.sent.append(data)
            self.activity.tell()
            await self.gate.wait()
        if self.reset_code is not None:
            raise Cancelled
        self.ended = end

    async def send_message(self, message: Message, *, end: bool = False) -> None:
        await self.send(frame(message), end=end)

    def reset(self, code: ResetCode) -> None:
        if self.reset_code is None and not self.ended:
            self.reset_code = code
            self.gate.set()
            self.activity.tell()

    async def until(self, condition: Callable[[], bool]) -> None:
        await self.activity.until(condition)

    def messages(self) -> list[Message]:
        """All frames, when nothing else was sent."""
        reader = FrameReader()
        reader.feed(b"".join(self.sent))
        messages = []
        while (message := reader.next_frame()) is not None:
            messages.append(message)
        assert not len(reader)
        return messages

    def answer(self) -> tuple[list[int], ReadStarted, bytes, bytes]:
        """The places told, the start, the bytes and the validator at the end."""
        assert self.ended
        reader = FrameReader()
        reader.feed(b"".join(self.sent))
        places = []
        while "queued" in (message := reader.next_frame() or {}):
            places.append(message["queued"])
        started = ReadStarted.from_wire(message)
        data = reader.take(started.length)
        end = read_ended(reader.next_frame() or {})
        assert not len(reader)
        return places, started, data, end


class World:
    """Uploads over a directory, with a clock that is moved by hand."""

    def __init__(self, directory: Path, count: int = 1) -> None:
        self.directory = directory
        self.now = 1000.0
        self.events: list[UploadsStatus] = []
        self.opened: list[OpenedFile] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.day = "monday"
        self.privileges = Privileges(
            Database(directory / "none.db", "state"), PeerRules(), lambda: self.day
        )
        self.throttle = Throttle(UPLOAD_SLICE_S, MIN_UPLOAD_SLICE)
        self.uploads = Uploads(
            self.open_file,
            count,
            self.throttle,
            self.emit,
            lambda: self.now,
            privileges=self.privileges,
        )

    def emit(self, event: UploadsChanged) -> None:
        self.events.append(event.uploads)

    def open_file(self, path: RemotePath) -> OpenedFile:
        self.opened.append(open_file(Place(os.fsencode(self.directory)), path.below_share))
        return self.opened[-1]

    def request(
        self, name: str, offset: int = 0, length: int = PIECE, if_match: bytes | None = None
    ) -> Read:
        return Read(RemotePath(b"share/" + os.fsencode(name)), offset, length, if_match)

    async def read(self, request: Read, session: FakeSession = A) -> AnswerStream:
        stream = AnswerStream()
        await self.uploads.answer_read(session, request, stream)
        return stream

    def begin(
        self, request: Read, session: FakeSession = A, *, stuck: bool = False
    ) -> AnswerStream:
        """A read that goes on in the background; `stuck` when its reader does not read."""
        stream = AnswerStream()
        if stuck:
            stream.gate.clear()
        answer = self.uploads.answer_read(session, request, stream)
        self.tasks.append(asyncio.create_task(answer))
        return stream

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.uploads._tick()
        if self.uploads._timer is not None:
            self.uploads._timer.cancel()

    async def finish(self) -> None:
        """Ends everything and checks that nothing was forgotten."""
        self.uploads.close()
        await asyncio.gather(*self.tasks)
        assert not self.uploads._uploads
        await asyncio.to_thread(join_disk_threads)
        assert all(file.fd == -1 for file in self.opened)


def join_disk_threads() -> None:
    while running := [thread for thread in threading.enumerate() if thread.name == "hdpd-disk"]:
        running[0].join(10)
        assert not running[0].is_alive()


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7])
async def test_whole_file(tmp_path: Path, size: int) -> None:
    world = World(tmp_path)
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    stream = await world.read(world.request("file", length=4 * PIECE))
    places, started, data, end = stream.answer()
    assert (places, data, end) == ([], content, started.validator)
    assert (started.length, started.size) == (size, size)
    assert started.mtime_ns == (tmp_path / "file").stat().st_mtime_ns
    await world.finish()


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 10, 10), (5, 10, 10), (990, 100, 10), (1000, 5, 0), (5000, 5, 0), (3, 0, 0)],
)
async def test_range(tmp_path: Path, offset: int, length: int, expected: int) -> None:
    world = World(tmp_path)
    content = os.urandom(1000)
    (tmp_path / "file").write_bytes(content)
    stream = await world.read(world.request("file", offset, length))
    _, started, data, _ = stream.answer()
    assert started.length == expected
    assert data == content[offset : offset + length]
    await world.finish()


async def test_a_batch_is_sent_file_by_file_and_shown(tmp_path: Path) -> None:
    world = World(tmp_path)
    size = source_batch.PIECE_BYTES // 3 + 1
    paths = [RemotePath(b"share/%d" % number) for number in range(10)]
    for path in paths:
        (tmp_path / path.name.text).write_bytes(path.raw[-1:] * size)
    stream = AnswerStream()
    request = Batch(tuple((path, size) for path in paths))
    await world.uploads.answer_batch(A, request, stream)
    assert stream.ended
    reader = FrameReader()
    reader.feed(b"".join(stream.sent))
    assert reader.next_frame() == {"ok": True}
    for path in paths:
        started = ReadStarted.from_wire(reader.next_frame() or {})
        assert reader.take(started.length) == path.raw[-1:] * size
    assert not len(reader)
    assert len(stream.sent) == 4
    world.uploads._tick()
    [shown] = world.events[-1].active
    assert (shown.path.text, shown.size) == ("share/9", size)
    await world.finish()


async def test_a_batch_waits_in_line_like_a_read(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(bytes(70_000))
    first = world.begin(world.request("file"), A, stuck=True)
    await first.until(lambda: len(first.sent) == 1)
    stream = AnswerStream()
    request = Batch(((world.request("file").path, 70_000), (world.request("none").path, 1)))
    task = asyncio.create_task(world.uploads.answer_batch(B, request, stream))
    await stream.until(lambda: len(stream.sent) == 1)
    world.uploads.peer_disconnected(A.peer_id)
    await task
    reader = FrameReader()
    reader.feed(b"".join(stream.sent))
    assert (reader.next_frame() or {})["queued"] == 1
    assert reader.next_frame() == {"ok": True}
    assert reader.take(ReadStarted.from_wire(reader.next_frame() or {}).length) == bytes(70_000)
    assert (reader.next_frame() or {})["error"] == "path_not_found"
    assert not len(reader)
    await world.finish()


async def test_small_file_is_one_send(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(b"small")
    stream = await world.read(world.request("file"))
    assert len(stream.sent) == 1
    await world.finish()


async def test_large_range_is_read_ahead_by_one_piece_only(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(bytes(8 * PIECE))
    stream = world.begin(world.request("file", length=8 * PIECE), stuck=True)
    await stream.until(lambda: len(stream.sent) == 1)
    assert len(stream.sent[0]) < 2 * PIECE
    stream.gate.set()
    await world.tasks[0]
    assert len(stream.answer()[2]) == 8 * PIECE
    await world.finish()


async def test_read_of_what_it_was_before(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(b"content")
    _, started, _, _ = (await world.read(world.request("file"))).answer()
    again = world.request("file", if_match=started.validator)
    assert (await world.read(again)).answer()[2] == b"content"
    (tmp_path / "file").write_bytes(b"other content")
    with pytest.raises(FileChanged):
        await world.read(again)
    await world.finish()


async def test_a_file_written_in_place_is_another_one_though_size_and_time_are_kept(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    path = tmp_path / "file"
    path.write_bytes(b"content")
    os.utime(path, ns=(10**18, 10**18))
    _, started, _, _ = (await world.read(world.request("file"))).answer()
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(10**18, 10**18))
    with pytest.raises(FileChanged):
        await world.read(world.request("file", if_match=started.validator))
    await world.finish()


async def test_missing_file_is_an_answer(tmp_path: Path) -> None:
    world = World(tmp_path)
    stream = AnswerStream()
    with pytest.raises(PathNotFound):
        await world.uploads.answer_read(A, world.request("nothing"), stream)
    assert stream.sent == []
    await world.finish()


async def test_missing_file_is_an_answer_after_waiting_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(b"content")
    first = world.begin(world.request("file"), stuck=True)
    await first.until(lambda: len(first.sent) == 1)
    second = world.begin(world.request("nothing"), B)
    await second.until(lambda: len(second.sent) == 1)
    first.gate.set()
    await world.tasks[0]
    world.pass_time(lease.IDLE_S)
    await world.tasks[1]
    assert [list(message) for message in second.messages()] == [
        ["queued", "eta"],
        ["error", "message"],
    ]
    assert second.messages()[1]["error"] == "path_not_found"
    assert second.ended
    await world.finish()


async def start_large(world: World) -> AnswerStream:
    (world.directory / "file").write_bytes(bytes(6 * PIECE))
    stream = world.begin(world.request("file", length=6 * PIECE), stuck=True)
    await stream.until(lambda: len(stream.sent) == 1)
    return stream


async def outcome(world: World, stream: AnswerStream) -> type[BaseException]:
    stream.gate.set()
    with pytest.raises(HdpdError) as caught:
        await world.tasks.pop()
    assert not stream.ended
    await world.finish()
    return caught.type


async def test_file_that_shrinks_while_it_is_sent(tmp_path: Path) -> None:
    world = World(tmp_path)
    stream = await start_large(world)
    os.truncate(tmp_path / "file", 3 * PIECE)
    assert await outcome(world, stream) is FileChanged


async def test_file_that_is_changed_while_it_is_sent(tmp_path: Path) -> None:
    world = World(tmp_path)
    stream = await start_large(world)
    os.utime(tmp_path / "file", (1, 1))
    assert await outcome(world, stream) is FileChanged


async def test_file_that_is_removed_while_it_is_sent_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    stream = await start_large(world)
    (tmp_path / "file").unlink()
    stream.gate.set()
    await world.tasks[0]
    assert len(stream.answer()[2]) == 6 * PIECE
    await world.finish()


async def test_disk_error_while_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    stream = await start_large(world)

    pread = os.pread

    def broken(fd: int, size: int, offset: int) -> bytes:
        if size == PIECE:
            raise OSError(5, "Input/output error")
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", broken)
    assert await outcome(world, stream) is FileUnreadable


async def test_disk_that_does_not_answer(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(b"content")
    gate = threading.Event()
    entered = threading.Event()
    open_now = world.open_file

    def hang(path: RemotePath) -> OpenedFile:
        entered.set()
        assert gate.wait(30)
        return open_now(path)

    world.uploads._open_file = hang
    task = asyncio.create_task(world.uploads.answer_read(A, world.request("file"), AnswerStream()))
    await asyncio.to_thread(entered.wait, 10)
    world.pass_time(uploads.DISK_S)
    with pytest.raises(FileUnreadable, match="does not answer"):
        await task
    gate.set()
    await world.finish()  # the file that was opened too late is closed


async def test_places_are_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(b"content")
    first = world.begin(world.request("file"), A, stuck=True)
    await first.until(lambda: len(first.sent) == 1)
    second = world.begin(world.request("file"), B)
    third = world.begin(world.request("file"), C)
    await third.until(lambda: len(third.sent) == 1)
    path = RemotePath.from_text("share/file")
    assert world.uploads.status() == UploadsStatus(
        active=(ActiveUpload(A.peer_id, "FakeA", path, offset=0, size=7, rate=0),),
        waiting=(
            WaitingUpload(B.peer_id, B.name, path, position=1),
            WaitingUpload(C.peer_id, C.name, path, position=2),
        ),
    )
    first.gate.set()
    await world.tasks[0]
    world.pass_time(lease.IDLE_S)
    await third.until(lambda: len(third.sent) == 2)
    await world.tasks[1]
    world.pass_time(lease.IDLE_S)
    await asyncio.gather(*world.tasks)
    assert second.answer()[0] == [1]
    assert third.answer()[0] == [2, 1]
    await world.finish()


async def test_waiting_peer_that_goes_away_loses_its_place(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(b"content")
    first = world.begin(world.request("file"), A, stuck=True)
    await first.until(lambda: len(first.sent) == 1)
    second = world.begin(world.request("file"), B)
    await second.until(lambda: len(second.sent) == 1)
    world.uploads.peer_disconnected(B.peer_id)
    assert not world.uploads.status().waiting
    await world.tasks[1]
    await world.finish()


async def test_reader_that_does_not_read_loses_its_slot(tmp_path: Path) -> None:
    world = World(tmp_path)
    stuck = await start_large(world)
    stuck.unsent_bytes = PIECE
    second = world.begin(world.request("file"), B)
    await second.until(lambda: len(second.sent) == 1)
    world.pass_time(lease.STALL_S - 1)
    stuck.unsent_bytes = PIECE // 2  # it was only slow
    world.pass_time(0.5)
    world.pass_time(lease.STALL_S - 1)
    assert stuck.reset_code is None
    world.pass_time(1)
    assert stuck.reset_code == ResetCode.SLOT_LOST
    await asyncio.gather(*world.tasks)
    assert second.answer()[0] == [1]
    await world.finish()


async def test_slot_is_held_until_the_bytes_have_left(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(bytes(PIECE))
    first = world.begin(world.request("file"), A)
    first.unsent_bytes = PIECE
    await first.until(lambda: first.ended or bool(first.sent))
    second = world.begin(world.request("file"), B)
    await second.until(lambda: len(second.sent) == 1)
    world.pass_time(lease.IDLE_S + 1)
    assert len(second.sent) == 1
    first.unsent_bytes = 0
    await world.tasks[0]
    world.pass_time(lease.IDLE_S)
    await world.tasks[1]
    await world.finish()


async def test_owner_cancels_a_peer(tmp_path: Path) -> None:
    world = World(tmp_path)
    stream = await start_large(world)
    waiting = world.begin(world.request("file"), B)
    await waiting.until(lambda: len(waiting.sent) == 1)
    world.uploads.cancel(A.peer_id)
    assert stream.reset_code == ResetCode.CANCELLED
    await asyncio.gather(*world.tasks)
    assert waiting.ended
    with pytest.raises(Busy):
        await world.read(world.request("file"))
    await world.finish()


async def test_closing_ends_everything(tmp_path: Path) -> None:
    world = World(tmp_path)
    stream = await start_large(world)
    waiting = world.begin(world.request("file"), B)
    await waiting.until(lambda: len(waiting.sent) == 1)
    world.uploads.close()
    assert (stream.reset_code, waiting.reset_code) == (ResetCode.SHUTTING_DOWN,) * 2
    with pytest.raises(Busy):
        await world.read(world.request("file"))
    await world.finish()


async def test_rates_are_measured_and_changes_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    stream = await start_large(world)
    stream.unsent_bytes = len(stream.sent[0])
    world.pass_time(0.5)
    stream.unsent_bytes -= 100_000
    world.pass_time(0.5)
    path = RemotePath.from_text("share/file")
    assert world.events[-1].active == (
        ActiveUpload(A.peer_id, "FakeA", path, offset=100_000, size=6 * PIECE, rate=200_000),
    )
    stream.unsent_bytes = 0
    stream.gate.set()
    await world.tasks[0]
    world.pass_time(lease.IDLE_S)
    assert world.events[-1] == UploadsStatus()
    assert world.uploads._timer is None or not world.uploads._slots.is_used
    await world.finish()


async def test_a_quota_holds_for_the_day(tmp_path: Path) -> None:
    world = World(tmp_path, count=2)
    (tmp_path / "file").write_bytes(bytes(1000))
    own = PeerRule(B.peer_id.text[:8], quota="1MB")
    world.privileges.rules = PeerRules((own,), quota=1500)
    for _ in range(2):  # what has begun is sent to its end
        await world.read(world.request("file"), A)
    with pytest.raises(QuotaReached, match=r"the daily quota of 1.5 kB is used up; it goes on at"):
        await world.read(world.request("file"), A)
    for _ in range(3):
        await world.read(world.request("file"), B)
    world.day = "tuesday"
    await world.read(world.request("file"), A)
    await world.finish()


async def test_a_favourite_goes_first_and_places_come_with_a_guess(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(b"content")
    world.privileges.rules = PeerRules((PeerRule(C.peer_id.text, favourite=True),))
    first = world.begin(world.request("file"), A, stuck=True)
    await first.until(lambda: len(first.sent) == 1)
    second = world.begin(world.request("file"), B)
    await second.until(lambda: len(second.sent) == 1)
    third = world.begin(world.request("file"), C)
    await third.until(lambda: len(third.sent) == 1)
    await second.until(lambda: len(second.sent) == 2)
    assert third.messages() == [{"queued": 1, "eta": 10}]
    assert second.messages() == [{"queued": 1, "eta": 10}, {"queued": 2, "eta": 20}]
    first.gate.set()
    await world.tasks[0]
    world.pass_time(lease.IDLE_S)
    await world.tasks[2]
    world.pass_time(lease.IDLE_S)
    await world.tasks[1]
    await world.finish()


async def test_what_was_sent_today_outlives_a_restart(tmp_path: Path) -> None:
    day = "monday"
    database = Database(tmp_path / "state.db", "state")
    await database.open()
    rules = PeerRules(quota=100)
    before = Privileges(database, rules, lambda: day)
    await before.start()
    before.sent(A.peer_id, 100)
    before.sent(B.peer_id, 99)
    await before.close()
    after = Privileges(database, rules, lambda: day)
    await after.start()
    with pytest.raises(QuotaReached):
        after.check_quota(A.peer_id)
    after.check_quota(B.peer_id)
    day = "tuesday"
    after.check_quota(A.peer_id)
    after.sent(B.peer_id, 1)
    await after.close()
    rows = await database.read(lambda t: list(t.execute("SELECT day, bytes FROM sent_today")))
    assert rows == [("tuesday", 1)]
    await database.close()


async def test_limited_read_is_sent_in_slices(tmp_path: Path) -> None:
    world = World(tmp_path)
    content = os.urandom(100_000)
    (tmp_path / "file").write_bytes(content)
    world.throttle.set_rates(1_000_000, None, lan=False)
    began = asyncio.get_running_loop().time()
    stream = await world.read(world.request("file", length=100_000))
    assert asyncio.get_running_loop().time() - began > 0.1 - BURST_S / 2
    assert max(map(len, stream.sent)) < 25_000
    assert stream.answer()[2] == content
    await world.finish()


async def test_peer_on_the_local_network_is_not_limited(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(bytes(100_000))
    world.throttle.set_rates(10_000, None, lan=False)
    near = session_of("N")
    near.on_lan = True
    stream = world.begin(world.request("file", length=100_000), near)
    await world.tasks[0]
    assert len(stream.sent) == 1
    await world.finish()


async def test_limit_that_is_taken_away_lets_the_rest_go_at_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(bytes(3 * PIECE))
    world.throttle.set_rates(10_000, None, lan=False)
    stream = world.begin(world.request("file", length=3 * PIECE))
    await stream.until(lambda: len(stream.sent) == 3)
    world.throttle.set_rates(None, None, lan=False)
    await world.tasks[0]
    assert len(stream.sent) < 8
    await world.finish()


async def test_reads_that_are_given_up_leave_nothing_behind(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(bytes(PIECE))
    world.throttle.set_rates(10_000, None, lan=False)
    for _ in range(10):
        world.begin(world.request("file", length=PIECE))
    await asyncio.sleep(BURST_S)
    for task in world.tasks:
        task.cancel()
    await asyncio.wait(world.tasks)
    world.tasks.clear()
    assert world.throttle._waiting == {}
    world.throttle.close()
    await world.finish()


async def test_our_own_limit_is_not_held_against_the_reader(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "file").write_bytes(bytes(PIECE))
    world.throttle.set_rates(10_000, None, lan=False)
    slow = world.begin(world.request("file", length=PIECE))
    await slow.until(lambda: len(slow.sent) == 1)
    waiting = world.begin(world.request("file"), B)
    await waiting.until(lambda: len(waiting.sent) == 1)
    for _ in range(3):
        world.pass_time(lease.STALL_S - 1)
    assert slow.reset_code is None
    world.throttle.set_rates(None, None, lan=False)
    await world.tasks[0]
    world.pass_time(lease.IDLE_S)
    await world.tasks[1]
    await world.finish()
