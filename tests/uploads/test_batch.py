"""Many small files for one request: what is asked for, sent, and accepted."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.downloads import feed, runner
from hdpd.errors import (
    FileUnreadable,
    HdpdError,
    PathNotFound,
    ProtocolError,
)
from hdpd.remote.reads import FileRefused, RemoteBatch, start_batch
from hdpd.shares.opening import OpenedFile, Place, open_file
from hdpd.uploads import source_batch
from hdpd.uploads.source_batch import SourceBatch
from hdpd.uploads.source_file import OpenFile
from hdpd.wire.codec import FrameReader, frame
from hdpd.wire.fields import Message
from hdpd.wire.messages import Batch, ReadStarted, Request, error_answer
from hdpd.wire.paths import RemotePath
from tests.downloads.harness import service
from tests.fake_peer import FakeFile, FakePeer, FakeSession, FakeStream

PATHS = [RemotePath.from_text(f"s/{name}") for name in "abc"]
REQUEST = Batch(((PATHS[0], 4), (PATHS[1], 0), (PATHS[2], 3)))


def head(size: int, length: int | None = None) -> bytes:
    return frame(ReadStarted(size if length is None else length, size, 7, b"v").to_wire())


# What comes


class CannedPeer(FakePeer):
    """Answers each batch with the same items."""

    def __init__(self, *items: Message | bytes | HdpdError) -> None:
        super().__init__()
        self.items = items

    async def serve(self, request: Request, stream: FakeStream) -> None:
        for item in self.items:
            await stream.put(item)


async def take(*items: Message | bytes | HdpdError) -> list[bytes | HdpdError]:
    session: FakeSession = CannedPeer(*items).session()
    counted = 0

    def count(size: int) -> None:
        nonlocal counted
        counted += size

    batch: RemoteBatch = await start_batch(session, REQUEST, lambda *_place: None, count)
    found: list[bytes | HdpdError] = []
    with batch.stream:
        for _ in REQUEST.files:
            try:
                _started, data = await batch.next()
            except FileRefused as refused:
                found.append(refused.error)
            else:
                found.append(data)
    assert counted == sum(len(each) for each in found if isinstance(each, bytes))
    return found


GOOD = head(4) + b"abcd" + head(0) + head(3) + b"xyz"


@given(st.lists(st.integers(1, len(GOOD) - 1), unique=True))
def test_wherever_the_answer_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(GOOD)]
    pieces = [GOOD[start:end] for start, end in itertools.pairwise(edges)]
    assert asyncio.run(take({"ok": True}, *pieces)) == [b"abcd", b"", b"xyz"]


async def test_one_that_cannot_be_had_is_told_in_its_place() -> None:
    refused = frame(error_answer(PathNotFound("gone")))
    found = await take({"ok": True}, head(4) + b"abcd", refused, head(3) + b"xyz")
    assert found[0] == b"abcd"
    assert isinstance(found[1], PathNotFound)
    assert found[2] == b"xyz"


async def test_of_a_file_of_another_size_nothing_comes() -> None:
    assert await take({"ok": True}, head(9, 0), head(0), head(3) + b"xyz") == [b"", b"", b"xyz"]


@pytest.mark.parametrize(
    "items",
    [
        [error_answer(FileUnreadable("no"))],
        [{"ok": True}, head(9)],  # longer than was asked for
        [{"ok": True}, head(4, 3) + b"abc"],
        [{"ok": True}, head(9, 4) + b"abcd"],
        [{"ok": True}, b"\xff\xff\xff\xff"],
        [{"ok": True}, frame({"nothing": 1})],
        [{"queued": 0}],
    ],
)
async def test_answers_that_do_not_count(items: list[Message | bytes | HdpdError]) -> None:
    with pytest.raises((ProtocolError, FileUnreadable)):
        await take(*items)


# What is sent


def opener(directory: Path) -> OpenFile:
    def opened(path: RemotePath) -> OpenedFile:
        return open_file(Place(str(directory).encode()), path.below_share)

    return opened


def answer(source: SourceBatch) -> list[tuple[int, bytes] | str]:
    """Size and bytes of each file, or the word of its error."""
    reader = FrameReader()
    while not source.is_finished:
        piece, _path, _size = source.next_piece()
        reader.feed(piece)
    found: list[tuple[int, bytes] | str] = []
    while (message := reader.next_frame()) is not None:
        if "error" in message:
            found.append(message["error"])
        else:
            started = ReadStarted.from_wire(message)
            found.append((started.size, reader.take(started.length)))
    assert not len(reader)
    return found


def test_each_file_is_whole_or_told_why_not(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcd")
    (tmp_path / "b").mkdir()
    (tmp_path / "c").write_bytes(b"longer than it was")
    source = SourceBatch(opener(tmp_path), REQUEST)
    assert answer(source) == [(4, b"abcd"), "not_a_file", (18, b"")]


def test_many_are_read_in_pieces(tmp_path: Path) -> None:
    size = source_batch.PIECE_BYTES // 4
    files = []
    for number in range(10):
        (tmp_path / str(number)).write_bytes(bytes([number]) * size)
        files.append((RemotePath.from_text(f"s/{number}"), size))
    source = SourceBatch(opener(tmp_path), Batch(tuple(files)))
    assert source.next_piece()[1:] == files[3]
    assert not source.is_finished
    assert answer(source) == [(size, bytes([number]) * size) for number in range(4, 10)]


def test_a_file_that_changes_while_it_is_read_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcd")

    def changing(path: RemotePath) -> OpenedFile:
        opened = opener(tmp_path)(path)
        (tmp_path / "a").write_bytes(b"abcd and more")
        return opened

    assert answer(SourceBatch(changing, Batch(REQUEST.files[:1]))) == ["file_changed"]


# Downloads


async def test_a_directory_of_small_files_takes_few_requests(tmp_path: Path) -> None:
    peer = FakePeer({f"s/d/{n:03}": FakeFile(b"%d" % n * 50) for n in range(200)})
    async with service(tmp_path, peer) as here:
        done = await here.get("s/d")
        assert (done["state"], done["done_files"]) == ("done", 200)
        assert done["received_bytes"] == done["done_bytes"] == done["size"]
        assert (await here.tree()) == {"d": None} | {
            f"d/{n:03}": b"%d" % n * 50 for n in range(200)
        }
    assert len(peer.batches) <= 8
    assert len(peer.reads) <= 2


async def test_in_a_batch_a_bad_file_does_not_spoil_the_rest(tmp_path: Path) -> None:
    peer = FakePeer({f"s/d/{n}": FakeFile(b"%d" % n * 50) for n in range(20)})
    peer.files["s/d/gone"] = FakeFile(b"gone")
    async with service(tmp_path, peer, connected=False) as here:
        id_ = await here.add("s/d")
        here.connect()
        await here.until(id_, lambda item: item["files"] == 21)
        del peer.files["s/d/gone"]
        ended = await here.wait(id_)
        if ended["state"] == "failed":  # else it had come before it was removed
            assert (ended["failed_files"], ended["done_files"]) == (1, 20)
            assert (await here.files(id_))["gone"]["error"]["code"] == "path_not_found"


async def test_a_file_of_another_size_than_listed_is_asked_for_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RESTART_S", 0.01)
    peer = FakePeer({f"s/d/{n}": FakeFile(b"%d" % n * 50) for n in range(5)})
    peer.files["s/d/3"].listed_size = 20
    async with service(tmp_path, peer) as here:
        done = await here.get("s/d")
        assert (done["state"], done["done_bytes"]) == ("done", 250)
        assert (await here.tree())["d/3"] == b"3" * 50
        assert (await here.files(done["id"]))["3"]["restarts"] == 1


class BreakingPeer(FakePeer):
    """Ends each batch after its first file."""

    async def _answer_batch(self, request: Batch, stream: FakeStream) -> None:
        await stream.put({"ok": True})
        (path, size), *_rest = request.files
        data = self.files[path.text].data
        await stream.put(frame(ReadStarted(size, size, 0, b"v").to_wire()) + data)
        await stream.put(FileUnreadable("the disk does not answer"))


async def test_when_a_batch_breaks_the_rest_is_asked_for_one_by_one(tmp_path: Path) -> None:
    peer = BreakingPeer({f"s/d/{n}": FakeFile(b"%d" % n * 50) for n in range(9)})
    async with service(tmp_path, peer) as here:
        done = await here.get("s/d")
        assert (done["state"], done["done_files"]) == ("done", 9)
    assert len(peer.batches) >= 1
    assert len(peer.reads) >= 7


async def test_a_batch_stays_below_all_its_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MAX_BATCH_FILES", 4)
    monkeypatch.setattr(feed, "MAX_BATCH_BYTES", 1000)
    peer = FakePeer({f"s/d/{n:03}": FakeFile(bytes(n * 13 % 700)) for n in range(100)})
    async with service(tmp_path, peer) as here:
        assert (await here.get("s/d"))["done_files"] == 100
    assert {len(batch.files) for batch in peer.batches} <= {2, 3, 4}
    assert max(batch.length for batch in peer.batches) <= 1000
