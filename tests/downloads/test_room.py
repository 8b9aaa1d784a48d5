"""Downloads and the room on their volumes: not begun, paused, gone on with; one that hangs."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from hdpd.config.sizes import Reserve
from hdpd.downloads import downloads, scheduler, volumes
from hdpd.downloads.directories import Directories
from hdpd.downloads.ranges import MIB
from hdpd.downloads.space import Room
from tests.downloads.harness import Harness, service
from tests.fake_peer import FakeFile, FakePeer, Gate
from tests.waiting import WAIT_S, until

BIG = 4 * MIB


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What is free, by volume: those below the download directory that are called `disk-…`."""
    free = {"": 10**9}

    def free_room(path: Path) -> Room:
        name = path.name if path.name.startswith("disk-") else ""
        return Room(free[name], 10**10, disk=f"the disk of {str(path)!r}")

    monkeypatch.setattr(volumes, "free_room", free_room)
    monkeypatch.setattr(scheduler, "ROOM_S", 0.02)
    return free


def mount(here: Harness, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Lets a directory below the download directory look like a mount of its own."""
    mountinfo = here.base / "mountinfo"
    mountinfo.write_text(f"1 0 8:1 / / rw\n2 1 8:2 / {here.root.resolve()}/{name} rw\n")
    monkeypatch.setattr(volumes, "MOUNTINFO", mountinfo)


@pytest.mark.parametrize("path", ["s/d", "s/d/1"])
async def test_what_does_not_fit_is_not_begun(
    tmp_path: Path, room: dict[str, int], path: str
) -> None:
    peer = FakePeer({f"s/d/{n}": FakeFile(b"x" * BIG) for n in range(2)})
    async with service(tmp_path, peer) as here:
        here.downloads.set_reserve(Reserve(bytes=10**6))
        room[""] = 10**6 + BIG - 1
        id_ = await here.add(path)
        paused = await here.wait(id_, "paused")
        assert paused["error"]["code"] == "disk_full"
        assert "1.0 MB that are kept free (min_free)" in paused["error"]["message"]
        assert not here.root.exists(), "a file was begun"
        room[""] = 10**9
        done = await here.wait(id_)
        assert (done["state"], done["error"]) == ("done", None)


async def test_the_disk_of_what_is_kept_apart_has_to_have_room_for_one_file_after_another(
    tmp_path: Path, room: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = FakePeer({f"s/d/{n}": FakeFile(b"x" * BIG) for n in range(8)})
    apart = tmp_path / "disk-apart"
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"1 0 8:1 / / rw\n2 1 8:2 / {apart.resolve()} rw\n")
    monkeypatch.setattr(volumes, "MOUNTINFO", mountinfo)
    room["disk-apart"] = BIG - 1
    async with service(tmp_path, peer, incomplete_dir=apart) as here:
        id_ = await here.add("s/d")
        paused = await here.wait(id_, "paused")
        assert paused["error"]["code"] == "disk_full"
        assert str(apart) in paused["error"]["message"]
        assert not list(apart.glob("*.part")), "a file was begun"
        began = paused["received_bytes"]
        await asyncio.sleep(0.2)
        assert (await here.shown(id_))["received_bytes"] == began, "it was tried again and again"
        room["disk-apart"] = 5 * BIG  # never room for all of it
        assert (await here.wait(id_))["state"] == "done"


async def test_what_runs_already_has_its_room(tmp_path: Path, room: dict[str, int]) -> None:
    ann = FakePeer({"s/f": FakeFile(b"x" * BIG)})
    bob = FakePeer({"s/g": FakeFile(b"y" * BIG)}, peer_id=type(ann.peer_id)(bytes(31) + b"\x02"))
    gate = Gate(ann, MIB)
    room[""] = 2 * BIG - 2 * MIB
    async with service(tmp_path, ann, bob) as here:
        first = await here.add("s/f", peer=ann)
        await here.received(first, MIB)
        second = await here.add("s/g", peer=bob)
        assert (await here.wait(second, "paused"))["error"]["code"] == "disk_full"
        gate.open()
        await here.wait(first, "done")
        assert (await here.wait(second))["state"] == "done"


async def test_the_reserve_is_kept_while_others_fill_the_disk(
    tmp_path: Path, room: dict[str, int]
) -> None:
    peer = FakePeer({"s/f": FakeFile(b"x" * BIG)})
    gate = Gate(peer, MIB)
    async with service(tmp_path, peer) as here:
        here.downloads.set_reserve(Reserve(percent=1))
        id_ = await here.add("s/f")
        await here.received(id_, MIB)
        room[""] = 10**8 + MIB
        paused = await here.wait(id_, "paused")
        assert paused["error"]["code"] == "disk_full"
        gate.open()
        await here.downloads.pause([id_])
        assert (await here.shown(id_))["error"] is None, "the user's own pause has no reason"
        room[""] = 10**9
        await here.downloads.resume([id_])
        done = await here.wait(id_)
        assert done["state"] == "done"
        assert done["received_bytes"] < BIG + 2 * MIB, "what was there is fetched again"


async def test_each_volume_has_its_own_room(
    tmp_path: Path, room: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = FakePeer({"s/f": FakeFile(b"x" * BIG)})
    async with service(tmp_path, peer) as here:
        mount(here, monkeypatch, "disk-b")
        room["disk-b"] = 100
        there = await here.add("s/f", to="disk-b/films")
        assert (await here.wait(there, "paused"))["error"]["code"] == "disk_full"
        assert (await here.get("s/f"))["state"] == "done"
        room["disk-b"] = 10**9
        assert (await here.wait(there))["state"] == "done"


async def test_a_volume_that_hangs_stops_nothing_but_itself(
    tmp_path: Path, room: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    answers.set()
    open_directory = Directories.open

    def hanging_open(self: Directories, path: tuple[bytes, ...], *, create: bool = True) -> int:
        if path and path[0] == b"disk-b":
            assert answers.wait(WAIT_S)
        return open_directory(self, path, create=create)

    def hanging_look(path: Path) -> Room:
        if path.name == "disk-b":
            assert answers.wait(WAIT_S)
        return Room(room["disk-b" if path.name == "disk-b" else ""], 10**10)

    monkeypatch.setattr(Directories, "open", hanging_open)
    monkeypatch.setattr(volumes, "free_room", hanging_look)
    monkeypatch.setattr(volumes, "SILENT_S", 0.1)
    monkeypatch.setattr(downloads, "STOP_S", 0.1)
    room["disk-b"] = 10**9
    peer = FakePeer({f"s/{name}": FakeFile(b"x" * BIG) for name in "abcd"})
    gate = Gate(peer, MIB)
    async with service(tmp_path, peer) as here:
        mount(here, monkeypatch, "disk-b")
        running = await here.add("s/a", to="disk-b")
        await here.received(running, MIB)
        answers.clear()
        gate.open()
        begun_later = await here.add("s/b", to="disk-b")
        given_up = await here.add("s/c", to="disk-b")
        for id_ in (running, begun_later, given_up):
            assert (await here.wait(id_, "paused"))["error"]["code"] == "disk_silent"
        assert (await here.get("s/d"))["state"] == "done"
        await here.downloads.pause([running])
        assert (await here.shown(running))["error"] is None
        await here.downloads.cancel([given_up])
        answers.set()
        assert (await here.wait(begun_later))["state"] == "done"
        await here.downloads.resume([running])
        assert (await here.wait(running))["state"] == "done"
        await until(lambda: not list(here.root.rglob(".hdpd*")))
        assert not (here.root / "disk-b" / "c").exists()
