"""GET /files: ranges, entity tags, headers, honest errors, and nothing read that nobody takes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.control import files
from hdpd.control.files import PREFIXES, parse_target
from hdpd.control.http_ranges import (
    RangeNotSatisfiable,
    entity_tag,
    is_unchanged,
    parse_range,
    range_applies,
)
from hdpd.errors import PathInvalid
from hdpd.remote import files as remote_files
from hdpd.remote.files import PIECE_BYTES
from hdpd.wire.messages import Read, ReadStarted, Request
from tests.control.fakes import MTIME_NS, Daemon, ScriptedSession, peer_id, running
from tests.fake_peer import FakeStream
from tests.waiting import until

DATA = bytes(range(256)) * 20_000  # 5 MB, more than is under way at once


def connect(daemon: Daemon, files_: dict[str, bytes]) -> ScriptedSession:
    session = ScriptedSession(1, files_)
    daemon.peers.sessions[session.peer_id] = session
    return session


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 6)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        (" bytes=9-9 ", (9, 10)),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=１-2", None),
        ("lines=0-1", None),
        ("", None),
    ],
)
def test_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=10-11", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_ranges_beyond_the_end(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, size)


@given(st.from_regex(r"bytes=\d{0,20}-\d{0,20}", fullmatch=True) | st.text(), st.integers(0, 1000))
def test_whatever_the_header_the_range_lies_in_the_file(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except RangeNotSatisfiable:
        return
    assert found is None or 0 <= found[0] < found[1] <= size


def test_entity_tags() -> None:
    tag = entity_tag(b"\xff\x00v")
    assert tag == '"_wB2"'
    assert is_unchanged(f'"x", {tag}', tag)
    assert is_unchanged(f"W/{tag}", tag)
    assert is_unchanged("*", tag)
    assert not is_unchanged('"x"', tag)
    assert not is_unchanged(None, tag)
    assert range_applies(None, tag)
    assert range_applies(tag, tag)
    assert not range_applies(f"W/{tag}", tag)


@given(st.sampled_from(PREFIXES), st.binary(max_size=60))
def test_whatever_the_url_a_target_is_safe_or_refused(prefix: str, raw: bytes) -> None:
    try:
        found, _peer, path = parse_target(prefix.encode() + raw)
    except PathInvalid:
        return
    assert found == prefix
    assert not path.is_root
    assert all(name.raw not in {b"", b".", b".."} for name in path)


async def test_a_whole_file_comes_in_order_with_safe_headers(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        session = connect(daemon, {"S/ü \n;.html": DATA})
        path = f"/files/{session.name}/S/%C3%BC%20%0A%3B.html"
        answer = await daemon.http("GET", path)
        assert answer.status == 200
        assert answer.body == DATA
        assert answer.headers["content-length"] == str(len(DATA))
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        disposition = "attachment; filename*=UTF-8''%C3%BC%20%0A%3B.html"
        assert answer.headers["content-disposition"] == disposition
        assert "server" not in answer.headers
        reads = [request for request in session.requests if isinstance(request, Read)]
        assert all(read.if_match == session.validator for read in reads[1:])
        assert max(read.length for read in reads) == PIECE_BYTES
        assert all(stream.closed for stream in session.streams)

        head = await daemon.http("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        same = {"content-length", "content-type", "etag", "accept-ranges"}
        assert all(head.headers[name] == answer.headers[name] for name in same)


async def test_a_limit_of_downloads_holds_for_what_is_looked_at_too(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        session = connect(daemon, {"S/a": DATA[:400_000]})
        await daemon.call("limits.set", download="1MB/s")
        began = asyncio.get_running_loop().time()
        assert (await daemon.http("GET", f"/files/{session.name}/S/a")).body == DATA[:400_000]
        assert asyncio.get_running_loop().time() - began > 0.1
        lengths = [read.length for read in session.requests if isinstance(read, Read)]
        assert max(lengths) <= 100_000


async def test_ranges_and_conditions(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        session = connect(daemon, {"S/a": DATA, "S/empty": b""})
        tag = entity_tag(session.validator)

        async def get(headers: dict[str, str], name: str = "a") -> tuple[int, bytes, str | None]:
            answer = await daemon.http("GET", f"/files/{session.name}/S/{name}", None, headers)
            return answer.status, answer.body, answer.headers.get("content-range")

        size = len(DATA)
        start = size - 2_000_000
        assert await get({"Range": f"bytes={start}-"}) == (
            206,
            DATA[start:],
            f"bytes {start}-{size - 1}/{size}",
        )
        assert await get({"Range": "bytes=-3"}) == (
            206,
            DATA[-3:],
            f"bytes {size - 3}-{size - 1}/{size}",
        )
        assert await get({"Range": f"bytes={size}-"}) == (416, b"", f"bytes */{size}")
        assert await get({"If-None-Match": tag}) == (304, b"", None)
        assert await get({"Range": "bytes=0-1", "If-Range": tag}) == (
            206,
            DATA[:2],
            f"bytes 0-1/{size}",
        )
        assert (await get({"Range": "bytes=0-1", "If-Range": '"old"'}))[0] == 200
        assert await get({}, "empty") == (200, b"", None)


async def test_a_file_of_this_hdpd(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(DATA)
    (tmp_path / "dir").mkdir()
    async with running(tmp_path) as daemon:
        assert (await daemon.http("GET", "/files/self/mine")).body == DATA
        ranged = await daemon.http("GET", "/files/self/mine", headers={"Range": "bytes=-9"})
        assert ranged.body == DATA[-9:]
        (tmp_path / "empty").touch()
        assert (await daemon.http("GET", "/files/self/empty")).body == b""
        assert (await daemon.http("GET", "/files/self/dir")).json()["error"] == "not_a_file"
        assert (await daemon.http("GET", "/files/self/none")).status == 404


WRONG_TARGETS = [
    ("NAME/S/none", 404, "path_not_found"),
    ("Nobody/S/a", 404, "peer_not_found"),
    ("AWAY/S/a", 503, "peer_not_connected"),
    ("NAME/S/dir", 409, "not_a_file"),
    ("NAME/S/busy", 503, "busy"),
    ("NAME/S/changed", 409, "file_changed"),
    ("NAME/S/odd", 502, "remote_error"),
    ("NAME/S/nonsense", 502, "protocol_error"),
    ("NAME/S/lost", 503, "connection_lost"),
    ("NAME/S/../a", 400, "path_invalid"),
    ("NAME/%2e%2e/a", 400, "path_invalid"),
    ("NAME//etc/passwd", 400, "path_invalid"),
    ("NAME/S/a%00", 400, "path_invalid"),
    ("NAME/S/%ff", 400, "path_invalid"),
    ("NAME", 400, "path_invalid"),
    ("", 400, "path_invalid"),
]


async def test_errors_before_the_first_byte_are_json(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        session = connect(daemon, {})
        answers: dict[str, list[Any]] = {
            "S/dir": [{"error": "not_a_file", "message": "a directory"}],
            "S/busy": [{"error": "busy", "message": "later"}],
            "S/changed": [{"error": "file_changed", "message": "it changed"}],
            "S/odd": [{"error": "unheard of", "message": "?"}],
            "S/nonsense": [{"ok": True}],
            "S/lost": [],
        }

        def script(request: Request) -> FakeStream | None:
            assert isinstance(request, Read)
            found = answers.get(request.path.text)
            return None if found is None else FakeStream(list(found))

        session.script = script
        for path, status, word in WRONG_TARGETS:
            target = path.replace("NAME", session.name).replace("AWAY", peer_id(9).text)
            answer = await daemon.http("GET", f"/files/{target}")
            assert (answer.status, answer.json()["error"]) == (status, word), path
            assert answer.json()["message"]
            assert "content-disposition" not in answer.headers


def changing_at(session: ScriptedSession, offset: int, *, late: bool) -> Any:
    """The file changes before (or while) the piece at `offset` is read."""

    def script(request: Request) -> FakeStream | None:
        assert isinstance(request, Read)
        if request.offset != offset or request.length == 0:
            return None
        data = session.files["S/a"]
        started = ReadStarted(request.length, len(data), MTIME_NS, b"v1" if late else b"v2")
        piece = data[offset : offset + request.length]
        return FakeStream([started.to_wire(), piece, {"end": b"v2"}])

    return script


@pytest.mark.parametrize("late", [False, True])
async def test_a_file_that_changes_is_cut_off_and_never_mixed(tmp_path: Path, late: bool) -> None:
    async with running(tmp_path) as daemon:
        session = connect(daemon, {"S/a": DATA})
        session.script = changing_at(session, 2 * PIECE_BYTES, late=late)
        with pytest.raises(http.client.IncompleteRead) as cut:
            await daemon.http("GET", f"/files/{session.name}/S/a")
        assert cut.value.partial == DATA[: 2 * PIECE_BYTES]

        session.script = changing_at(session, 0, late=late)
        answer = await daemon.http("GET", f"/files/{session.name}/S/a")
        assert (answer.status, answer.json()["error"]) == (409, "file_changed")


async def test_a_wait_for_an_upload_slot_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_files, "QUEUE_S", 0.05)
    async with running(tmp_path) as daemon:
        session = connect(daemon, {"S/a": DATA})

        class Queue(FakeStream):
            async def receive(self, timeout: float = 30.0) -> dict[str, Any]:
                await asyncio.sleep(0.02)
                return {"queued": 3}

        session.script = lambda _request: Queue([])
        answer = await daemon.http("GET", f"/files/{session.name}/S/a")
        assert (answer.status, answer.json()["error"]) == (503, "busy")


async def test_a_client_that_goes_or_is_slow_stops_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_READS", 1)
    async with running(tmp_path) as daemon:
        session = connect(daemon, {"S/a": bytes(64 * 1024 * 1024)})
        reader, writer = await asyncio.open_unix_connection(daemon.socket_path, limit=1000)
        writer.write(f"GET /files/{session.name}/S/a HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        # It takes nothing more, so nothing more than fits on the way is asked for.
        await until(lambda: len(session.requests) > 5)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(session.requests) < 20
        assert (await daemon.http("GET", f"/files/{session.name}/S/a")).status == 503
        writer.close()
        await until(lambda: daemon.control._endpoints._files._running == 0)
        assert all(stream.closed for stream in session.streams)
        session.files["S/a"] = b"again"
        assert (await daemon.http("GET", f"/files/{session.name}/S/a")).body == b"again"


async def test_hdpd_stops_in_time_while_a_file_is_read(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        session = connect(daemon, {"S/a": bytes(64 * 1024 * 1024)})
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(daemon.socket_path)
            client.sendall(f"GET /files/{session.name}/S/a HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await until(lambda: len(session.requests) > 2)
            async with asyncio.timeout(4):
                await daemon.control.close()
            assert all(stream.closed for stream in session.streams)
