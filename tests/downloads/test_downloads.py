"""The download service against a fake peer: what arrives, under which name, and what is told."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hdpd.backoff import Backoff
from hdpd.downloads import runner, scheduler, volumes
from hdpd.downloads.partial import IOV_MAX, PartialFile
from hdpd.downloads.ranges import MAX_UNRECORDED
from hdpd.downloads.space import Room
from hdpd.downloads.turns import AT_ONCE
from hdpd.errors import (
    Busy,
    DiskFull,
    DownloadNotFound,
    FileUnreadable,
    HdpdError,
    InvalidParams,
    NoCommonTopic,
    PathInvalid,
    PathNotFound,
    QuotaReached,
    SlotLost,
)
from hdpd.identity.keys import PeerId
from hdpd.rates.limits import DOWNLOAD_SLICE_S
from hdpd.wire.messages import Entry, EntryType, Read
from hdpd.wire.paths import RemotePath, text_from_bytes
from tests.downloads.harness import service
from tests.fake_peer import MTIME_NS, FakeFile, FakePeer, FakeStream, Gate
from tests.waiting import WAIT_S, until

MIB = 1024 * 1024


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes of which no two MiB are alike."""
    block = random.Random(seed).randbytes(min(size, MIB))
    pieces = (b"%016d" % at + block[16:] for at in range(0, size, MIB))
    return b"".join(pieces)[:size] if size > 16 else block


async def test_a_directory_arrives_as_it_is(tmp_path: Path) -> None:
    odd = text_from_bytes(b"caf\xe9\xff")
    long = "n" * 250
    files = {
        "empty": b"",
        "hello world.txt": b"hello",
        "-rf": b"dash",
        "new\nline": b"n",
        "😀/😀": b"emoji",
        odd: b"odd",
        f"deep/{odd}/file": noise(70_000),
        long: noise(3 * MIB),
    }
    peer = FakePeer({f"media/tree/{name}": FakeFile(data) for name, data in files.items()})
    peer.directories |= {"media/tree/empty directory", "media/tree/a/b"}
    async with service(tmp_path, peer) as here:
        done = await here.get("media/tree")
        assert done["state"] == "done"
        assert (done["type"], done["files"], done["done_files"]) == ("directory", 8, 8)
        total = sum(map(len, files.values()))
        assert done["size"] == done["done_bytes"] == done["received_bytes"] == total

        root = os.fsencode(here.root / "tree")
        for name, data in files.items():
            path = root + b"/" + RemotePath.from_text(name).raw
            assert Path(os.fsdecode(path)).read_bytes() == data
            assert Path(os.fsdecode(path)).stat().st_mtime_ns == MTIME_NS
        assert (here.root / "tree/empty directory").is_dir()
        assert (here.root / "tree/a/b").is_dir()
        assert not list(here.root.rglob("*.part"))
        shown = await here.files(done["id"])
        assert shown[long]["state"] == "done"
        assert shown["empty directory"]["type"] == "directory"


@pytest.mark.parametrize("size", [0, 1, 1000, MIB, MIB + 1, 9 * MIB + 12345])
async def test_a_single_file_of_any_size(tmp_path: Path, size: int) -> None:
    data = noise(size)
    peer = FakePeer({"media/film.mkv": FakeFile(data)})
    async with service(tmp_path, peer) as here:
        done = await here.get("media/film.mkv", to="films/new/")
        assert (done["state"], done["type"], done["size"]) == ("done", "file", size)
        assert done["to"] == "films/new"
        assert (await here.tree())["films/new/film.mkv"] == data
        assert (here.root / "films/new/film.mkv").stat().st_mtime_ns == MTIME_NS


async def test_sparse_files_stay_sparse(tmp_path: Path) -> None:
    data = noise(MIB) + bytes(20 * MIB)
    peer = FakePeer({"media/image": FakeFile(data)})
    async with service(tmp_path, peer) as here:
        await here.get("media/image")
        path = here.root / "image"
        assert path.read_bytes() == data
        assert path.stat().st_blocks * 512 < 4 * MIB


async def test_what_is_there_already_is_not_fetched(tmp_path: Path) -> None:
    peer = FakePeer({"s/d/small": FakeFile(b"1"), "s/d/large": FakeFile(noise(5 * MIB))})
    async with service(tmp_path, peer) as here:
        await here.get("s/d")
        asked = len(peer.reads)
        again = await here.get("s/d")
        assert (again["state"], again["done_files"], again["received_bytes"]) == ("done", 2, 0)
        assert again["done_bytes"] == again["size"]
        assert len(peer.reads) == asked

        single = await here.get("s/d/large", to="d")
        assert single["state"] == "done"
        assert single["received_bytes"] < 2 * MIB
        assert sorted(await here.tree()) == ["d", "d/large", "d/small"]


async def test_different_files_of_the_same_name_are_kept(tmp_path: Path) -> None:
    peer = FakePeer({"s/notes.txt": FakeFile(b"theirs")})
    async with service(tmp_path, peer) as here:
        here.root.mkdir()
        (here.root / "notes.txt").write_bytes(b"mine")
        first = await here.get("s/notes.txt")
        assert (await here.files(first["id"]))[""]["saved_as"] == "notes (2).txt"
        peer.files["s/notes.txt"] = FakeFile(b"newest", MTIME_NS + 10**10)
        await here.get("s/notes.txt")
        await here.get("s/notes.txt")
        assert (await here.tree()) == {
            "notes.txt": b"mine",
            "notes (2).txt": b"theirs",
            "notes (3).txt": b"newest",
        }


async def test_two_downloads_into_one_place(tmp_path: Path) -> None:
    large = noise(6 * MIB)
    ann = FakePeer({"s/x": FakeFile(large), "t/x": FakeFile(b"other", 10**18)})
    async with service(tmp_path, ann, connected=False) as here:
        ids = [await here.add("s/x"), await here.add("s/x"), await here.add("t/x")]
        assert ids[0] == ids[1] != ids[2]
        here.connect()
        for id_ in ids:
            assert (await here.wait(id_))["state"] == "done"
        assert sorted(await here.tree()) == ["x", "x (2)"]
        assert sorted(map(len, filter(None, (await here.tree()).values()))) == [5, 6 * MIB]


async def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    peer = FakePeer({"s/d/evil/file": FakeFile(b"x"), "s/d/fine": FakeFile(b"y")})
    async with service(tmp_path, peer) as here:
        (here.root / "d").mkdir(parents=True)
        (here.root / "d/evil").symlink_to(outside)
        failed = await here.get("s/d")
        assert failed["state"] == "failed"
        assert failed["error"]["code"] == "storage_error"
        assert "symbolic link" in failed["error"]["message"]
        assert not list(outside.iterdir())
        assert (here.root / "d/fine").read_bytes() == b"y"

        (here.root / "link").symlink_to(outside)
        assert (await here.get("s/d/fine", to="link"))["state"] == "failed"
        assert not list(outside.iterdir())


@pytest.mark.parametrize("to", ["..", "/etc", "a/../../b", "a//b", "nul\0", "x/.", "e" * 300])
async def test_to_never_leads_out(tmp_path: Path, to: str) -> None:
    async with service(tmp_path, FakePeer()) as here:
        with pytest.raises(PathInvalid, match="below the download directory"):
            await here.add("s/x", to=to)
        assert (await here.list())["downloads"] == []


async def test_a_hostile_listing_harms_nobody(tmp_path: Path) -> None:
    peer = FakePeer({"s/d/twice": FakeFile(b"file"), "s/d/twice/inner": FakeFile(b"inner")})
    peer.files["s/d/Case"] = FakeFile(b"1")
    peer.files["s/d/case"] = FakeFile(b"2")
    peer.files["s/d/grew"] = FakeFile(noise(3 * MIB), listed_size=10)
    peer.files["s/d/shrank"] = FakeFile(b"few", listed_size=50 * MIB)
    peer.files["s/d/tiny"] = FakeFile(b"few", listed_size=500)
    async with service(tmp_path, peer) as here:
        ended = await here.get("s/d")
        tree = await here.tree()
        assert tree["d/Case"] == b"1"
        assert tree["d/case"] == b"2"
        assert tree["d/grew"] == noise(3 * MIB)
        assert tree["d/shrank"] == tree["d/tiny"] == b"few"
        assert tree["d/twice/inner"] == b"inner"
        assert tree["d/twice (2)"] == b"file"
        assert ended["state"] == "done"
        assert ended["size"] == ended["done_bytes"] == 3 * MIB + 3 + 3 + 4 + 5 + 2


async def test_listed_names_that_lead_out_are_left_out(tmp_path: Path) -> None:
    peer = FakePeer({"s/d/fine": FakeFile(b"y")})

    class Evil(RemotePath, frozen=True):
        def __post_init__(self) -> None:
            """Lets everything pass."""

    peer.extra = [
        Entry(Evil(name), EntryType.FILE, 1, MTIME_NS, 1)
        for name in (b"../out", b"/etc/out", b"a/../../out", b"nul\0", b"", b"a//b")
    ]
    async with service(tmp_path, peer) as here:
        done = await here.get("s/d")
        assert (done["state"], done["files"]) == ("done", 1)
        assert sorted(await here.tree()) == ["d", "d/fine"]


async def test_a_peer_that_is_away(tmp_path: Path) -> None:
    peer = FakePeer({"s/f": FakeFile(b"x")})
    async with service(tmp_path, peer, connected=False) as here:
        id_ = await here.add("s/f")
        assert (await here.shown(id_))["state"] == "waiting_for_peer"
        here.connect()
        assert (await here.wait(id_))["state"] == "done"


async def test_a_peer_that_sends_crumbs_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece has its overhead, so they are written before there are many."""
    data = noise(1280 * 1024)
    peer = FakePeer({"s/f": FakeFile(data)}, chunk=200)
    most = 0
    write = PartialFile.write

    def counted(self: PartialFile, chunks: Sequence[bytes], offset: int, *, fresh: bool) -> None:
        nonlocal most
        most = max(most, len(chunks))
        write(self, chunks, offset, fresh=fresh)

    monkeypatch.setattr(PartialFile, "write", counted)
    async with service(tmp_path, peer) as here:
        assert (await here.get("s/f"))["state"] == "done"
        assert (await here.tree()) == {"f": data}
    assert 1 < most <= IOV_MAX


async def test_a_lost_connection_costs_nothing_that_has_come(tmp_path: Path) -> None:
    data = await asyncio.to_thread(noise, 40 * MIB)
    peer = FakePeer({"s/f": FakeFile(data)})
    gate = Gate(peer, 0)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/f")
        for part in (1, 2, 3):
            gate.open(8 * MIB)
            await here.received(id_, part * 8 * MIB)
            here.lose()
            assert (await here.wait(id_, "waiting_for_peer"))["error"] is None
            here.connect()
        gate.open()
        done = await here.wait(id_)
        assert (await here.tree())["f"] == data
        assert done["received_bytes"] < 40 * MIB + 100
        assert len({(r.offset, r.if_match) for r in peer.reads if r.if_match}) > 3


async def test_a_connection_that_keeps_breaking_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "LOST", Backoff(0.01, 30.0))
    peer = FakePeer({"s/f": FakeFile(b"x")})
    losses = 3

    async def lose(_request: Read, stream: FakeStream) -> bool:
        nonlocal losses
        losses -= 1
        if losses >= 0:
            stream.lose()
            return True
        return False

    peer.on_read = lose
    async with service(tmp_path, peer) as here:
        assert (await here.get("s/f"))["state"] == "done"
        assert losses == -1


async def test_after_a_crash_only_the_tail_is_fetched_again(tmp_path: Path) -> None:
    data = await asyncio.to_thread(noise, 80 * MIB)
    peer = FakePeer({"s/d/f": FakeFile(data), "s/d/a": FakeFile(b"a")})
    gate = Gate(peer, 60 * MIB)
    async with service(tmp_path / "first", peer) as here:
        id_ = await here.add("s/d")
        await here.received(id_, 59 * MIB)
        await asyncio.to_thread(here.crashed_copy, tmp_path / "second")
    gate.open()
    async with service(tmp_path / "second", peer, connected=False) as here:
        there = (await here.shown(id_))["done_bytes"]
        assert there > 1
        peer.reads.clear()
        here.connect()
        done = await here.wait(id_)
        assert done["state"] == "done"
        assert await asyncio.to_thread((here.root / "d/f").read_bytes) == data
        assert done["done_bytes"] == len(data) + 1
        assert sum(read.length for read in peer.reads) == len(data) + 1 - there
        assert 80 * MIB - there <= 20 * MIB + 48 * MIB


async def test_no_more_than_a_crash_may_cost_is_ever_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that does not get on holds up the asking, for one file as for several."""
    syncing = threading.Event()
    monkeypatch.setattr(PartialFile, "sync", lambda _: syncing.wait(WAIT_S))
    data = await asyncio.to_thread(noise, 70 * MIB)
    ann = FakePeer({"s/f": FakeFile(data)})
    bob = FakePeer({"s/g": FakeFile(data)}, peer_id=PeerId(bytes(31) + b"\x02"))
    async with service(tmp_path, ann, bob) as here:
        ids = [await here.add("s/f", peer=ann), await here.add("s/g", peer=bob)]
        queued = here.downloads._scheduler.queue.get(ids[0])
        assert queued is not None
        disk = here.downloads._scheduler.room.volumes.of(queued).disk
        await until(lambda: disk.window.used > MAX_UNRECORDED - 6 * MIB)
        await asyncio.sleep(0.1)
        received = [(await here.shown(id_))["received_bytes"] for id_ in ids]
        assert sum(received) <= disk.window.used <= MAX_UNRECORDED
        assert sum(read.length for read in ann.reads + bob.reads) <= MAX_UNRECORDED
        syncing.set()
        for id_ in ids:
            assert (await here.wait(id_))["state"] == "done"
        assert disk.window.used == 0
        assert (await here.tree()) == {"f": data, "g": data}


async def test_a_stop_costs_no_more_than_what_was_under_way(tmp_path: Path) -> None:
    data = await asyncio.to_thread(noise, 64 * MIB)
    peer = FakePeer({"s/f": FakeFile(data)})
    gate = Gate(peer, 48 * MIB)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/f")
        await here.received(id_, 48 * MIB)
        [volume] = here.downloads._scheduler.room.volumes.all.values()
        for _ in range(3):  # a slow disk may be far behind, and what is not on it is lost as well
            await volume.disk.submit(int)
    gate.open()
    async with service(tmp_path, peer) as here:
        assert (await here.wait(id_))["state"] == "done"
        assert (await here.tree())["f"] == data
        # Three ranges of 4 MiB, one that was begun as they came in, and what came out of order.
        assert (await here.shown(id_))["received_bytes"] < 64 * MIB + 24 * MIB


BEFORE_THE_FIRST_RANGE = 256 * 1024  # has come in full: nothing is recorded, or verified


@pytest.mark.parametrize("size", [BEFORE_THE_FIRST_RANGE, 10 * MIB])
async def test_what_came_of_another_version_is_dropped(tmp_path: Path, size: int) -> None:
    peer = FakePeer({"s/f": FakeFile(noise(20 * MIB))})
    gate = Gate(peer, size)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/f")
        await here.received(id_, size)
        await here.downloads.pause([id_])
        peer.files["s/f"] = FakeFile(noise(20 * MIB, 2), MTIME_NS + 1)
        gate.open()
        await here.downloads.resume([id_])
        assert (await here.wait(id_))["state"] == "done"
        assert (await here.tree())["f"] == noise(20 * MIB, 2)


@pytest.mark.parametrize("size", [BEFORE_THE_FIRST_RANGE, 10 * MIB])
async def test_a_damaged_partial_file_starts_anew(tmp_path: Path, size: int) -> None:
    data = noise(20 * MIB)
    peer = FakePeer({"s/f": FakeFile(data)})
    gate = Gate(peer, size)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/f")
        await here.received(id_, size)
        await here.downloads.pause([id_])
        (partial,) = here.root.glob("*.part")
        os.truncate(partial, 1000)
        gate.open()
        await here.downloads.resume([id_])
        done = await here.wait(id_)
        assert (done["state"], done["done_bytes"]) == ("done", 20 * MIB)
        assert (await here.tree())["f"] == data


async def test_what_could_not_be_written_when_the_line_broke_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = noise(20 * MIB)
    peer = FakePeer({"s/f": FakeFile(data)})
    gate = Gate(peer, BEFORE_THE_FIRST_RANGE)
    failures = 0
    write = PartialFile.write

    def fail(self: PartialFile, chunks: Sequence[bytes], offset: int, *, fresh: bool) -> None:
        nonlocal failures
        failures += 1
        end = offset + sum(map(len, chunks))
        write(self, [b"\0"], end - 1, fresh=fresh)  # the file is as long as it should be
        raise DiskFull("no room")

    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/f")
        await here.received(id_, BEFORE_THE_FIRST_RANGE)
        with monkeypatch.context() as full:
            full.setattr(PartialFile, "write", fail)
            here.lose()
            await here.wait(id_, "waiting_for_peer")
            await until(lambda: failures, "the write of what came before the line broke")
        assert failures == 1
        gate.open()
        here.connect()
        done = await here.wait(id_)
        assert (done["state"], done["done_bytes"]) == ("done", 20 * MIB)
        assert (await here.tree())["f"] == data


async def test_a_listing_goes_on_after_a_restart(tmp_path: Path) -> None:
    files = {f"s/d/{n:04}": FakeFile(b"%d" % n) for n in range(1000)}
    peer = FakePeer(files, page=100)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/d")
        await until(lambda: peer.listings >= 3)
        here.lose()
        await here.wait(id_, "waiting_for_peer")
    listings = peer.listings
    async with service(tmp_path, peer) as here:
        done = await here.wait(id_)
        assert (done["files"], done["done_files"]) == (1000, 1000)
        assert len(list((here.root / "d").iterdir())) == 1000
    assert peer.listings <= 10 + 2 + (listings < 10)


class Line:
    """Puts all reads in a line until the turn comes."""

    def __init__(self, peer: FakePeer) -> None:
        self.turn = asyncio.Event()
        self.waiting = 0
        self.most = 0
        peer.on_read = self

    async def __call__(self, request: Read, stream: FakeStream) -> bool:
        if not self.turn.is_set():
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            try:
                await stream.put({"queued": 7})
                await stream.put({"queued": 3, "eta": 40})
                await self.turn.wait()
            finally:
                self.waiting -= 1
        return False


async def test_waiting_in_the_peers_line(tmp_path: Path) -> None:
    peer = FakePeer({f"s/d/{n}": FakeFile(noise(1000, n)) for n in range(100)})
    line = Line(peer)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/d")
        waiting = await here.until(id_, lambda item: item["queue_position"] == 3)
        assert (waiting["state"], waiting["queue_eta"]) == ("remote_queued", 40)
        line.turn.set()
        done = await here.wait(id_)
        assert (done["done_files"], done["queue_position"], done["queue_eta"]) == (100, None, None)
        assert line.most == 1
        assert here.sessions[peer.peer_id].most_streams > 10


async def test_losing_the_slot_in_the_middle(tmp_path: Path) -> None:
    peer = FakePeer({f"s/d/{n}": FakeFile(noise(1000, n)) for n in range(300)}, latency=0.001)
    line = Line(peer)
    line.turn.set()
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/d")
        await here.received(id_, 20_000)
        line.turn.clear()
        await here.wait(id_, "remote_queued")
        await until(lambda: line.waiting == 1)
        line.turn.set()
        assert (await here.wait(id_))["done_files"] == 300


async def test_one_bad_file_does_not_spoil_the_rest(tmp_path: Path) -> None:
    peer = FakePeer({f"s/d/{n}": FakeFile(noise(1000, n)) for n in range(20)})
    peer.files["s/d/large"] = FakeFile(noise(10 * MIB))
    bad = {"s/d/3", "s/d/large"}

    async def refuse(request: Read, _stream: FakeStream) -> bool:
        if request.path.text in bad and request.offset < 8 * MIB:
            raise FileUnreadable("permission denied")
        return False

    peer.on_read = refuse
    async with service(tmp_path, peer) as here:
        failed = await here.get("s/d")
        assert (failed["state"], failed["failed_files"], failed["done_files"]) == ("failed", 2, 19)
        assert failed["error"]["code"] == "file_unreadable"
        assert "2 of 21 files failed" in failed["error"]["message"]
        files = await here.files(failed["id"])
        assert files["3"]["error"] == {"code": "file_unreadable", "message": "permission denied"}

        bad.clear()
        await here.downloads.retry([failed["id"]])
        done = await here.wait(failed["id"])
        assert (done["state"], done["failed_files"], done["done_files"]) == ("done", 0, 21)
        assert (here.root / "d/large").read_bytes() == noise(10 * MIB)
        assert done["done_bytes"] == done["size"]


async def test_all_that_is_asked_for_is_looked_at_before_it_is_queued(tmp_path: Path) -> None:
    peer = FakePeer({f"s/d{n}/f": FakeFile(b"x") for n in range(100)})
    there = [RemotePath.from_text(f"s/d{n}") for n in range(100)]
    async with service(tmp_path, peer) as here:
        await here.downloads.make_sure_they_are_there(peer.peer_id, there)
        with pytest.raises(PathNotFound):
            await here.downloads.make_sure_they_are_there(
                peer.peer_id, [*there, RemotePath.from_text("s/elsewhere")]
            )
        here.lose()  # nobody can tell
        await here.downloads.make_sure_they_are_there(peer.peer_id, [RemotePath.from_text("s/e")])


async def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    async with service(tmp_path, FakePeer()) as here:
        failed = await here.get("s/nothing")
        assert failed["state"] == "failed"
        assert failed["error"]["code"] == "path_not_found"


@pytest.mark.parametrize("size", [1000, 20 * MIB])
async def test_a_file_that_changes_is_started_anew(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RESTART_S", 0.01)
    peer = FakePeer({"s/d/f": FakeFile(noise(size))}, latency=0.001)
    changes = 2

    async def change(request: Read, offset: int) -> None:
        nonlocal changes
        if changes and (offset > 10 * MIB or size == 1000):
            changes -= 1
            peer.files["s/d/f"] = FakeFile(noise(size, changes), MTIME_NS + changes)

    peer.before_chunk = change
    async with service(tmp_path, peer) as here:
        done = await here.get("s/d")
        assert (done["state"], done["done_bytes"]) == ("done", size)
        assert (await here.tree())["d/f"] == noise(size, 0)
        assert (await here.files(done["id"]))["f"]["restarts"] in (1, 2)


async def test_a_file_that_never_stops_changing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RESTART_S", 0.01)
    peer = FakePeer({"s/d/log": FakeFile(noise(3 * MIB)), "s/d/other": FakeFile(b"fine")})
    changes = 0

    async def change(request: Read, offset: int) -> None:
        nonlocal changes
        if request.path.text.endswith("log"):
            changes += 1
            peer.files["s/d/log"] = FakeFile(noise(3 * MIB), MTIME_NS + changes)

    peer.before_chunk = change
    async with service(tmp_path, peer) as here:
        failed = await here.get("s/d")
        assert failed["error"]["code"] == "file_changed"
        assert (failed["done_files"], failed["failed_files"]) == (1, 1)
        assert failed["done_bytes"] == 4


async def test_a_peer_that_breaks_the_protocol(tmp_path: Path) -> None:
    peer = FakePeer({"s/d/a": FakeFile(b"12345"), "s/d/b": FakeFile(b"fine")})

    async def nonsense(request: Read, stream: FakeStream) -> bool:
        if request.path.text == "s/d/a":
            await stream.put({"ok": True, "length": 4, "size": 5, "mtime": 0, "validator": b"v"})
            return True
        return False

    peer.on_read = nonsense
    async with service(tmp_path, peer) as here:
        failed = await here.get("s/d")
        assert failed["error"]["code"] == "protocol_error"
        assert failed["done_files"] == 1


def full_disk(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Lets writing fail while the list says True."""
    full = [True]
    pwritev, write = os.pwritev, os.write

    def failing_pwritev(*arguments: Any) -> int:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwritev(*arguments)

    def failing_write(descriptor: int, data: bytes) -> int:
        if full[0] and len(data) == 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "pwritev", failing_pwritev)
    monkeypatch.setattr(os, "write", failing_write)
    monkeypatch.setattr(scheduler, "ROOM_S", 0.02)
    room = {True: Room(10**8, 10**9), False: Room(10**9, 10**9)}
    monkeypatch.setattr(volumes, "free_room", lambda _: room[full[0]])
    return full


@pytest.mark.parametrize("size", [1000, 6 * MIB])
async def test_a_full_disk_pauses_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    full = full_disk(monkeypatch)
    peer = FakePeer({f"s/d/{n}": FakeFile(noise(size, n)) for n in range(3)})
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/d")
        paused = await here.wait(id_, "paused")
        assert paused["error"]["code"] == "disk_full"
        full[0] = False
        done = await here.wait(id_)
        assert (done["state"], done["error"], done["done_files"]) == ("done", None, 3)
        assert done["done_bytes"] == done["size"]


async def test_pause_and_resume_also_over_a_restart(tmp_path: Path) -> None:
    data = noise(20 * MIB)
    peer = FakePeer({"s/f": FakeFile(data)})
    gate = Gate(peer, 5 * MIB)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/f")
        await here.received(id_, 5 * MIB)
        await here.downloads.pause([id_])
        assert (await here.shown(id_))["state"] == "paused"
        assert not here.sessions[peer.peer_id].open_streams
        asked = len(peer.reads)
    async with service(tmp_path, peer) as here:
        assert (await here.shown(id_))["state"] == "paused"
        assert len(peer.reads) == asked
        gate.open()
        await here.downloads.resume([id_])
        assert (await here.wait(id_))["state"] == "done"
        assert (await here.tree())["f"] == data


async def test_cancel_removes_partial_files_and_nothing_else(tmp_path: Path) -> None:
    peer = FakePeer({"s/d/a": FakeFile(b"done"), "s/d/f": FakeFile(noise(40 * MIB))})
    Gate(peer, 10 * MIB)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/d")
        await here.received(id_, 9 * MIB)
        await until((here.root / "d/a").exists)
        assert list(here.root.rglob("*.part"))
        await here.downloads.cancel([id_])
        assert sorted(await here.tree()) == ["d", "d/a"]
        assert (await here.list())["downloads"] == []
        assert here.events[-1] == ("download.removed", {"id": id_})
        events = len(here.events)
        await here.downloads.cancel([id_])
        await here.downloads.clear([id_])
        assert len(here.events) == events
        for command in (here.downloads.pause, here.downloads.resume, here.downloads.retry):
            with pytest.raises(DownloadNotFound):
                await command([id_])
    async with service(tmp_path, peer) as here:
        await here.downloads.cancel([id_])


async def test_clear_takes_only_what_has_ended(tmp_path: Path) -> None:
    peer = FakePeer({"s/f": FakeFile(b"x")})
    async with service(tmp_path, peer) as here:
        done, failed = await here.get("s/f"), await here.get("s/nothing")
        here.lose()
        waiting = await here.add("s/g")
        await here.downloads.cancel([done["id"]])
        await here.downloads.clear([done["id"], failed["id"], waiting])
        listed = await here.list()
        assert [item["id"] for item in listed["downloads"]] == [waiting]
        assert (await here.tree()) == {"f": b"x"}


async def test_unknown_ids_change_nothing(tmp_path: Path) -> None:
    async with service(tmp_path, FakePeer(), connected=False) as here:
        id_ = await here.add("s/f")
        for command in (
            here.downloads.pause,
            here.downloads.resume,
            here.downloads.cancel,
            here.downloads.retry,
            here.downloads.clear,
        ):
            with pytest.raises(DownloadNotFound, match="nothing"):
                await command([id_, "nothing"])
        with pytest.raises(DownloadNotFound):
            await here.downloads.move("nothing", "top")
        with pytest.raises(InvalidParams, match="top"):
            await here.downloads.move(id_, "sideways")
        assert (await here.shown(id_))["state"] == "waiting_for_peer"


async def test_lists_are_paged_in_the_order_of_the_queue(tmp_path: Path) -> None:
    async with service(tmp_path, FakePeer(), connected=False) as here:
        ids = [await here.add(f"s/{n}") for n in range(5)]
        await here.downloads.move(ids[4], "top")
        await here.downloads.move(ids[0], "bottom")
        await here.downloads.move(ids[2], "up")
        order = [ids[4], ids[2], ids[1], ids[3], ids[0]]
        await here.downloads.pause([ids[1]])

        async def pages(states: list[str] | None) -> list[str]:
            found, cursor = [], None
            while True:
                page = await here.list(states, limit=2, cursor=cursor)
                found += [item["id"] for item in page["downloads"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    return found
                assert len(page["downloads"]) == 2

        assert await pages(None) == order
        assert await pages(["waiting_for_peer"]) == [i for i in order if i != ids[1]]
        assert await pages(["paused", "done"]) == [ids[1]]
        for bad in ("x", "1", "1.2.3", "99999999999999999999999.1"):
            with pytest.raises(InvalidParams):
                await here.downloads.list(cursor=bad)
            with pytest.raises(InvalidParams):
                await here.downloads.files(ids[0], cursor=bad + "x")
        with pytest.raises(InvalidParams, match="a state is one of"):
            await here.downloads.list(["gone"])
    async with service(tmp_path, FakePeer(), connected=False) as here:
        assert await pages(None) == order


async def test_events_tell_each_state_and_progress_now_and_then(tmp_path: Path) -> None:
    peer = FakePeer({"s/f": FakeFile(noise(8 * MIB))}, latency=0.001)
    started = asyncio.get_running_loop().time()

    async def slowly(_request: Read, _offset: int) -> None:
        await asyncio.sleep(0.03)

    peer.before_chunk = slowly
    async with service(tmp_path, peer) as here:
        done = await here.get("s/f")

        def told() -> list[object]:
            return [data["state"] for kind, data in here.events if kind == "download.changed"]

        await until(lambda: "done" in told(), "the event of its end")  # once that is written down
        elapsed = asyncio.get_running_loop().time() - started
        states = told()
        assert here.events[0][0] == "download.added"
        assert states[0] == "downloading"
        assert states[-1] == "done"
        assert states.count("done") == 1
        assert len(states) <= 3 + elapsed / 0.5
        rates = [data["rate"] for _, data in here.events]
        assert max(rates) > 0
        assert done["rate"] == 0
        assert done["eta"] is None


async def test_an_empty_page_with_a_cursor_is_refused(tmp_path: Path) -> None:
    peer = FakePeer(directories={"s/d"}, page=0)
    peer.files["s/d/f"] = FakeFile(b"x")
    async with service(tmp_path, peer) as here:
        failed = await here.get("s/d")
        assert failed["error"]["code"] == "protocol_error"


async def test_closing_does_not_wait_for_a_peer(tmp_path: Path) -> None:
    peer = FakePeer({f"s/d/{n}": FakeFile(noise(3 * MIB, n)) for n in range(10)})
    Gate(peer, 4 * MIB)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/d")
        await here.received(id_, 4 * MIB)


async def test_errors_that_pass_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RETRY", Backoff(0.005, 30.0))
    peer = FakePeer({"s/d/f": FakeFile(noise(5 * MIB)), "s/d/g": FakeFile(b"small")})
    troubles: list[HdpdError] = [Busy(), SlotLost(), Busy(), SlotLost()]

    async def trouble(_request: Read, _stream: FakeStream) -> bool:
        if troubles:
            raise troubles.pop()
        return False

    peer.on_read = trouble
    async with service(tmp_path, peer) as here:
        assert (await here.get("s/d"))["state"] == "done"

        monkeypatch.setattr(scheduler, "LOST", Backoff(0.01, 0.05))
        troubles.extend(Busy("later") for _ in range(30))
        peer.files["s/h"] = FakeFile(b"h")
        id_ = await here.add("s/h")
        waiting = await here.until(id_, lambda item: item["error"] is not None)
        assert (waiting["state"], waiting["error"]["code"]) == ("queued", "busy")
        assert (await here.wait(id_))["state"] == "done"
        assert not troubles


async def test_no_common_topic_waits_for_the_next_connection(tmp_path: Path) -> None:
    peer = FakePeer({"s/f": FakeFile(b"x")})
    allowed = False

    async def refuse(_request: Read, _stream: FakeStream) -> bool:
        if not allowed:
            raise NoCommonTopic
        return False

    peer.on_read = refuse
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/f")
        waiting = await here.wait(id_, "waiting_for_peer")
        assert waiting["error"]["code"] == "no_common_topic"
        allowed = True
        here.lose()
        here.connect()
        done = await here.wait(id_)
        assert (done["state"], done["error"]) == ("done", None)


async def test_a_used_up_quota_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "QUOTA_S", 0.2)
    peer = FakePeer({f"s/d/{n}": FakeFile(noise(1000, n)) for n in range(5)})
    midnight = False

    async def refuse(_request: Read, _stream: FakeStream) -> bool:
        if not midnight:
            raise QuotaReached("the daily quota of 20 GB is used up; it goes on at 00:00")
        return False

    peer.on_read = refuse
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/d")
        waiting = await here.until(id_, lambda item: item["error"] is not None)
        assert (waiting["state"], waiting["error"]["code"]) == ("queued", "quota_reached")
        assert "goes on at 00:00" in waiting["error"]["message"]
        midnight = True
        done = await here.wait(id_)
        assert (done["state"], done["error"], done["done_files"]) == ("done", None, 5)


def limited(peer: FakePeer) -> list[int]:
    """The bytes that the peer is asked for, read by read."""
    return [read.length for read in peer.reads]


async def test_a_limited_download_is_asked_for_in_slices(tmp_path: Path) -> None:
    data = noise(400_000)
    peer = FakePeer({"media/file": FakeFile(data)})
    async with service(tmp_path, peer) as here:
        here.throttle.set_rates(1_000_000, None, lan=False)
        began = asyncio.get_running_loop().time()
        done = await here.get("media/file")
        assert done["state"] == "done"
        assert asyncio.get_running_loop().time() - began > 0.4 - 3 * DOWNLOAD_SLICE_S
        assert max(limited(peer)) <= 1_000_000 * DOWNLOAD_SLICE_S
        assert (here.root / "file").read_bytes() == data


async def test_small_files_share_a_limited_rate(tmp_path: Path) -> None:
    peer = FakePeer({f"media/tree/{n}": FakeFile(noise(10_000, n)) for n in range(30)})
    async with service(tmp_path, peer) as here:
        here.throttle.set_rates(None, 1_000_000, lan=False)
        began = asyncio.get_running_loop().time()
        assert (await here.get("media/tree"))["done_files"] == 30
        assert asyncio.get_running_loop().time() - began > 0.3 - 3 * DOWNLOAD_SLICE_S


async def test_what_a_download_did_not_use_is_there_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.downloads.harness.DOWNLOAD_SLICE_S", 1.0)
    peer = FakePeer({f"media/{n}": FakeFile(noise(1_000, n)) for n in range(100)})
    async with service(tmp_path, peer) as here:
        here.throttle.set_rates(100_000, None, lan=False)
        began = asyncio.get_running_loop().time()
        for n in range(20):
            await here.get(f"media/{n}")
        # A slice for each of them would take twenty seconds, most of which the disk may have.
        assert asyncio.get_running_loop().time() - began < 15


async def test_a_limit_set_in_the_middle_owes_nothing(tmp_path: Path) -> None:
    peer = FakePeer({"media/file": FakeFile(noise(12 * MIB))})
    gate = Gate(peer, MIB)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("media/file")
        await here.received(id_, MIB)
        here.throttle.set_rates(100_000, None, lan=False)
        before = len(peer.reads)
        gate.open()
        began = asyncio.get_running_loop().time()
        await until(lambda: len(peer.reads) >= before + 3)
        # What was under way is a megabyte, which at this rate would be owed for ten seconds.
        assert asyncio.get_running_loop().time() - began < 5


async def test_a_limit_taken_away_lets_a_waiting_download_run(tmp_path: Path) -> None:
    peer = FakePeer({"media/file": FakeFile(noise(4 * MIB))})
    async with service(tmp_path, peer) as here:
        here.throttle.set_rates(10_000, None, lan=False)
        id_ = await here.add("media/file")
        await here.received(id_, 1)
        here.throttle.set_rates(None, None, lan=False)
        assert (await here.wait(id_))["state"] == "done"
        assert max(limited(peer)) >= MIB // 2


async def test_a_paused_download_wants_nothing_of_the_rate(tmp_path: Path) -> None:
    peer = FakePeer({"media/file": FakeFile(noise(MIB))})
    async with service(tmp_path, peer) as here:
        here.throttle.set_rates(10_000, None, lan=False)
        id_ = await here.add("media/file")
        await here.received(id_, 1)
        await here.downloads.pause([id_])
        assert here.throttle._waiting == {}
        here.throttle.set_rates(None, None, lan=False)
        await here.downloads.resume([id_])
        assert (await here.wait(id_))["state"] == "done"


async def test_a_command_for_very_many_gives_others_their_turns(tmp_path: Path) -> None:
    peer = FakePeer({})
    async with service(tmp_path, peer) as here:
        here.lose()
        paths = [(peer.peer_id, RemotePath.from_text(f"s/{number}")) for number in range(2000)]
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with asyncio.timeout(60.0):
            ids = await here.downloads.add_all(paths)
            busy = asyncio.create_task(others())
            try:
                found = await here.downloads._find(ids)
            finally:
                busy.cancel()
            assert [download.id for download in found] == ids
            assert turns >= len(ids) // AT_ONCE
            await here.downloads.cancel(ids)
            assert (await here.downloads.list()).downloads == []


async def test_what_is_asked_for_twice_in_one_go_is_one_download(tmp_path: Path) -> None:
    peer = FakePeer({})
    async with service(tmp_path, peer) as here:
        here.lose()
        path = RemotePath.from_text("s/f")
        first, second = await here.downloads.add_all([(peer.peer_id, path)] * 2)
        assert first == second == await here.add("s/f")
