"""Disks that are late, away, swapped, read-only or picky, and what lies on them."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Never

import pytest

from hdpd.downloads import scheduler, site, statedisk, volumes
from hdpd.downloads.partial import PartialFile
from hdpd.downloads.ranges import FileRanges, Range
from hdpd.downloads.site import Site
from hdpd.downloads.space import Room
from hdpd.downloads.status import Leftovers
from hdpd.downloads.store import Store
from hdpd.errors import NotFound, StateUnavailable, StorageError
from hdpd.identity.keys import PeerId
from hdpd.wire.messages import Entry, EntryType, Read
from hdpd.wire.paths import RemotePath
from tests.downloads.harness import Harness, service
from tests.downloads.test_downloads import noise
from tests.fake_peer import MTIME_NS, FakeFile, FakePeer, Gate
from tests.waiting import until

MIB = 1024 * 1024


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks are looked at again and again."""
    monkeypatch.setattr(scheduler, "ROOM_S", 0.05)


@pytest.fixture
def other_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is below the download directory's place is another file system than what was there."""
    monkeypatch.setattr(site, "_is_same_system", lambda *_: False)


async def begun(here: Harness, peer: FakePeer, size: int = 10 * MIB) -> tuple[str, Gate]:
    gate = Gate(peer, size)
    id_ = await here.add("s/f")
    await here.received(id_, size)
    return id_, gate


@pytest.mark.usefixtures("soon", "other_system")
async def test_a_disk_that_is_not_there_at_the_start_is_waited_for(tmp_path: Path) -> None:
    data = noise(20 * MIB)
    peer = FakePeer({"s/f": FakeFile(data)})
    async with service(tmp_path, peer) as here:
        id_, gate = await begun(here, peer)
        await here.downloads.pause([id_])
        there = (await here.shown(id_))["done_bytes"]
    here.root.rename(tmp_path / "unplugged")
    async with service(tmp_path, peer) as here:
        await here.downloads.resume([id_])
        away = await here.wait(id_, "paused")
        assert away["error"]["code"] == "disk_away"
        assert away["waiting_for"]["kind"] == "disk"
        assert away["done_bytes"] == there
        assert not here.root.exists(), "it was made where the disk should be"
        here.root.mkdir()  # where it is to be mounted, or another disk
        await here.downloads.resume([id_])
        await here.wait(id_, "paused")
        assert not list(here.root.iterdir())

        gate.open()
        here.root.rmdir()
        (tmp_path / "unplugged").rename(here.root)
        done = await here.wait(id_)
        assert (done["state"], done["error"]) == ("done", None)
        assert await here.tree() == {"f": data}
        assert done["received_bytes"] < 20 * MIB + 12 * MIB


@pytest.mark.usefixtures("soon", "other_system")
async def test_a_disk_that_vanishes_while_it_is_written_to(tmp_path: Path) -> None:
    files = {f"s/d/{n}": FakeFile(noise(MIB, n)) for n in range(20)}
    peer = FakePeer(files)
    gate = Gate(peer, 8 * MIB)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/d")
        await here.received(id_, 8 * MIB)
        await until((here.root / "d").exists)
        here.root.rename(tmp_path / "unplugged")
        gate.open()
        assert (await here.wait(id_, "paused"))["error"]["code"] == "disk_away"
        assert not here.root.exists()
        (tmp_path / "unplugged").rename(here.root)
        assert (await here.wait(id_))["state"] == "done"
        assert sorted(await here.tree()) == sorted(["d", *(f"d/{n}" for n in range(20))])


async def test_a_directory_that_its_owner_removed_is_made_again(tmp_path: Path) -> None:
    peer = FakePeer({"s/f": FakeFile(b"f"), "s/g": FakeFile(b"g")})
    async with service(tmp_path, peer) as here:
        await here.get("s/f")
        shutil.rmtree(here.root)
        assert (await here.get("s/g"))["state"] == "done"
        assert await here.tree() == {"g": b"g"}


def zeros(partial: Path) -> None:
    """A file of the same name, and long enough, on another disk."""
    size = partial.stat().st_size
    partial.unlink()
    partial.write_bytes(bytes(size))


def old_copy(partial: Path) -> None:
    """One that was restored from a copy, with its attributes."""
    size = partial.stat().st_size
    copy = partial.with_name("copy")
    shutil.copy2(partial, copy)
    copy.write_bytes(bytes(size))
    copy.rename(partial)


def link(partial: Path) -> None:
    partial.rename(partial.with_name("elsewhere"))
    partial.symlink_to("elsewhere")


@pytest.mark.parametrize("swap", [zeros, old_copy])
@pytest.mark.parametrize("restart", [False, True])
async def test_a_partial_file_that_is_not_ours_counts_for_nothing(
    tmp_path: Path, swap: object, restart: bool
) -> None:
    assert callable(swap)
    data = noise(20 * MIB)
    peer = FakePeer({"s/f": FakeFile(data)})
    async with service(tmp_path, peer) as here:
        id_, gate = await begun(here, peer, 12 * MIB)
        await here.downloads.pause([id_])
        (partial,) = here.root.glob("*.part")
        if not restart:
            swap(partial)
            gate.open()
            await here.downloads.resume([id_])
            assert (await here.wait(id_))["state"] == "done"
            assert await here.tree() == {"f": data}
            return
    swap(partial)
    gate.open()
    async with service(tmp_path, peer) as here:
        await here.downloads.resume([id_])
        assert (await here.wait(id_))["state"] == "done"
        assert await here.tree() == {"f": data}


async def test_a_partial_file_that_cannot_be_opened_holds_up_nobody(tmp_path: Path) -> None:
    peer = FakePeer({"s/d/f": FakeFile(noise(20 * MIB)), "s/g": FakeFile(b"next")})
    gate = Gate(peer, 10 * MIB)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/d")
        await here.received(id_, 10 * MIB)
        await here.downloads.pause([id_])
        (here.root / "d").rename(tmp_path / "moved")
        (here.root / "d").symlink_to(tmp_path / "moved")
        gate.open()
        await here.downloads.resume([id_])
        failed = await here.wait(id_)
        assert failed["state"] == "failed"
        assert "symbolic link" in failed["error"]["message"]
        assert (await here.get("s/g"))["state"] == "done"


@pytest.mark.parametrize("stop", ["pause", "lose", "close"])
async def test_what_a_sync_could_not_write_is_fetched_again_whatever_stopped_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    """The kernel tells once; then every sync succeeds, and the bytes are gone."""
    data = noise(20 * MIB)
    peer = FakePeer({"s/f": FakeFile(data)})
    sync = PartialFile.sync
    told: list[bool] = []

    def fail_once(self: PartialFile) -> None:
        if told:
            sync(self)
            return
        told.append(True)
        size = os.fstat(self._descriptor).st_size
        os.ftruncate(self._descriptor, 0)  # what was written is lost
        os.ftruncate(self._descriptor, size)
        raise StorageError("cannot sync: Input/output error")

    verified: list[int] = []
    note = FileRanges.verified

    def verify(self: FileRanges, asked: Range) -> None:
        note(self, asked)
        verified.append(asked.start)

    monkeypatch.setattr(FileRanges, "verified", verify)
    monkeypatch.setattr("hdpd.downloads.largefile.RECORD_BYTES", 10**12)
    monkeypatch.setattr("hdpd.downloads.largefile.RECORD_S", 10**6)
    async with service(tmp_path, peer) as here:
        id_, gate = await begun(here, peer)
        await until(lambda: 0 in verified)  # else there would be nothing to record
        monkeypatch.setattr(PartialFile, "sync", fail_once)
        if stop == "pause":
            await here.downloads.pause([id_])
        elif stop == "lose":
            here.lose()
        if stop != "close":
            await until(lambda: told)
            gate.open()
            here.connect()
            await here.downloads.resume([id_])
            assert (await here.wait(id_))["state"] == "done"
            assert await here.tree() == {"f": data}
            return
    assert told
    gate.open()
    async with service(tmp_path, peer) as here:
        assert (await here.wait(id_))["state"] == "done"
        assert await here.tree() == {"f": data}


async def test_what_a_disk_lost_and_tells_at_the_closing_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file system of the network or of FUSE does, of what came beyond the watermark."""
    data = noise(20 * MIB)
    peer = FakePeer({"s/f": FakeFile(data)})
    gate, came, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold_the_first(request: Read, _offset: int) -> None:
        if request.offset == 0:
            await gate.wait()

    note, close = FileRanges.verified, PartialFile.close

    def verified(self: FileRanges, asked: Range) -> None:
        note(self, asked)
        came.set()

    def lose(self: PartialFile) -> None:
        size = os.fstat(self._descriptor).st_size
        os.ftruncate(self._descriptor, 0)
        os.ftruncate(self._descriptor, size)
        close(self)
        loop.call_soon_threadsafe(told.set)
        raise StorageError("cannot close: Input/output error")

    loop = asyncio.get_running_loop()
    peer.before_chunk = hold_the_first
    monkeypatch.setattr(FileRanges, "verified", verified)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/f")
        await came.wait()
        with monkeypatch.context() as broken:
            broken.setattr(PartialFile, "close", lose)
            await here.downloads.pause([id_])
            await told.wait()
        gate.set()
        await here.downloads.resume([id_])
        assert (await here.wait(id_))["state"] == "done"
        assert await here.tree() == {"f": data}


@pytest.mark.usefixtures("soon")
async def test_a_read_only_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"read_only": True}
    monkeypatch.setattr(
        volumes, "free_room", lambda _: Room(10**9, 10**10, None, state["read_only"])
    )
    peer = FakePeer({f"s/d/{n}": FakeFile(noise(1000, n)) for n in range(20)})
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/d")
        paused = await here.wait(id_, "paused")
        assert paused["error"]["code"] == "disk_read_only"
        assert paused["received_bytes"] == 0
        state["read_only"] = False
        assert (await here.wait(id_))["done_files"] == 20


@pytest.mark.usefixtures("soon")
async def test_directories_and_empty_files_take_room_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "free_room", lambda _: Room(1000 * 4096, 10**10))
    peer = FakePeer({f"s/d/{n}": FakeFile(b"") for n in range(2000)})
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/d")
        assert (await here.wait(id_, "paused"))["error"]["code"] == "disk_full"
        assert len(await here.tree()) < 1000
        monkeypatch.setattr(volumes, "free_room", lambda _: Room(10**9, 10**10, 1500))
        await here.downloads.resume([id_])
        assert "can hold" in (await here.wait(id_, "paused"))["error"]["message"]
        monkeypatch.setattr(volumes, "free_room", lambda _: Room(10**9, 10**10, 10**6))
        assert (await here.wait(id_))["state"] == "done"


@pytest.mark.usefixtures("soon")
async def test_a_listing_waits_for_room_on_the_disk_of_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statedisk, "free_room", lambda _: Room(10**6, 10**10))
    peer = FakePeer({"s/d/f": FakeFile(b"f")})
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/d")
        waiting = await here.wait(id_, "paused")
        assert waiting["waiting_for"]["kind"] == "state_disk"
        assert "waiting for room on the disk of the state directory" in waiting["error"]["message"]
        await here.downloads.pause([id_])
        await here.downloads.resume([id_])
        monkeypatch.setattr(statedisk, "free_room", lambda _: Room(10**9, 10**10))
        assert (await here.wait(id_))["state"] == "done"


async def test_sizes_beyond_any_disk_are_refused_and_can_be_cancelled(tmp_path: Path) -> None:
    peer = FakePeer(directories={"s/d"})
    names = [RemotePath(b"f%d" % n) for n in range(3)]
    peer.extra = [Entry(name, EntryType.FILE, 2**63 - 1, 10**18, 1) for name in names]
    async with service(tmp_path, peer) as here:
        failed = await here.get("s/d")
        assert failed["error"]["code"] == "protocol_error"
        assert "more bytes than any disk holds" in failed["error"]["message"]
        await here.downloads.cancel([failed["id"]])
        assert (await here.list())["downloads"] == []


BOB = PeerId(bytes(31) + b"\x02")


@pytest.mark.parametrize("size", [1000, 3 * MIB])
async def test_a_file_of_somebody_else_is_not_taken_for_the_same(tmp_path: Path, size: int) -> None:
    """Name, size and mtime are those of the other, which anybody can list."""
    ann = FakePeer({"s/d/song": FakeFile(noise(size, 1))})
    bob = FakePeer({"s/d/song": FakeFile(noise(size, 2))}, peer_id=BOB)
    async with service(tmp_path, ann, bob) as here:
        await here.wait(await here.add("s/d", peer=bob))
        done = await here.wait(await here.add("s/d", peer=ann))
        assert done["state"] == "done"
        tree = await here.tree()
        assert tree["d/song"] == noise(size, 2)
        assert tree["d/song (2)"] == noise(size, 1)
        shown = await here.files(done["id"])
        assert shown["song"]["saved_as"] == "song (2)"


@pytest.mark.parametrize("size", [1000, 3 * MIB])
async def test_the_same_file_of_somebody_else_is_kept_once(tmp_path: Path, size: int) -> None:
    ann = FakePeer({"s/d/song": FakeFile(noise(size))})
    bob = FakePeer({"s/d/song": FakeFile(noise(size))}, peer_id=BOB)
    async with service(tmp_path, ann, bob) as here:
        await here.wait(await here.add("s/d", peer=bob))
        done = await here.wait(await here.add("s/d", peer=ann))
        assert sorted(await here.tree()) == ["d", "d/song"]
        assert done["received_bytes"] == (size if size < MIB else 0), "by digest"


async def test_a_file_that_was_changed_here_is_not_taken_for_the_same(tmp_path: Path) -> None:
    """As tag editors do: size and time are kept."""
    data = noise(3 * MIB)
    peer = FakePeer({"s/f": FakeFile(data)})
    async with service(tmp_path, peer) as here:
        await here.get("s/f")
        with (here.root / "f").open("r+b") as file:
            file.write(b"tag")
        os.utime(here.root / "f", ns=(MTIME_NS, MTIME_NS))
        await here.get("s/f")
        assert (await here.tree())["f (2)"] == data


async def test_names_that_the_disk_cannot_hold_are_replaced_and_shown_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = FakePeer({"s/Season: 1/What?.mkv": FakeFile(b"x"), "s/Dune: Two": FakeFile(b"y")})
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("1 0 8:1 / / rw - exfat /dev/sda rw\n")
    monkeypatch.setattr(volumes, "MOUNTINFO", mountinfo)

    async def wait(_request: object, _offset: int) -> None:
        await until(lambda: seen)

    seen: list[bool] = []
    peer.before_chunk = wait
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/Season: 1")
        await here.wait(id_, "downloading")
        await until(lambda: bool(peer.reads))
        shown = (await here.files(id_))["What?.mkv"]
        assert shown["saved_as"] == "What？.mkv"
        seen.append(True)
        done = await here.wait(id_)
        assert done["place"] == f"{here.root}/Season： 1"
        assert (await here.get("s/Dune: Two"))["place"] == f"{here.root}/Dune： Two"
        assert sorted(await here.tree()) == [
            "Dune： Two",
            "Season： 1",
            "Season： 1/What？.mkv",
        ]


@pytest.mark.parametrize("mine", [False, True])
async def test_cancelling_leaves_no_directory_that_was_made_for_it(
    tmp_path: Path, mine: bool
) -> None:
    peer = FakePeer({"s/d/x/y/big": FakeFile(noise(20 * MIB))}, directories={"s/d/e"})
    Gate(peer, 2 * MIB)
    async with service(tmp_path, peer) as here:
        if mine:
            (here.root / "new/d/e").mkdir(parents=True)
        id_ = await here.add("s/d", to="new/there" if not mine else "new")
        await here.received(id_, 2 * MIB)
        await until(lambda: list(here.root.rglob("*.part")))
        await here.downloads.cancel([id_])
        assert sorted(await here.tree()) == (["new", "new/d", "new/d/e"] if mine else [])


async def test_destinations_and_finished_ones_that_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdpd.downloads.downloads.CLEAR_S", 0.05)
    peer = FakePeer({"s/f": FakeFile(b"f"), "s/g": FakeFile(b"g")})
    films = tmp_path / "films"
    async with service(tmp_path, peer, destinations={"Films": films}) as here:
        done = await here.get("s/f", to="Films:new")
        assert done["place"] == f"{films}/new/f"
        assert (films / "new/f").read_bytes() == b"f"
        assert (await here.get("s/g", to="films:x"))["place"] == f"{here.root}/films:x/g"
        here.downloads.set_clear_finished(0.01)
        await until(lambda: len(here.events) and here.events[-1][0] == "download.removed")
        assert (films / "new/f").exists()


async def test_finished_ones_leave_after_a_time_when_nothing_could_be_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdpd.downloads.downloads.CLEAR_S", 0.05)
    done_before, failed = Store.done_before, asyncio.Event()

    async def fails_once(store: Store, when: float, limit: int) -> list[str]:
        if not failed.is_set():
            failed.set()
            raise StateUnavailable("the disk fails")
        return await done_before(store, when, limit)

    monkeypatch.setattr(Store, "done_before", fails_once)
    async with service(tmp_path, FakePeer({"s/f": FakeFile(b"f")})) as here:
        await here.get("s/f")
        here.downloads.set_clear_finished(0.01)
        await failed.wait()
        await until(lambda: len(here.events) and here.events[-1][0] == "download.removed")


@pytest.mark.parametrize("other_disk", [False, True])
async def test_unfinished_files_may_be_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_disk: bool
) -> None:
    if other_disk:
        rename = os.rename

        def to_another_disk(*places: object, **directories: object) -> None:
            if directories.get("src_dir_fd") != directories.get("dst_dir_fd"):
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            rename(*places, **directories)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "rename", to_another_disk)
    data = noise(20 * MIB)
    peer = FakePeer({"s/d/f": FakeFile(data), "s/d/small": FakeFile(b"s")})
    gate = Gate(peer, 10 * MIB)
    apart = tmp_path / "apart"
    async with service(tmp_path, peer, incomplete_dir=apart) as here:
        id_ = await here.add("s/d")
        await here.received(id_, 10 * MIB)
        assert len(list(apart.glob("*.part"))) == 1
        assert not list(here.root.rglob("*.part"))
    async with service(tmp_path, peer) as here:  # the setting is gone, the file is not
        gate.open()
        done = await here.wait(id_)
        assert done["state"] == "done"
        assert await here.tree() == {"d": None, "d/f": data, "d/small": b"s"}
        assert not list(apart.iterdir())
        assert done["received_bytes"] < 20 * MIB + 12 * MIB


def waits_at(here: Harness, id_: str) -> Path | None:
    """The directory on the disk that a held download waits for."""
    download = here.downloads._scheduler.queue.get(id_)
    assert download is not None
    volume = download.waiting.volume if download.waiting is not None else None
    return None if volume is None else volume.disk.site.path


@pytest.mark.usefixtures("soon", "other_system")
async def test_a_disk_of_what_is_kept_apart_that_vanishes_while_it_is_written_to(
    tmp_path: Path,
) -> None:
    peer = FakePeer({"s/f": FakeFile(data := noise(20 * MIB))})
    apart = tmp_path / "apart"
    async with service(tmp_path, peer, incomplete_dir=apart) as here:
        id_, gate = await begun(here, peer)
        apart.rename(tmp_path / "unplugged")
        await here.wait(id_, "paused")
        assert waits_at(here, id_) == apart
        (tmp_path / "unplugged").rename(apart)
        gate.open()
        assert (await here.wait(id_))["state"] == "done"
        assert await here.tree() == {"f": data}


@pytest.mark.usefixtures("soon", "other_system")
async def test_the_disk_of_what_is_kept_apart_is_waited_for(tmp_path: Path) -> None:
    peer = FakePeer({"s/f": FakeFile(data := noise(20 * MIB))})
    apart = tmp_path / "apart"
    async with service(tmp_path, peer, incomplete_dir=apart) as here:
        id_, gate = await begun(here, peer)
        await here.downloads.pause([id_])
        apart.rename(tmp_path / "unplugged")
        await here.downloads.resume([id_])
        away = await here.wait(id_, "paused")
        assert away["error"]["code"] == "disk_away"
        assert str(apart) in away["error"]["message"]
        assert waits_at(here, id_) == apart
        assert not apart.exists(), "it was made where the disk should be"
        (tmp_path / "unplugged").rename(apart)
        gate.open()
        assert (await here.wait(id_))["state"] == "done"
        assert await here.tree() == {"f": data}


async def test_what_was_kept_apart_goes_with_a_cancelled_download(tmp_path: Path) -> None:
    peer = FakePeer({"s/f": FakeFile(noise(20 * MIB))})
    apart = tmp_path / "apart"
    async with service(tmp_path, peer, incomplete_dir=apart) as here:
        id_, _ = await begun(here, peer)
        assert list(apart.iterdir())
        await here.downloads.cancel([id_])
        assert not list(apart.iterdir())


async def test_what_belongs_to_no_download_is_told_and_removed(tmp_path: Path) -> None:
    peer = FakePeer({"s/f": FakeFile(noise(20 * MIB))})
    async with service(tmp_path, peer) as here:
        await begun(here, peer)
        (here.root / "d").mkdir()
        orphan = here.root / "d/.hdpd-aaaabbbb-3-0123456789abcdef.part"
        orphan.write_bytes(b"1234")
        (here.root / "d/.hdpd-of-mine.part").write_bytes(b"")
        (here.root / "d/.hdpd-of-mine.name.part").write_bytes(b"")
        # What a kill leaves where there are no links.
        note = orphan.with_name(orphan.name.replace(".part", ".name.part"))
        note.write_bytes(b"f")
        (partial,) = here.root.glob(".hdpd-*.part")
        needed = partial.with_name(partial.name.replace(".part", ".name.part"))
        needed.write_bytes(b"f")
        keeper = here.downloads.housekeeper
        assert await keeper.leftovers() == Leftovers(2, 5)
        assert await keeper.tidy() == Leftovers(2, 5)
        assert await keeper.leftovers() == Leftovers(0, 0)
        assert not orphan.exists()
        assert not note.exists()
        assert needed.exists()
        assert len(list(here.root.rglob("*.part"))) == 4


async def test_disks_that_hang_are_looked_at_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destinations = {str(n): tmp_path / str(n) for n in range(4)}
    hang = threading.Event()

    def no_answer(*_: object) -> Never:
        hang.wait(20.0)
        raise OSError(errno.EIO, "Input/output error")

    async with service(tmp_path, destinations=destinations) as here:
        monkeypatch.setattr("hdpd.downloads.volumes.SILENT_S", 0.5)
        monkeypatch.setattr("hdpd.downloads.housekeeper.FIND_S", 0.5)
        monkeypatch.setattr("hdpd.downloads.volumes._examine", no_answer)
        monkeypatch.setattr("hdpd.downloads.leftovers.find", no_answer)
        volumes = here.downloads._scheduler.room.volumes
        volumes._sites |= {(path, ()): Site(path) for path in destinations.values()}
        began = time.monotonic()
        try:
            disks = await here.downloads.housekeeper.disks()
            assert len([disk for disk in disks if "does not answer" in str(disk.trouble)]) == 5
            assert await here.downloads.housekeeper.leftovers() == Leftovers(0, 0)
            assert time.monotonic() - began < 2.0
        finally:
            hang.set()


@pytest.mark.usefixtures("soon", "other_system")
async def test_what_was_given_up_is_removed_when_its_disk_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdpd.downloads.removal.AGAIN_S", 0.05)
    monkeypatch.setattr("hdpd.downloads.downloads.REMOVE_S", 0.1)
    peer = FakePeer({"s/f": FakeFile(noise(20 * MIB))})
    async with service(tmp_path, peer) as here:
        id_, _ = await begun(here, peer)
        await here.downloads.pause([id_])
        here.root.rename(tmp_path / "unplugged")
        await here.downloads.cancel([id_])
        [disk] = await here.downloads.housekeeper.disks()
        assert "is not there" in (disk.trouble or "")
        assert list((tmp_path / "unplugged").glob("*.part"))
        (tmp_path / "unplugged").rename(here.root)
        await until(lambda: not list(here.root.glob("*.part")))
        assert [disk.trouble for disk in await here.downloads.housekeeper.disks()] == [None]


@pytest.mark.usefixtures("soon", "other_system")
async def test_another_disk_is_used_when_its_owner_says_so(tmp_path: Path) -> None:
    peer = FakePeer({"s/f": FakeFile(b"f"), "s/g": FakeFile(b"g")})
    async with service(tmp_path, peer) as here:
        await here.get("s/f")
        here.root.rename(tmp_path / "broken")
        here.root.mkdir()
        id_ = await here.add("s/g")
        await here.wait(id_, "paused")
        with pytest.raises(NotFound):
            await here.downloads.housekeeper.use_disk(tmp_path / "elsewhere")
        await here.downloads.housekeeper.use_disk(here.root)
        assert (await here.wait(id_))["state"] == "done"
        assert await here.tree() == {"g": b"g"}


@pytest.mark.usefixtures("soon")
async def test_a_disk_that_is_cut_off_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked of it then answers with an input/output error."""
    monkeypatch.setattr("hdpd.downloads.room.FAILING_S", 0.05)
    cut_off, calls = [True], {name: getattr(os, name) for name in ("pwritev", "fdatasync", "open")}

    def failing(name: str) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if (cut_off and "dir_fd" in options) or (cut_off and name != "open"):
                raise OSError(errno.EIO, "Input/output error")
            return calls[name](*arguments, **options)

        return call

    def free_room(_path: Path) -> Room:
        if cut_off:
            raise OSError(errno.EIO, "Input/output error")
        return Room(10**9, 10**10)

    data = noise(20 * MIB)
    peer = FakePeer({"s/f": FakeFile(data), "s/g": FakeFile(b"g")})
    async with service(tmp_path, peer) as here:
        id_, gate = await begun(here, peer)
        with monkeypatch.context() as broken:
            for name in calls:
                broken.setattr(os, name, failing(name))
            broken.setattr(volumes, "free_room", free_room)
            gate.open()
            paused = await here.wait(id_, "paused", "failed")
            assert (paused["state"], paused["error"]["code"]) == ("paused", "disk_failing")
            assert (await here.wait(await here.add("s/g"), "paused", "failed"))["state"] == "paused"
            cut_off.clear()
        assert (await here.wait(id_))["state"] == "done"
        await until((here.root / "g").exists)
        assert (await here.tree())["f"] == data
