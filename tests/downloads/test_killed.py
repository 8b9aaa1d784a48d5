"""Whatever becomes of the tasks of a download, at whatever state: nothing is left of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from hdpd import machine, tasks
from hdpd.backoff import Backoff
from hdpd.downloads import downloads, reporter, scheduler, volumes
from hdpd.downloads.largefile import LargeFile
from hdpd.downloads.records import Download
from hdpd.downloads.runner import Runner
from hdpd.downloads.space import Room
from hdpd.downloads.states import STARTED, Event, State
from tests.downloads.harness import Harness, service
from tests.fake_peer import FakeFile, FakePeer, Gate
from tests.waiting import WAIT_S, until

MIB = 1024 * 1024

DISK = threading.Event()
"""While it is not set, no file that is under way gets to its end."""

ROOM = {"free": 0}


def live(here: Harness, id_: str) -> Download:
    download = here.downloads._scheduler.queue.get(id_)
    assert download is not None
    return download


def nothing_is_left(here: Harness, id_: str) -> None:
    """No part knows the download any more."""
    parts = here.downloads._scheduler
    queue = parts.queue
    assert queue.get(id_) is None
    assert not queue._order
    assert not queue._unfinished
    assert not queue._of_peer
    assert not queue._lines
    assert not queue._parked
    assert not queue._started
    assert not queue._held
    assert not parts.remover._waiting
    assert not parts.ledger._noted
    assert not parts.reporter._changed


async def be_ready(here: Harness, _peer: FakePeer, id_: str) -> None:
    here.lose()
    await here.wait(id_, "waiting_for_peer")


async def be_running(here: Harness, _peer: FakePeer, id_: str) -> None:
    await here.received(id_, MIB)


async def be_paused(here: Harness, _peer: FakePeer, id_: str) -> None:
    await here.received(id_, MIB)
    await here.downloads.pause([id_])


async def be_held(here: Harness, _peer: FakePeer, id_: str) -> None:
    await here.received(id_, MIB)
    ROOM["free"] = 0
    await here.wait(id_, "paused")


async def be_stopping(here: Harness, _peer: FakePeer, id_: str) -> None:
    await here.received(id_, MIB)
    DISK.clear()
    here.lose()
    await until(lambda: live(here, id_).state is State.STOPPING)


async def be_pausing(here: Harness, _peer: FakePeer, id_: str) -> None:
    await here.received(id_, MIB)
    DISK.clear()
    await here.downloads.pause([id_])


REACHED: dict[State, Callable[[Harness, FakePeer, str], Coroutine[None, None, None]]] = {
    State.READY: be_ready,
    State.RUNNING: be_running,
    State.STOPPING: be_stopping,
    State.PAUSING: be_pausing,
    State.PAUSED: be_paused,
    State.HELD: be_held,
}


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While it is not set, no file that is under way gets to its end."""
    DISK.set()
    suspend = LargeFile.suspend

    async def slow_suspend(self: LargeFile) -> None:
        await until(DISK.is_set)
        await suspend(self)

    def free_room(_path: Path) -> Room:
        return Room(ROOM["free"], 10**12)

    monkeypatch.setitem(ROOM, "free", 10**10)
    monkeypatch.setattr(LargeFile, "suspend", slow_suspend)
    monkeypatch.setattr(volumes, "free_room", free_room)
    monkeypatch.setattr(scheduler, "ROOM_S", 0.05)
    monkeypatch.setattr(downloads, "STOP_S", 0.1)
    return DISK


@pytest.mark.parametrize("killed", ["cancelled", "failed", "slow"])
@pytest.mark.parametrize("state", REACHED)
async def test_cancelling_leaves_nothing_whatever_became_of_its_tasks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    disk: threading.Event,
    state: State,
    killed: str,
) -> None:
    peer = FakePeer({"s/f": FakeFile(b"x" * 20 * MIB)})
    Gate(peer, 2 * MIB)
    async with service(tmp_path, peer) as here:
        leave = Runner._leave

        async def fail(self: Runner) -> None:
            await leave(self)
            if killed == "failed":
                raise RuntimeError("a mistake")

        id_ = await here.add("s/f")
        download = live(here, id_)
        if state in STARTED:
            monkeypatch.setattr(Runner, "_leave", fail)
        await REACHED[state](here, peer, id_)
        assert download.state is state
        if killed == "cancelled" and download.task is not None:
            download.task.cancel()
        if killed == "slow":
            disk.clear()
        await here.downloads.cancel([id_])
        assert (await here.list())["downloads"] == []
        disk.set()
        await until(lambda: here.downloads._scheduler.queue.get(id_) is None)
        await here.downloads._scheduler.ledger.written(WAIT_S)
        nothing_is_left(here, id_)
        assert await here.tree() == {}


@pytest.mark.parametrize("state", [State.RUNNING, State.STOPPING, State.PAUSING])
async def test_a_download_whose_task_was_killed_goes_on(
    tmp_path: Path, disk: threading.Event, state: State
) -> None:
    data = b"x" * 20 * MIB
    peer = FakePeer({"s/f": FakeFile(data)})
    gate = Gate(peer, 2 * MIB)
    async with service(tmp_path, peer) as here:
        id_ = await here.add("s/f")
        await REACHED[state](here, peer, id_)
        task = live(here, id_).task
        assert task is not None
        task.cancel()
        disk.set()
        await until(lambda: live(here, id_).task is not task)
        gate.open()
        here.connect()
        await here.downloads.resume([id_])
        assert (await here.wait(id_))["state"] == "done"
        assert await here.tree() == {"f": data}
        await until(lambda: here.downloads._scheduler.queue.get(id_) is None)
        nothing_is_left(here, id_)


async def test_progress_is_told_after_one_was_cancelled_whose_disk_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: threading.Event
) -> None:
    monkeypatch.setattr(reporter, "PROGRESS_S", 0.02)
    peer = FakePeer({name: FakeFile(b"x" * 40 * MIB) for name in ("s/f", "s/g")})
    gate = Gate(peer, 2 * MIB)
    async with service(tmp_path, peer) as here:
        first = await here.add("s/f")
        await here.received(first, MIB)
        disk.clear()
        await here.downloads.cancel([first])
        await asyncio.sleep(0.1)  # the time of several reports
        disk.set()
        gate.open(4 * MIB)
        second = await here.add("s/g")
        await here.received(second, MIB)

        def told() -> bool:
            changes = [data for kind, data in here.events if kind == "download.changed"]
            return any(data["id"] == second and data["done_bytes"] > 0 for data in changes)

        await until(told)


async def test_the_others_are_told_of_after_a_mistake_in_telling_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "RETRY", Backoff(0.01, 0.1))
    async with service(tmp_path, FakePeer(), connected=False) as here:
        first, *others = [live(here, await here.add(f"s/{name}")) for name in "fgh"]
        told: list[Download] = []

        def show(download: Download) -> None:
            if download is first:
                raise KeyError("a mistake")
            told.append(download)

        monkeypatch.setattr(here.downloads._scheduler.reporter, "show", show)
        here.downloads._scheduler.reporter.show_soon([first, *others])
        await until(lambda: told == others)
        assert "'tell of downloads' stopped over a mistake" in caplog.text


async def test_what_cannot_happen_is_logged_in_service_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine, "STRICT", False)
    async with service(tmp_path, FakePeer(), connected=False) as here:
        download = live(here, await here.add("s/f"))
        here.downloads._scheduler._happen(download, Event.FINISH)
        assert download.state is State.READY
        assert "FINISH happened to a download that is READY" in caplog.text
    assert download.state not in STARTED
