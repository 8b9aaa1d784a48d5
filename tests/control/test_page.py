"""The page, files of this machine, metrics, the log and TLS, over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path

import pytest
from websockets.asyncio.client import unix_connect

from hdpd.control import protocols
from hdpd.control.logring import MAX_LINE_CHARS, MAX_LINES, LogRing
from hdpd.control.media import media_type
from hdpd.control.page import Page
from hdpd.control.qr import qr_rows
from hdpd.control.results import LogLine, LogLines
from hdpd.control.rules import check_network
from hdpd.control.tls import self_signed
from hdpd.errors import Forbidden, StartError
from tests.control.fakes import running

LINK = re.compile(rb'"assets/([0-9a-f]{16})/([^"]+)"')


async def test_the_page_is_checked_each_time_and_its_files_never(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        index = await daemon.http("GET", "/", tcp=True)
        assert index.headers["cache-control"] == "no-cache"
        assert "default-src 'none'" in index.headers["content-security-policy"]
        assert "unsafe" not in index.headers["content-security-policy"]
        assert index.headers["x-frame-options"] == "DENY"
        assert index.headers["referrer-policy"] == "no-referrer"
        known = {"If-None-Match": index.headers["etag"]}
        assert (await daemon.http("GET", "/", headers=known, tcp=True)).status == 304
        links = LINK.findall(index.body)
        assert {name for _version, name in links} >= {b"main.js", b"base.css", b"icon.svg"}
        for version, name in links:
            path = f"/assets/{version.decode()}/{name.decode()}"
            asset = await daemon.http("GET", path, tcp=True)
            assert asset.status == 200
            assert "immutable" in asset.headers["cache-control"]
            assert asset.headers["x-content-type-options"] == "nosniff"
        for wrong in ("/assets/0/main.js", f"/assets/{version.decode()}/../page.py", "/assets/"):
            assert (await daemon.http("GET", wrong, tcp=True)).status == 404


def test_what_the_page_imports_is_there() -> None:
    page = Page()
    for name, content in page._assets.items():
        if name.endswith(".js"):
            for found in re.findall(
                rb'^(?:import|export) .*from "([^"]+)";', content, re.MULTILINE
            ):
                wanted = (Path("/", name).parent / found.decode()).resolve()
                assert str(wanted)[1:] in page._assets, (name, found)


def test_its_address_changes_with_its_content(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<script src="assets/a.js">')
    (tmp_path / "a.js").write_text("1")
    first = Page(tmp_path).version
    assert Page(tmp_path).version == first
    (tmp_path / "a.js").write_text("2")
    assert Page(tmp_path).version != first


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.PNG", "image/png"),
        ("film.mkv", "video/x-matroska"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.js", "text/plain; charset=utf-8"),
        ("a.svg", None),
        ("a.html", None),
        ("a.xhtml", None),
        ("a.pdf", None),
        ("png", None),
        ("a.png.exe", None),
    ],
)
def test_only_harmless_types_are_shown(name: str, expected: str | None) -> None:
    assert media_type(name) == expected


async def test_finished_downloads_have_ranges_and_nothing_else_is_there(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        film = tmp_path / "film.mp4"
        film.write_bytes(bytes(range(256)) * 10_000)
        daemon.downloads.finished.paths["a/film.mp4"] = film
        some = await daemon.http(
            "GET", "/downloads/a/film.mp4", headers={"Range": "bytes=1000-1999"}
        )
        assert (some.status, some.body) == (206, film.read_bytes()[1000:2000])
        assert some.headers["content-type"] == "video/mp4"
        assert some.headers["content-disposition"].startswith("inline;")
        assert some.headers["content-security-policy"] == "sandbox; default-src 'none'"
        head = await daemon.http("HEAD", "/downloads/a/film.mp4")
        assert (head.headers["content-length"], head.body) == ("2560000", b"")
        for missing in ("/downloads/other", "/downloads/a"):
            assert (await daemon.http("GET", missing)).status == 404
        for odd in ("/downloads/../x", "/downloads/", "/shares/", "/downloads/a/%00"):
            assert (await daemon.http("GET", odd)).status == 400, odd


async def test_metrics_need_a_token(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        assert (await daemon.http("GET", "/metrics", tcp=True)).status == 401
        token = {"Authorization": f"Bearer {await daemon.token('read')}"}
        answer = await daemon.http("GET", "/metrics", headers=token, tcp=True)
        assert answer.status == 200
        assert b'hdpd_peers{state="connected"} ' in answer.body
        assert b'hdpd_listings_total{answer="sent"} 3.0' in answer.body
        assert b'hdpd_listings_total{answer="not_modified"} 2.0' in answer.body
        assert b"process_resident_memory_bytes" in answer.body


async def test_a_token_is_a_login_too_and_logging_out_ends_only_sessions(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        token = await daemon.token("read")
        answer = await daemon.http("POST", "/login", b'{"token":"%s"}' % token.encode(), tcp=True)
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"hdpd_session_{daemon.port}={token};")
        assert "httponly" in cookie.lower()
        assert "samesite=strict" in cookie.lower()
        sent = {"Cookie": cookie.partition(";")[0]}
        assert (await daemon.http("POST", "/logout", headers=sent, tcp=True)).status == 200
        assert (await daemon.http("GET", "/metrics", headers=sent, tcp=True)).status == 200
        wrong = await daemon.http("POST", "/login", b'{"token":"hdp_x"}', tcp=True)
        assert wrong.status == 401


async def test_a_busy_connection_is_kept_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols.HttpProtocol, "idle_seconds", 0.4)
    async with running(tmp_path) as daemon:
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        for _ in range(8):
            await asyncio.sleep(0.1)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
        assert await reader.read() == b"", "and then it was idle for too long"
        writer.close()


def test_the_log_is_held_in_memory_and_bounded() -> None:
    ring = LogRing()
    logger = logging.Logger("test")  # noqa: LOG001 - one of its own, without parents
    logger.addHandler(ring)
    logger.info("one %s", "\udcff")
    logger.critical("x" * 5000)
    [first, second] = lines(ring, 0)
    assert (first.text, first.level) == ("one \\udcff", "info")
    assert (len(second.text), second.level) == (MAX_LINE_CHARS, "error")
    assert lines(ring, 1) == [second]
    assert ring.since(2) == LogLines(seq=2, lines=[])
    assert len(lines(ring, 99)) == 2, "a number of another run"
    for number in range(MAX_LINES):
        logger.info("%d", number)
    assert len(lines(ring, 0)) == MAX_LINES


def lines(ring: LogRing, since: int) -> list[LogLine]:
    return ring.since(since).lines


def test_a_qr_code_is_a_square_with_its_marks() -> None:
    rows = qr_rows("hdp1" + "a" * 200)
    assert {len(row) for row in rows} == {len(rows)}
    assert rows[0][:8] == rows[6][:8] == "11111110"


@pytest.mark.parametrize(
    ("client", "server", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("192.168.1.5", "192.168.1.2", True),
        ("100.64.3.4", "100.64.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("2001:db9:1:2::5", "2001:db9:1:2::1", True),
        ("2001:db9:1:3::5", "2001:db9:1:2::1", False),
        ("8.8.8.8", "192.168.1.2", False),
        ("::ffff:8.8.8.8", "::ffff:192.168.1.2", False),
        ("8.8.8.8", "8.8.8.8", True),
    ],
)
def test_without_tls_only_neighbours_get_in(client: str, server: str, allowed: bool) -> None:
    if allowed:
        check_network(client, server)
        return
    with pytest.raises(Forbidden, match="not encrypted"):
        check_network(client, server)


def test_a_certificate_is_made_once_and_kept_to_its_owner(tmp_path: Path) -> None:
    files = self_signed(tmp_path, frozenset({"nas", "nas.local"}))
    fingerprint = files.check()
    assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", fingerprint)
    assert files.key.stat().st_mode & 0o777 == 0o600
    assert self_signed(tmp_path, frozenset()).check() == fingerprint
    files.key.write_text("nonsense")
    with pytest.raises(StartError, match="cannot be used"):
        files.check()


async def test_progress_is_coalesced_for_each_client(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as daemon,
        unix_connect(daemon.socket_path, "ws://localhost/rpc") as client,
    ):
        await client.send('{"jsonrpc": "2.0", "id": 1, "method": "events.subscribe"}')
        await client.recv()
        for step in range(100):
            for number in range(10):
                key = ("download.changed", f"d{number}")
                daemon.events.write("download.changed", {"step": step}, key)
            await asyncio.sleep(0.005)
        seen: list[dict[str, object]] = []
        while len([data for data in seen if data["step"] == 99]) < 10:
            seen.append(json.loads(await client.recv())["params"]["data"])
        assert len(seen) < 100, "of a thousand events"
