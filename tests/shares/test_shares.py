"""The shares service, whole: scanning child processes, listing, searching, adding and removing."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hdpd.config import ShareConfig
from hdpd.database import Database
from hdpd.errors import (
    FileUnreadable,
    Forbidden,
    InvalidParams,
    LimitReached,
    NotADirectory,
    PathNotFound,
    ShareAway,
    ShareExists,
    ShareNotFound,
)
from hdpd.identity.keys import PeerId
from hdpd.shares import listing, naming, share
from hdpd.shares.answers import FRAME_BYTES
from hdpd.shares.cursors import Step, TreeCursor
from hdpd.shares.presence import look_at
from hdpd.shares.search import Search as SearchRun
from hdpd.shares.shares import Shares
from hdpd.shares.status import ShareChanged, ShareStatus
from hdpd.wire.codec import MAX_FRAME_BYTES, encode
from hdpd.wire.messages import Entry, EntryType, Ls, Search, entries_from_wire
from hdpd.wire.paths import RemotePath
from tests.shares.index import Asker
from tests.waiting import News

Events = list[ShareStatus]
ROOT = RemotePath(b"")
ASKER = Asker(PeerId(bytes(32)))


class Service(Shares):
    """The service with its events, and ways to wait for them."""

    def __init__(
        self, directory: Path, state: Database, configured: tuple[ShareConfig, ...]
    ) -> None:
        self.events: Events = []
        self._news = News()
        super().__init__(directory / "index.db", state, configured, self._note)

    def _note(self, event: ShareChanged) -> None:
        self.events.append(event.share)
        self._news.tell()

    async def until(self, condition: Callable[[], bool]) -> None:
        await self._news.until(condition)

    def state_of(self, name: str) -> object:
        return next((row.state for row in self.list() if row.name == name), None)

    async def until_state(self, name: str, state: str) -> None:
        await self.until(lambda: self.state_of(name) == state)

    async def until_scanned(self, name: str) -> None:
        def is_scanned() -> bool:
            row = next(row for row in self.list() if row.name == name)
            return row.state == "ready" and bool(row.searchable)

        await self.until(is_scanned)

    async def paths(self, path: bytes = b"", *, recursive: bool = False) -> list[str]:
        page, cursor = await self.list_files(
            RemotePath(path), recursive=recursive, sort="name", limit=1000, cursor=None
        )
        assert cursor is None
        return [entry.path.text for entry in page]

    async def found(self, query: str) -> list[str]:
        return [entry.path.text for entry in (await self.search(query, 100))[0]]


@asynccontextmanager
async def service(directory: Path, *configured: ShareConfig) -> AsyncIterator[Service]:
    state = Database(directory / "state.db", "state")
    await state.open()
    running = Service(directory, state, configured)
    try:
        await running.start()
        yield running
    finally:
        await running.close()
        await state.close()


def make_files(directory: Path, names: list[str]) -> None:
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).touch()


@pytest.fixture
def music(tmp_path: Path) -> Path:
    music = tmp_path / "Music"
    (music / "Björk").mkdir(parents=True)
    (music / "Björk" / "Jóga.flac").write_bytes(b"12345")
    (music / "empty").mkdir()
    (music / "list.txt").write_bytes(b"1")
    return music


async def test_a_new_configuration_is_taken_over(tmp_path: Path, music: Path) -> None:
    films, books = tmp_path / "films", tmp_path / "books"
    make_files(films, ["f"])
    make_files(books, ["b"])
    async with service(tmp_path, ShareConfig("M", music), ShareConfig("X", films)) as running:
        await running.add(str(books), "B")
        await running.until_scanned("M")
        await running.configure((ShareConfig("M", music), ShareConfig("B", films)))
        assert [row.name for row in running.list()] == ["B", "M"]
        assert running.state_of("M") == "ready"
        await running.until_scanned("B")
        assert await running.paths(b"B") == ["f"]
        with pytest.raises(Forbidden):
            await running.remove("B")
        # The one that it hid comes back.
        await running.configure((ShareConfig("M", music),))
        await running.until_scanned("B")
        assert await running.paths(b"B") == ["b"]
        await running.remove("B")


async def test_a_share_is_scanned_listed_searched_and_read(tmp_path: Path, music: Path) -> None:
    async with service(tmp_path, ShareConfig("M", music)) as running:
        assert running.ready
        await running.until_scanned("M")
        (row,) = running.list()
        assert row.scanned_at
        assert row == ShareStatus(
            name="M",
            path=str(music),
            state="ready",
            searchable=True,
            files=2,
            directories=2,
            bytes=6,
            skipped=0,
            skipped_first=(),
            scanned_at=row.scanned_at,
            watched=3,
            error=None,
            configured=True,
        )
        assert await running.paths() == ["M"]
        assert await running.paths(b"M") == ["Björk", "empty", "list.txt"]
        assert await running.paths(b"M", recursive=True) == [
            "list.txt",
            "Björk",
            "Björk/Jóga.flac",
            "empty",
        ]
        assert await running.found("joga") == ["M/Björk/Jóga.flac"]
        with running.open_file(RemotePath("M/Björk/Jóga.flac".encode())) as file:
            assert os.read(file.fd, 10) == b"12345"
        entries, _ = await running.list_files(
            ROOT, recursive=False, sort="name", limit=10, cursor=None
        )
        assert (entries[0].size, entries[0].files) == (6, 2)
        assert {share.name for share in running.events} == {"M"}


async def test_everything_can_be_browsed_before_the_scan_has_begun(
    tmp_path: Path, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(share, "run_scanner", never)
    async with service(tmp_path, ShareConfig("M", music)) as running:
        assert await running.paths(b"M") == ["Björk", "empty", "list.txt"]
        assert await running.paths("M/Björk".encode()) == ["Jóga.flac"]
        assert await running.paths(recursive=True) == [
            "M",
            "M/list.txt",
            "M/Björk",
            "M/Björk/Jóga.flac",
            "M/empty",
        ]
        assert await running.found("joga") == []
        for wrong in (b"M/nothing", b"M/list.txt/x"):
            with pytest.raises(PathNotFound):
                await running.paths(wrong)
        with pytest.raises(NotADirectory):
            await running.paths(b"M/list.txt")


async def test_a_restart_serves_the_last_index_at_once(
    tmp_path: Path, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_scanned("M")

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(share, "run_scanner", never)
    async with service(tmp_path, ShareConfig("M", music)) as running:
        (row,) = running.list()
        assert (row.files, row.bytes, row.searchable) == (2, 6, True)
        assert await running.found("joga") == ["M/Björk/Jóga.flac"]
        assert await running.paths(b"M") == ["Björk", "empty", "list.txt"]


async def test_a_rescan_sees_what_is_new(tmp_path: Path, music: Path) -> None:
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_scanned("M")
        (music / "new").mkdir()
        (music / "new" / "x").touch()
        assert await running.paths(b"M/new") == ["x"]  # from the file system
        await running.rescan("M")
        await running.until(lambda: running.list()[0].files == 3)
        assert await running.paths(b"M") == ["Björk", "empty", "new", "list.txt"]
        with pytest.raises(ShareNotFound):
            await running.rescan("X")


async def test_shares_are_added_kept_and_removed(tmp_path: Path, music: Path) -> None:
    async with service(tmp_path) as running:
        assert await running.add(str(music) + "/", None) == "Music"
        await running.until_scanned("Music")
    async with service(tmp_path) as running:
        assert [row.name for row in running.list()] == ["Music"]
        await running.remove("Music")
        assert running.events[-1].state == "removed"
        assert running.list() == []
        assert await running.paths() == []
        assert await running.found("joga") == []
        with pytest.raises(PathNotFound):
            running.open_file(RemotePath(b"Music/list.txt"))
        with pytest.raises(ShareNotFound):
            await running.remove("Music")
        assert running._cleaner is not None
        await running._cleaner
        rows = await running._index.read(lambda t: list(t.execute("SELECT * FROM directory")))
        assert rows == []
    async with service(tmp_path) as running:
        assert running.list() == []


async def test_a_share_removed_and_added_again_is_whole(tmp_path: Path, music: Path) -> None:
    async with service(tmp_path) as running:
        for _ in range(2):
            await running.add(str(music), "M")
            await running.until_scanned("M")
            assert await running.found("joga") == ["M/Björk/Jóga.flac"]
            await running.remove("M")
        await running.add(str(music), "M")
        await running.until_scanned("M")
        if running._cleaner:
            await running._cleaner
        assert await running.paths(b"M") == ["Björk", "empty", "list.txt"]
        assert await running.found("joga") == ["M/Björk/Jóga.flac"]


async def test_what_cannot_be_shared_is_refused_with_the_reason(
    tmp_path: Path, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other" / "Music"
    other.mkdir(parents=True)
    async with service(tmp_path, ShareConfig("Music", music)) as running:
        cases: list[tuple[type[Exception], str, str, str | None]] = [
            (ShareExists, "'Music 2'", str(other), None),
            (ShareExists, "as 'Music'", f"{music}/../Music", "Again"),
            (PathNotFound, "nowhere", str(tmp_path / "nowhere"), None),
            (NotADirectory, "list.txt", str(music / "list.txt"), None),
            (InvalidParams, "absolute", "Music", None),
            (InvalidParams, "absolute", str(music) + "\0", None),
            (InvalidParams, "no name", "/", None),
            (InvalidParams, "slash", str(other), "a/b"),
            (InvalidParams, "cannot be", str(other), ".."),
        ]
        for error, reason, path, name in cases:
            with pytest.raises(error, match=reason):
                await running.add(path, name)
        with pytest.raises(Forbidden, match="configuration"):
            await running.remove("Music")
        assert await running.add(str(other), "Music 2") == "Music 2"
        monkeypatch.setattr(naming, "MAX_SHARES", 2)
        with pytest.raises(LimitReached):
            await running.add(str(tmp_path), "third")


async def test_a_directory_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    async with service(tmp_path) as running:
        monkeypatch.setattr("hdpd.shares.naming.os.scandir", fail)
        with pytest.raises(FileUnreadable, match="Permission denied"):
            await running.add(str(tmp_path), "T")


async def test_a_name_that_is_not_utf8_is_served_everywhere(tmp_path: Path) -> None:
    raw = b"caf\xe9\n-\xf0\x9f\x8e\xb5"
    directory = os.path.join(os.fsencode(tmp_path), raw)  # noqa: PTH118
    os.mkdir(directory)  # noqa: PTH102
    with open(os.path.join(directory, raw), "wb") as file:  # noqa: PTH118, PTH123
        file.write(b"x")
    path = RemotePath(raw).text
    async with service(tmp_path) as running:
        name = await running.add(f"{tmp_path}/{path}", None)
        assert name == path
        assert await running.paths(raw) == [path]
        await running.until_scanned(name)
        assert await running.paths(raw) == [path]
        assert await running.found("caf") == [path, f"{path}/{path}"]
        with running.open_file(RemotePath(raw + b"/" + raw)) as opened:
            assert opened.size == 1


async def test_a_share_that_vanishes_is_away_and_comes_back(
    tmp_path: Path, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share, "LOOK_S", 0.02)
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_scanned("M")
        music.rename(tmp_path / "unplugged")
        await running.until_state("M", "away")
        assert str(music) in str(running.list()[0].error)
        assert await running.paths(b"M") == ["Björk", "empty", "list.txt"]
        assert await running.found("joga") == ["M/Björk/Jóga.flac"]
        for path in (b"M/list.txt", b"M/nothing"):
            with pytest.raises(ShareAway):
                running.open_file(RemotePath(path))
        with pytest.raises(ShareAway):
            await running.paths(b"M/nothing")
        (tmp_path / "unplugged").rename(music)
        await running.until_scanned("M")
        running.open_file(RemotePath(b"M/list.txt")).close()


async def test_a_dead_mount_stops_nobody_else(
    tmp_path: Path, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every look at the share `dead` hangs, as on a network mount whose server is gone."""
    hang = threading.Event()

    def look(place: Any, **options: Any) -> Any:
        if place.path.endswith(b"dead"):
            hang.wait()
        return look_at(place, **options)

    monkeypatch.setattr(share, "look_at", look)
    monkeypatch.setattr(share, "ANSWER_S", 0.05)
    monkeypatch.setattr(share, "LOOK_S", 0.01)
    (tmp_path / "dead").mkdir()
    configured = ShareConfig("dead", tmp_path / "dead"), ShareConfig("M", music)
    try:
        async with service(tmp_path, *configured) as running:
            await running.until_state("dead", "away")
            await running.until_scanned("M")
            assert await running.found("joga") == ["M/Björk/Jóga.flac"]
            assert "does not answer" in str(running.list()[1].error)
            with pytest.raises(ShareAway):
                running.open_file(RemotePath(b"dead/file"))
            assert await running.paths(recursive=True) == [
                "dead",
                "M",
                "M/list.txt",
                "M/Björk",
                "M/Björk/Jóga.flac",
                "M/empty",
            ]
            stuck = [t for t in threading.enumerate() if t.name == "share-dead"]
            assert len(stuck) <= 4
            started = time.monotonic()
        assert time.monotonic() - started < 5
    finally:
        hang.set()


async def test_a_scanner_that_dies_leaves_an_error_and_a_rescan_mends_it(
    tmp_path: Path, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdpd.shares.scanning.sys.executable", "/bin/true")
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_state("M", "error")
        assert "scanner" in str(running.list()[0].error)
        assert await running.paths(b"M") == ["Björk", "empty", "list.txt"]
        monkeypatch.undo()
        await running.rescan(None)
        await running.until_scanned("M")


async def test_a_damaged_index_is_made_anew(tmp_path: Path, music: Path) -> None:
    (tmp_path / "index.db").write_bytes(b"this is no database" * 1000)
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_scanned("M")
        assert await running.found("joga") == ["M/Björk/Jóga.flac"]


async def test_closing_ends_a_running_scan_at_once(tmp_path: Path) -> None:
    tree = tmp_path / "many"
    for number in range(50):
        make_files(tree / f"d{number}", ["x"])
    async with service(tmp_path, ShareConfig("many", tree)) as running:
        await running.until(lambda: running._shares["many"].root > 0)
        started = time.monotonic()
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("is_former", [False, True])
async def test_a_tree_that_is_half_scanned_is_listed_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_former: bool
) -> None:
    """What the index does not know yet comes from the file system, page by page; a listing that was
    begun before there was a natural order goes on in the former one.
    """
    first = TreeCursor(Step.FILE, RemotePath(b"!"), is_former=True).encode() if is_former else None
    share_path = tmp_path / "S"
    expected = []
    for outer in "abc":
        expected.append(outer)
        (share_path / outer).mkdir(parents=True)
        for inner in "xyz":
            (share_path / outer / inner).mkdir()
            expected.append(f"{outer}/{inner}")
            for number in (1, 10, 2) if is_former else (1, 2, 10):
                (share_path / outer / inner / str(number)).touch()
                expected.append(f"{outer}/{inner}/{number}")
    async with service(tmp_path, ShareConfig("S", share_path)) as running:
        await running.until_scanned("S")
        paths = [row.name for row in running.list()]
        assert paths == ["S"]

    def forget_half(transaction: Any) -> None:
        """As if the scan had not come to `a/y`, nor to anything in `b`."""
        ids = "SELECT id FROM directory WHERE name='y' OR name='b'"
        transaction.execute(f"DELETE FROM file WHERE directory IN ({ids})")  # noqa: S608
        transaction.execute(
            "DELETE FROM directory WHERE parent=(SELECT id FROM directory WHERE name='b')"
        )
        transaction.execute(f"UPDATE directory SET scanned=0 WHERE id IN ({ids})")  # noqa: S608

    index = Database(tmp_path / "index.db", "index")
    await index.open()
    await index.write(forget_half)
    await index.close()

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(share, "run_scanner", never)
    async with service(tmp_path, ShareConfig("S", share_path)) as running:
        for limit, live in ((1, 1), (2, 3), (5, 2), (100, 4), (100, 100)):
            monkeypatch.setattr(listing, "LIVE_ENTRIES", live)
            for top, prefix in ((b"S", ""), (b"", "S/")):
                seen, cursor = [], first
                while True:
                    page, cursor = await running.list_files(
                        RemotePath(top), recursive=True, sort="name", limit=limit, cursor=cursor
                    )
                    assert len(page) <= limit
                    seen += [entry.path.text for entry in page]
                    if cursor is None:
                        break
                whole = [prefix + path for path in expected]
                assert seen == (["S", *whole] if prefix else whole)


async def test_an_index_whose_search_tables_lack_names_is_not_searchable_yet(
    tmp_path: Path, music: Path
) -> None:
    async with service(tmp_path, ShareConfig("M", music)) as running:
        await running.until_scanned("M")
    index = Database(tmp_path / "index.db", "index")
    await index.open()
    await index.write(lambda t: t.execute("UPDATE state SET searchable_file=1"))
    await index.close()
    async with service(tmp_path, ShareConfig("M", music)) as running:
        assert running.list()[0].searchable is False
        await running.until_scanned("M")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"sort": "colour"}, "sort"),
        ({"cursor": b"nonsense"}, "cursor"),
        ({"recursive": True, "sort": "size"}, "name"),
        ({"recursive": True, "cursor": b"\x80"}, "cursor"),
    ],
)
async def test_a_bad_listing_is_refused(
    tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    wanted: dict[str, Any] = {"recursive": False, "sort": "name", "limit": 5, "cursor": None}
    async with service(tmp_path) as running:
        with pytest.raises(InvalidParams, match=reason):
            await running.list_files(ROOT, **(wanted | options))


async def test_the_list_of_shares_is_sorted_and_paged(tmp_path: Path, music: Path) -> None:
    configured = [ShareConfig(name, music) for name in ("b", "A", "c")]
    async with service(tmp_path, *configured) as running:
        first, cursor = await running.list_files(
            ROOT, recursive=False, sort="-name", limit=2, cursor=None
        )
        rest, end = await running.list_files(
            ROOT, recursive=False, sort="-name", limit=2, cursor=cursor
        )
        assert [entry.path.text for entry in first + rest] == ["c", "b", "A"]
        assert end is None


async def test_searches_wait_for_their_turn_up_to_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(tmp_path) as running:
        results = await asyncio.gather(
            *(running.search("x", 5) for _ in range(200)), return_exceptions=True
        )
        busy = [result for result in results if isinstance(result, Exception)]
        assert 0 < len(busy) < 200
        assert await running.search("x", 5) == ([], False)
        for limit in (0, 10_001):
            with pytest.raises(InvalidParams, match="limit"):
                await running.search("x", limit)


async def test_more_hits_than_wanted_and_too_little_time_are_told(tmp_path: Path) -> None:
    many = tmp_path / "many"
    await asyncio.to_thread(make_files, many, [f"file{number}" for number in range(3000)])
    async with service(tmp_path, ShareConfig("S", many)) as running:
        await running.until_scanned("S")
        hits, more = await running.search("file", 10)
        assert (len(hits), more) == (10, True)
        hits, more = await running.search("file", 3000)
        assert (len(hits), more) == (3000, False)
        hits, more = await running.search("file", 3000, timeout=-1)
        assert len(hits) < 3000
        assert more


async def test_a_search_that_nobody_waits_for_makes_room_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless(search: SearchRun) -> Iterator[Entry]:
        loop.call_soon_threadsafe(begun.set)
        while True:
            search.deadline.check()
            time.sleep(0.001)  # as one that reads does, so that others get the interpreter
            yield from ()

    async with service(tmp_path) as running:
        with monkeypatch.context() as patch:
            patch.setattr(SearchRun, "hits", endless)
            task = asyncio.create_task(running.search("x", 5, timeout=60))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with asyncio.timeout(10):
            assert await running.search("x", 5) == ([], False)


class Sink:
    """A stream that keeps what is sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.ended = False

    async def send_message(self, message: dict[str, Any], *, end: bool = False) -> None:
        assert not self.ended
        assert len(encode(message)) <= MAX_FRAME_BYTES
        self.messages.append(message)
        self.ended = end


def entries_in(sink: Sink, key: str) -> list[Entry]:
    return [entry for message in sink.messages[:-1] for entry in entries_from_wire(message, key)]


async def test_peers_are_answered_in_frames(tmp_path: Path) -> None:
    big = tmp_path / "big"
    await asyncio.to_thread(make_files, big, [f"{number:0200}" for number in range(1500)])
    async with service(tmp_path, ShareConfig("big", big)) as running:
        await running.until_scanned("big")
        sink = Sink()
        await running.answer_ls(ASKER, Ls(RemotePath(b"big"), limit=1400), sink)
        assert sink.ended
        entries = entries_in(sink, "entries")
        assert [int(entry.path.text) for entry in entries] == list(range(1400))
        assert len(sink.messages) > 1400 * 200 / FRAME_BYTES
        cursor = sink.messages[-1]["cursor"]
        assert sink.messages[-1]["end"] is True

        sink = Sink()
        await running.answer_ls(ASKER, Ls(RemotePath(b"big"), limit=1400, cursor=cursor), sink)
        assert len(entries_in(sink, "entries")) == 100
        assert sink.messages[-1] == {"end": True, "cursor": None}

        sink = Sink()
        await running.answer_search(ASKER, Search("000 99", limit=1000), sink)
        assert sink.ended
        assert sink.messages[-1] == {"end": True, "truncated": False}
        hits = entries_in(sink, "hits")
        assert {hit.type for hit in hits} == {EntryType.FILE}
        assert sorted(int(hit.path.name.text) for hit in hits) == [
            number for number in range(1500) if "99" in str(number)
        ]


async def test_peers_get_errors_before_anything_else(tmp_path: Path) -> None:
    async with service(tmp_path) as running:
        sink = Sink()
        with pytest.raises(PathNotFound):
            await running.answer_ls(ASKER, Ls(RemotePath(b"nothing")), sink)
        with pytest.raises(InvalidParams):
            await running.answer_search(ASKER, Search(" "), sink)
        assert sink.messages == []
