"""Validators of listings, as peers are answered with them, and what is told when they change."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hdpd.config import ShareConfig
from hdpd.errors import PathNotFound
from hdpd.identity.keys import PeerId
from hdpd.shares import telling
from hdpd.shares.telling import Who
from hdpd.wire.messages import Entry, Ls, LsEnd
from hdpd.wire.paths import RemotePath
from tests.shares.index import Asker
from tests.shares.test_shares import ROOT, Service, Sink, entries_in, make_files, service

PEER = Asker(PeerId(b"p" * 32))
MUSIC = RemotePath(b"Music")
ALBUM = RemotePath(b"Music/album")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "PAUSE_S", 0.05)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    make_files(tmp_path / "Music" / "album", ["a", "b", "c"])
    return tmp_path / "Music"


async def ask(running: Service, request: Ls) -> tuple[list[Entry], LsEnd]:
    sink = Sink()
    await running.answer_ls(PEER, request, sink)
    assert sink.ended
    return entries_in(sink, "entries"), LsEnd.from_wire(sink.messages[-1])


async def validator_of(running: Service, path: RemotePath) -> bytes:
    _, end = await ask(running, Ls(path, if_none_match=b""))
    assert end.validator is not None
    return end.validator


async def test_what_did_not_change_is_not_sent(tmp_path: Path, music: Path) -> None:
    async with service(tmp_path, ShareConfig("Music", music)) as running:
        await running.until_scanned("Music")
        for path in (ROOT, MUSIC, ALBUM):
            validator = await validator_of(running, path)
            for request in (
                Ls(path, if_none_match=validator),
                # It stands for the directory, whatever is asked of it.
                Ls(path, sort="-size", limit=1, if_none_match=validator),
            ):
                entries, end = await ask(running, request)
                assert (entries, end) == ([], LsEnd(None, validator, not_modified=True))
            entries, end = await ask(running, Ls(path, if_none_match=b"another"))
            assert entries
            assert end == LsEnd(None, validator)
        first, end = await ask(running, Ls(ALBUM, limit=2, if_none_match=b""))
        rest, at_end = await ask(running, Ls(ALBUM, cursor=end.cursor, if_none_match=b""))
        assert [len(first), len(rest)] == [2, 1]
        assert end.validator == at_end.validator
        assert (running.listings_sent, running.listings_not_modified) == (8, 6)


async def test_who_does_not_ask_gets_no_validator(tmp_path: Path, music: Path) -> None:
    async with service(tmp_path, ShareConfig("Music", music)) as running:
        await running.until_scanned("Music")
        assert await ask(running, Ls(ROOT, recursive=True, if_none_match=b"x")) != ([], LsEnd(None))
        for request in (Ls(ALBUM), Ls(ALBUM, recursive=True, if_none_match=b"")):
            entries, end = await ask(running, request)
            assert len(entries) == 3
            assert end == LsEnd(None)
        assert running.teller._listeners == {}


async def test_no_validator_outlives_the_run(tmp_path: Path, music: Path) -> None:
    found = []
    for _ in range(2):
        async with service(tmp_path, ShareConfig("Music", music)) as running:
            await running.rescan(None)  # so that it is not stopped while it begins the first one
            await running.until_scanned("Music")
            found.append([await validator_of(running, path) for path in (ROOT, MUSIC, ALBUM)])
    assert not set(found[0]) & set(found[1])


async def test_every_change_is_told(tmp_path: Path, music: Path) -> None:
    """Also of what has no validator yet, because no scan has been there."""
    told: asyncio.Queue[tuple[Who, tuple[RemotePath, ...] | None]] = asyncio.Queue()

    async def tell(who: Who, paths: tuple[RemotePath, ...] | None) -> None:
        told.put_nowait((who, paths))

    async def hear(*expected: RemotePath) -> None:
        waiting = set(expected)
        async with asyncio.timeout(20):
            while waiting:
                who, paths = await told.get()
                assert who == PEER.peer_id
                assert paths is not None
                waiting -= set(paths)

    async with service(tmp_path) as running:
        running.teller.on_news = tell
        assert await ask(running, Ls(ROOT, if_none_match=b"")) == ([], await end_of(running))
        await running.add(str(music), None)
        entries, end = await ask(running, Ls(ALBUM, if_none_match=b""))
        assert len(entries) == 3
        await hear(ROOT, *([ALBUM] if end.validator is None else []))
        await running.until_scanned("Music")

        validators = {path: await validator_of(running, path) for path in (ROOT, MUSIC, ALBUM)}
        (music / "album" / "d").write_text("!")
        await hear(ROOT, MUSIC, ALBUM)
        for path, validator in validators.items():
            assert await validator_of(running, path) != validator

        (music / "album").rename(music / "Album")
        await hear(ROOT, MUSIC, ALBUM)  # the time of the share's own directory is new, too
        with pytest.raises(PathNotFound):
            await ask(running, Ls(ALBUM, if_none_match=b""))
        for path in (ROOT, MUSIC):
            await validator_of(running, path)
        await running.remove("Music")
        await hear(ROOT, MUSIC)
        assert running._cleaner is not None
        await running._cleaner


async def end_of(running: Service) -> LsEnd:
    return LsEnd(None, await validator_of(running, ROOT))


async def test_clients_here_are_told_as_well(tmp_path: Path, music: Path) -> None:
    told: asyncio.Queue[tuple[Who, tuple[RemotePath, ...] | None]] = asyncio.Queue()

    async def tell(who: Who, paths: tuple[RemotePath, ...] | None) -> None:
        told.put_nowait((who, paths))

    async with service(tmp_path, ShareConfig("Music", music)) as running:
        running.teller.on_news = tell
        await running.until_scanned("Music")
        entries, _ = await running.follow_files(ALBUM, sort="name", limit=9, cursor=None)
        assert len(entries) == 3
        (music / "album" / "a").unlink()
        async with asyncio.timeout(20):
            assert await told.get() == (None, (ALBUM,))
