"""The answers to `digest`: right, in turns, bounded, with signs of life, of what is shared."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hdpd.errors import Busy, FileChanged, FileUnreadable, HdpdError, PathNotFound
from hdpd.identity.keys import PeerId
from hdpd.shares import hashing
from hdpd.shares.opening import OpenedFile, Place, open_file
from hdpd.uploads import digests
from hdpd.uploads.digests import Digests
from hdpd.wire.fields import Message
from hdpd.wire.messages import Digest, Digested
from hdpd.wire.paths import RemotePath
from tests.waiting import until

SLICE = hashing.SLICE_BYTES


class Asker:
    """A session and its one stream."""

    def __init__(self, number: int = 1) -> None:
        self.peer_id = PeerId(bytes(31) + bytes([number]))
        self.messages: list[Message] = []
        self.ended = False

    async def send_message(self, message: Message, *, end: bool = False) -> None:
        self.messages.append(message)
        self.ended = end


class World:
    """Digests over a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.opened: list[OpenedFile] = []
        self.digests = Digests(self.open_file)

    def open_file(self, path: RemotePath) -> OpenedFile:
        self.opened.append(open_file(Place(os.fsencode(self.directory)), path.below_share))
        return self.opened[-1]

    async def ask(self, asker: Asker, name: str, if_match: bytes | None = None) -> Digested:
        request = Digest(RemotePath(b"share/" + name.encode()), if_match)
        await self.digests.answer_digest(asker, request, asker)
        assert asker.ended
        return Digested.from_wire(asker.messages[-1])


@contextlib.asynccontextmanager
async def world(directory: Path) -> AsyncIterator[World]:
    made = World(directory)
    yield made
    assert not made.digests._asked, "a request is still counted"
    made.digests.close()
    await asyncio.to_thread(join_threads)
    assert all(file.fd == -1 for file in made.opened), "a file is still open"


def join_threads() -> None:
    for thread in threading.enumerate():
        if thread.name == "hdpd-disk":
            thread.join(10)


def make_file(path: Path, size: int) -> bytes:
    """The digest of its random content."""
    content = os.urandom(size)
    path.write_bytes(content)
    return hashlib.sha256(content).digest()


@pytest.mark.parametrize("size", [0, 1, SLICE, 2 * SLICE + 5])
async def test_the_digest_of_a_file(tmp_path: Path, size: int) -> None:
    expected = await asyncio.to_thread(make_file, tmp_path / "film", size)
    async with world(tmp_path) as w:
        got = await w.ask(Asker(), "film")
    status = (tmp_path / "film").stat()
    assert got.digest == expected
    assert (got.size, got.mtime_ns) == (size, status.st_mtime_ns)


async def test_of_one_version_only(tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(b"one")
    async with world(tmp_path) as w:
        first = await w.ask(Asker(), "film")
        assert (await w.ask(Asker(), "film", first.validator)).digest == first.digest
        (tmp_path / "film").write_bytes(b"three")
        with pytest.raises(FileChanged):
            await w.ask(Asker(), "film", first.validator)


async def test_a_file_that_changes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "film").write_bytes(b"x" * 1000)
    pread = os.pread

    def changing_pread(fd: int, size: int, offset: int) -> bytes:
        (tmp_path / "film").write_bytes(b"y" * 2000)
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", changing_pread)
    async with world(tmp_path) as w:
        with pytest.raises(FileChanged):
            await w.ask(Asker(), "film")


async def test_nothing_beside_what_is_shared(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "share" / "link").symlink_to(tmp_path / "secret")
    async with world(tmp_path / "share") as w:
        for name in ("link", "gone"):
            with pytest.raises(PathNotFound):
                await w.ask(Asker(), name)


async def test_signs_of_life_while_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "KEEP_ALIVE_S", 0.01)
    (tmp_path / "film").write_bytes(b"x")
    answers = threading.Event()
    open_really = World.open_file

    def slow_open(self: World, path: RemotePath) -> OpenedFile:
        assert answers.wait(20)
        return open_really(self, path)

    monkeypatch.setattr(World, "open_file", slow_open)
    async with world(tmp_path) as w:
        asker = Asker()
        answer = asyncio.create_task(w.ask(asker, "film"))
        await until(lambda: len(asker.messages) >= 3)
        answers.set()
        await answer
    assert asker.messages[:3] == [{"digesting": 0}] * 3


async def test_a_disk_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "SLICE_S", 0.05)
    answers = threading.Event()
    monkeypatch.setattr(World, "open_file", lambda *_: answers.wait(20))
    async with world(tmp_path) as w:
        with pytest.raises(FileUnreadable, match="does not answer"):
            await w.ask(Asker(), "film")
        monkeypatch.undo()
        answers.set()


async def test_files_take_turns_and_one_peer_has_one_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "SLICE_BYTES", 10)
    (tmp_path / "long").write_bytes(b"x" * 1000)
    (tmp_path / "short").write_bytes(b"x")
    ended: list[str] = []

    async def ask(w: World, number: int, name: str) -> None:
        await w.ask(Asker(number), name)
        ended.append(f"{number} {name}")

    async with world(tmp_path) as w, asyncio.TaskGroup() as group:
        for number, name in ((1, "long"), (1, "long"), (1, "short"), (2, "short")):
            group.create_task(ask(w, number, name))
    assert ended == ["2 short", "1 long", "1 long", "1 short"]


async def test_what_waits_is_bounded_and_can_be_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "SLICE_BYTES", 10)
    (tmp_path / "long").write_bytes(b"x" * 100_000)
    async with world(tmp_path) as w:
        waiting = [asyncio.create_task(w.ask(Asker(1), "long")) for _ in range(digests.MAX_OF_PEER)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await w.ask(Asker(1), "long")
        for task in waiting:
            task.cancel()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert not any(isinstance(outcome, HdpdError | Digested) for outcome in outcomes)
        (tmp_path / "short").write_bytes(b"x")
        await w.ask(Asker(1), "short")
