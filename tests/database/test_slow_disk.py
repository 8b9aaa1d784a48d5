"""The disk of a database stops for a while: its thread waits, and the event loop does not."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from hdpd.database import Connection, Database, Transaction, database, open_connection
from hdpd.threads.worker import Worker
from tests.bench.disk import missing
from tests.soak.disks import Disk

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

FROZEN_S = 0.8
LONGEST_S = 0.4
"""Between two turns of the loop: half of what the disk takes, and much for a busy machine."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path, "disk", 64, "ext4")
    yield made
    made.close()


def freeze(disk: Disk) -> subprocess.Popen[bytes]:
    """Until the process that this returns has ended: it would not wait for ours, were that held."""
    subprocess.run(["fsfreeze", "-f", disk.at], check=True)
    return subprocess.Popen(["sh", "-c", f"sleep {FROZEN_S}; fsfreeze -u '{disk.at}'"])


@asynccontextmanager
async def turning() -> AsyncIterator[None]:
    """The loop has its turns meanwhile."""
    turns = [time.monotonic()]

    async def turn() -> None:
        while True:
            await asyncio.sleep(0.01)
            turns.append(time.monotonic())

    task = asyncio.create_task(turn())
    try:
        yield
    finally:
        task.cancel()
    pauses = [after - before for before, after in itertools.pairwise(turns)]
    assert max(pauses) < LONGEST_S


@asynccontextmanager
async def frozen(disk: Disk) -> AsyncIterator[None]:
    """The disk takes nothing for FROZEN_S, in which the loop has its turns."""
    thaw = freeze(disk)
    async with turning():
        yield
        await asyncio.to_thread(thaw.wait)


class StopsAfterCheckpoint:
    """A connection whose disk stops when the WAL has been emptied."""

    def __init__(self, connection: Connection, disk: Disk) -> None:
        self._connection = connection
        self._disk = disk

    def wal_checkpoint(self, *, mode: int) -> None:
        self._connection.wal_checkpoint(mode=mode)
        self.thaw = freeze(self._disk)

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


def insert(transaction: Transaction) -> None:
    transaction.execute("INSERT INTO setting VALUES ('key', 'value')")


async def the_row_is_there(disk: Disk) -> None:
    state = Database(disk.at / "state.db", "state")
    await state.open()
    assert await state.read(lambda t: t.one("SELECT * FROM setting")) == ("key", "value")
    await state.close()


async def test_a_database_is_made_and_closed_while_its_disk_stops(disk: Disk) -> None:
    state = Database(disk.at / "state.db", "state", durable=True)
    for step in (state.open, lambda: state.write(insert), state.close):
        async with frozen(disk):
            began = time.monotonic()
            await step()
            assert time.monotonic() - began > FROZEN_S / 2, "it did not need the disk"
    await the_row_is_there(disk)


async def test_after_the_wal_was_emptied_closing_needs_nothing_of_the_disk(disk: Disk) -> None:
    connection = open_connection(disk.at / "x.db")
    connection.execute("CREATE TABLE x (y)")
    stopping = StopsAfterCheckpoint(connection, disk)
    worker = Worker("closing")
    async with turning():
        await worker.submit(lambda: database.close_writing(cast("Connection", stopping)))
        assert stopping.thaw.poll() is None
        await asyncio.to_thread(stopping.thaw.wait)
    worker.close()
    worker.join()


@pytest.mark.parametrize("step", ["open_connection", "migrate"])
async def test_each_step_of_the_first_start_may_take_its_time(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Frozen at once, all but the first write of a start would find a disk that works again."""
    original: Callable[..., object] = getattr(database, step)
    reached, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_the_disk_to_stop(*arguments: object, **named: object) -> object:
        loop.call_soon_threadsafe(reached.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(10.0)
        return original(*arguments, **named)

    monkeypatch.setattr(database, step, wait_for_the_disk_to_stop)
    state = Database(disk.at / "state.db", "state", durable=True)
    opening = asyncio.create_task(state.open())
    await reached.wait()
    async with frozen(disk):
        go.set()
        await opening
    await state.close()


async def test_what_is_left_in_the_wal_is_written_by_the_next(disk: Disk) -> None:
    """Another process reads, so the WAL cannot be emptied; nobody waits for that."""
    state = Database(disk.at / "state.db", "state")
    await state.open()
    reader = open_connection(disk.at / "state.db", readonly=True)
    rows = reader.execute("SELECT name FROM sqlite_schema")
    next(rows)
    await state.write(insert)
    began = time.monotonic()
    await state.close()
    assert time.monotonic() - began < database.CLOSE_S / 2
    reader.close(True)
    await the_row_is_there(disk)
