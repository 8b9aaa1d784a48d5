"""Whatever becomes of the tasks that answer a peer, at whatever state: nothing is left of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hdpd.identity.keys import PeerId
from hdpd.shares.opening import OpenedFile
from hdpd.uploads.lease import IDLE_S
from hdpd.uploads.slots import TURN_S
from hdpd.uploads.states import State
from hdpd.wire.paths import RemotePath
from tests.uploads.test_uploads import PIECE, A, B, World

SMALL = 1000


class SlowWorld(World):
    """Its disk answers while `disk` is set."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.disk = threading.Event()
        self.disk.set()
        self.asked = threading.Event()

    def open_file(self, path: RemotePath) -> OpenedFile:
        self.asked.set()
        assert self.disk.wait(30)
        return super().open_file(path)


def state_of(world: SlowWorld, peer: PeerId) -> State:
    receiver = world.uploads._slots._receivers.get(peer)
    return State.OUTSIDE if receiver is None else receiver.state


async def be_waiting(world: SlowWorld) -> None:
    """A holds the slot, B waits for it."""
    world.begin(world.request("file"), A, stuck=True)
    told = world.begin(world.request("file"), B)
    await told.until(lambda: len(told.sent) == 1)
    assert state_of(world, B.peer_id) is State.WAITING


async def be_in_the_fast_lane(world: SlowWorld) -> None:
    world.begin(world.request("file"), A, stuck=True)
    stream = world.begin(world.request("file", length=SMALL), B, stuck=True)
    await stream.until(lambda: len(stream.sent) == 1)
    assert state_of(world, B.peer_id) is State.OUTSIDE
    assert B.peer_id in world.uploads._slots.receivers


async def be_waiting_for_the_disk(world: SlowWorld) -> None:
    world.disk.clear()
    world.begin(world.request("file"), B)
    await asyncio.to_thread(world.asked.wait, 10)
    assert state_of(world, B.peer_id) is State.SERVED


async def be_sending(world: SlowWorld) -> None:
    stream = world.begin(world.request("file"), B, stuck=True)
    await stream.until(lambda: len(stream.sent) == 1)


async def be_paced(world: SlowWorld) -> None:
    world.throttle.set_rates(1000, None, lan=True)
    stream = world.begin(world.request("file"), B)
    await stream.until(lambda: len(stream.sent) == 1)


async def be_draining_the_stream(world: SlowWorld) -> None:
    stream = world.begin(world.request("file"), B)
    stream.unsent_bytes = PIECE
    await stream.until(lambda: stream.ended)


async def be_draining(world: SlowWorld) -> None:
    stream = world.begin(world.request("file"), B, stuck=True)
    await stream.until(lambda: len(stream.sent) == 1)
    waiting = world.begin(world.request("file"), A)
    await waiting.until(lambda: len(waiting.sent) == 1)
    world.pass_time(TURN_S)
    assert state_of(world, B.peer_id) is State.DRAINING


async def be_returning(world: SlowWorld) -> None:
    await be_draining(world)
    stream = world.begin(world.request("file"), B)
    await stream.until(lambda: len(stream.sent) == 1)
    assert state_of(world, B.peer_id) is State.RETURNING


STATES = [
    be_waiting,
    be_in_the_fast_lane,
    be_waiting_for_the_disk,
    be_sending,
    be_paced,
    be_draining_the_stream,
    be_draining,
    be_returning,
]


def left_of(world: SlowWorld) -> list[object]:
    """What any part still knows of a peer or a read."""
    slots = world.uploads._slots
    parts = (slots._receivers, slots._reads, slots._holders, slots._line, slots.receivers)
    others = (world.uploads._uploads, world.uploads._flows._flows, world.throttle._waiting)
    return [part for part in (*parts, *others) if len(part)]


@pytest.mark.parametrize("be", STATES)
async def test_killing_the_tasks_leaves_nothing_behind(
    tmp_path: Path, be: Callable[[SlowWorld], Awaitable[None]]
) -> None:
    world = SlowWorld(tmp_path)
    (tmp_path / "file").write_bytes(bytes(PIECE))
    await be(world)
    assert left_of(world)
    for task in world.tasks:
        task.cancel()
    ended = await asyncio.gather(*world.tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended)
    world.pass_time(IDLE_S)
    assert left_of(world) == []
    world.disk.set()
    world.tasks.clear()
    world.throttle.close()
    await world.finish()


@pytest.mark.parametrize("be", STATES)
async def test_a_peer_that_goes_leaves_nothing_behind(
    tmp_path: Path, be: Callable[[SlowWorld], Awaitable[None]]
) -> None:
    world = SlowWorld(tmp_path)
    (tmp_path / "file").write_bytes(bytes(PIECE))
    await be(world)
    for session in (A, B):
        world.uploads.peer_disconnected(session.peer_id)
    slots = world.uploads._slots
    assert not slots.is_used
    assert not slots._reads
    assert not slots.holders
    assert not slots.line
    for task in world.tasks:
        task.cancel()  # as its session does
    await asyncio.gather(*world.tasks, return_exceptions=True)
    world.pass_time(0.5)
    assert left_of(world) == []
    world.disk.set()
    world.tasks.clear()
    world.throttle.close()
    await world.finish()
