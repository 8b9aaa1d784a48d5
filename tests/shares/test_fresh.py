"""A share is followed as it changes, is left alone while nothing does, and comes back."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from hdpd.config import ShareConfig
from hdpd.shares import inotify, mounts, scan_times, share
from hdpd.shares.inotify import parse_events
from hdpd.wire.paths import RemotePath
from tests.shares.test_shares import Service, make_files, service

SECONDS = 6.0  # after which a change has to be seen: 2 s, and what a busy machine adds


@pytest.fixture
def music(tmp_path: Path) -> Path:
    music = tmp_path / "Music"
    (music / "Björk").mkdir(parents=True)
    (music / "Björk" / "Jóga.flac").write_bytes(b"12345")
    (music / "empty").mkdir()
    return music


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is told is seen."""
    monkeypatch.setattr(share, "LOOK_S", 3600.0)


async def soon(running: Service, condition: Callable[[], Awaitable[bool]]) -> float:
    """Waits until it holds, which it may from one event to the next; returns how long that took."""
    started = time.monotonic()
    async with asyncio.timeout(20):
        while True:
            seen = len(running.events)
            if await condition():
                return time.monotonic() - started
            await running.until(lambda: len(running.events) > seen)  # noqa: B023


async def paths(running: Service) -> set[str]:
    return set(await running.paths(b"M", recursive=True))


def scans(running: Service) -> int:
    """How many scans have looked at everything."""
    states = [share.state for share in running.events]
    return sum(now == "scanning" != before for before, now in pairwise(["", *states]))


async def test_a_new_file_is_seen_within_seconds(
    tmp_path: Path, music: Path, nobody_looks: None
) -> None:
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_scanned("M")
        for number in range(3):
            name = f"new{number}.flac"
            (music / "Björk" / name).write_bytes(b"1234")

            async def is_there() -> bool:
                return f"Björk/{name}" in await paths(running)  # noqa: B023

            assert await soon(running, is_there) < SECONDS
            assert await running.found(name) == [f"M/Björk/{name}"]
        row = running.list()[0]
        assert (row.files, row.bytes, row.directories) == (4, 17, 2)


async def test_everything_that_happens_is_followed(
    tmp_path: Path, music: Path, nobody_looks: None
) -> None:
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_scanned("M")

        async def until(expected: set[str]) -> None:
            async def are_those() -> bool:
                return await paths(running) == expected

            await soon(running, are_those)

        # A tree that grows while it is being discovered.
        deep = music / "empty"
        for name in "abc":
            deep /= name
            deep.mkdir()
            (deep / "file").touch()
            await asyncio.sleep(0.1)
        old = {"Björk", "Björk/Jóga.flac", "empty"}
        new = {"a", "a/file", "a/b", "a/b/file", "a/b/c", "a/b/c/file"}
        await until(old | {f"empty/{name}" for name in new})
        (music / "empty").rename(music / "full")
        old = {"Björk", "Björk/Jóga.flac", "full"}
        await until(old | {f"full/{name}" for name in new})
        # What was renamed is still watched, under its new name.
        (deep.parent.parent.parent.parent / "full/a/b/c/more").touch()
        new.add("a/b/c/more")
        await until(old | {f"full/{name}" for name in new})
        (music / ".hdpignore").write_text("b/\n")
        await until(old | {"full/a", "full/a/file"})

        with (music / "Björk" / "Jóga.flac").open("r+b") as file:
            file.write(b"in place, and longer")

        async def is_longer() -> bool:
            return running.list()[0].bytes == 20

        await soon(running, is_longer)
        assert scans(running) == 1


async def test_renaming_a_large_directory_is_one_update(
    tmp_path: Path, music: Path, nobody_looks: None
) -> None:
    many = music / "many"
    await asyncio.to_thread(make_files, many, [f"{number}" for number in range(900)])
    past = time.time() - 60
    os.utime(many, (past, past))
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_scanned("M")
        ids = await running._index.read(lambda t: list(t.execute("SELECT id, name FROM file")))
        many.rename(music / "empty" / "Guðmundsdóttir")

        async def is_there() -> bool:
            return "empty/Guðmundsdóttir/899" in await paths(running)

        assert await soon(running, is_there) < SECONDS
        after = await running._index.read(lambda t: list(t.execute("SELECT id, name FROM file")))
        assert after == ids
        assert await running.found("dsdottir 899") == ["M/empty/Guðmundsdóttir/899"]
        assert await running.found("many") == []


async def test_more_changes_than_can_be_told_are_seen_all_the_same(
    tmp_path: Path, music: Path, nobody_looks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdpd.shares.watching.MAX_CHANGED", 3)
    for number in range(8):
        (music / f"d{number}").mkdir()
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_scanned("M")
        for number in range(8):
            (music / f"d{number}" / "file").touch()

        async def are_there() -> bool:
            return {f"d{number}/file" for number in range(8)} < await paths(running)

        await soon(running, are_there)
        await running.until_state("M", "ready")
        assert scans(running) == 2


async def test_with_few_watches_the_last_changed_directories_have_them(
    tmp_path: Path, music: Path, nobody_looks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdpd.shares.shares.max_watches", lambda: 4)  # of which three are used
    now = time.time()
    for number in range(9):
        (music / f"d{number}").mkdir()
        os.utime(music / f"d{number}", (now - 100 - number, now - 100 - number))
    os.utime(music / "d7", (now + 100, now + 100))
    os.utime(music / "d5", (now + 100, now + 100))
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until(lambda: scans(running) == 2)
        await running.until_state("M", "ready")
        keeper = running._shares["M"]
        assert keeper._watching is not None
        assert keeper._watching.count == 3
        assert keeper.status().watched == 3
        (music / "d7" / "file").touch()

        async def is_there() -> bool:
            return "d7/file" in await paths(running)

        assert await soon(running, is_there) < SECONDS
        # A new one takes the place of another; the share's own directory keeps its watch.
        (music / "new").mkdir()

        async def is_new() -> bool:
            return "new" in await paths(running)

        await soon(running, is_new)
        await running.until(lambda: keeper.status().watched == 3)
        assert keeper._watching.holds_root


async def test_nothing_is_done_while_nothing_happens(
    tmp_path: Path, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share, "LOOK_S", 0.01)
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_scanned("M")
        looks = []
        monkeypatch.setattr(share, "look_at", lambda *_, **__: looks.append(1))
        await asyncio.sleep(0.3)
        assert looks == []


async def test_the_interval_of_a_new_configuration_is_taken_over(
    tmp_path: Path, music: Path, nobody_looks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long a scan takes, it is not spared for that.
    monkeypatch.setattr(scan_times, "PART", 1.0)
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_scanned("M")
        assert scans(running) == 1
        await running.configure((ShareConfig("M", music, rescan=0.01),))
        await running.until(lambda: scans(running) == 2)
        await running.configure((ShareConfig("M", music),))
        await running.until_scanned("M")


async def test_a_share_without_watches_is_looked_after(
    tmp_path: Path, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(inotify, "open_inotify", fail)
    monkeypatch.setattr(share, "LOOK_S", 0.02)
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_scanned("M")
        assert running.list()[0].watched == 0
        music.rename(tmp_path / "unplugged")
        await running.until_state("M", "away")
        (tmp_path / "unplugged").rename(music)
        await running.until_scanned("M")


async def test_a_share_that_is_renamed_away_is_missed_at_once(
    tmp_path: Path, music: Path, nobody_looks: None
) -> None:
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_scanned("M")
        music.rename(tmp_path / "unplugged")
        started = time.monotonic()
        await running.until_state("M", "away")
        assert time.monotonic() - started < SECONDS
        assert "Björk/Jóga.flac" in await paths(running)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A file system, and where it is to be mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disk, place = tmp_path / "disk", tmp_path / "place"
    disk.mkdir()
    place.mkdir()
    try:
        mount("-t", "tmpfs", "none", str(disk))
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("nothing can be mounted here")
    (disk / "below").mkdir()
    (disk / "below" / "film.mkv").write_bytes(b"123")
    yield disk, place
    subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)
    subprocess.run(["umount", "-l", str(disk)], check=True)


def unmount(path: Path) -> None:
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.root
@pytest.mark.parametrize("below", ["", "below"])
async def test_an_unmounted_share_is_away_and_back_at_once(
    tmp_path: Path, disk: tuple[Path, Path], nobody_looks: None, below: str
) -> None:
    """Also a directory further down, when an empty one of that name is below the mount."""
    there, place = disk
    if below:
        (place / below).mkdir()
    mount("--bind", str(there), str(place))
    film = "film.mkv" if below else "below/film.mkv"
    async with service(tmp_path, ShareConfig("M", place / below)) as running:
        await running.until_scanned("M")
        for _ in range(2):
            await asyncio.to_thread(unmount, place)
            started = time.monotonic()
            await running.until_state("M", "away")
            assert film in await paths(running)
            assert running.list()[0].files == 1
            await asyncio.to_thread(mount, "--bind", str(there), str(place))
            await running.until(lambda: running.state_of("M") != "away")
            assert time.monotonic() - started < SECONDS
            running.open_file(RemotePath(b"M/" + film.encode())).close()
            await running.until_scanned("M")


def test_only_mounts_around_a_share_concern_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    monkeypatch.setattr(mounts, "MOUNTINFO", table)
    ours = rb"30 1 8:1 / /mnt/my\040disk rw - ext4 /dev/sdb rw"
    others = rb"31 1 8:2 / /mnt/my\040disk2 rw - ext4 /dev/sdc rw"
    above = b"1 0 8:0 / / rw - ext4 /dev/sda rw"
    table.write_bytes(b"\n".join([above, ours, others]))
    assert mounts.mounts_around(b"/mnt/my disk/music") == {above, ours}
    assert mounts.mounts_around(b"/mnt") == {above, ours, others}


@pytest.mark.parametrize(
    ("kind", "tells"),
    [(b"ext4", True), (b"nfs4", False), (b"fuse.mergerfs", False), (b"cifs", False)],
)
def test_some_file_systems_do_not_tell_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes, tells: bool
) -> None:
    table = tmp_path / "mountinfo"
    monkeypatch.setattr(mounts, "MOUNTINFO", table)
    table.write_bytes(b"30 1 8:1 / /mnt rw shared:1 - " + kind + b" source rw\n")
    assert mounts.tells_changes(os.makedev(8, 1)) is tells
    assert mounts.tells_changes(os.makedev(0, 99))


def test_events_are_parsed_as_the_kernel_packs_them() -> None:
    data = (
        b"\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00name" + bytes(12)
        + b"\xff\xff\xff\xff\x00\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    )  # fmt: skip
    assert list(parse_events(data)) == [
        (1, inotify.CREATED, b"name"),
        (-1, inotify.OVERFLOWED, b""),
    ]
