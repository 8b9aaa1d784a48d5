"""The methods over a real socket: each reaches its part, and peers' answers are taken with care."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hdpd.config import UnixAddress
from hdpd.control import searches
from hdpd.control.entries import MAX_RECURSIVE_ENTRIES
from hdpd.identity.keys import PeerId
from hdpd.identity.names import name_of
from hdpd.remote import listings
from hdpd.remote.searches import MAX_HITS_OF_ONE_PEER
from hdpd.wire.messages import Ls, Request, Search
from tests.control.fakes import Daemon, ScriptedSession, entry, peer_id, running
from tests.fake_peer import FakeStream


def connect(daemon: Daemon, number: int, files: dict[str, bytes] | None = None) -> ScriptedSession:
    session = ScriptedSession(number, files)
    daemon.peers.sessions[session.peer_id] = session
    return session


def answering(*messages: Any, hold: bool = False) -> Any:
    return lambda _request: FakeStream(list(messages), hold=hold)


async def test_calls_reach_the_parts(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        id_, text = peer_id(9), peer_id(9).text
        name = name_of(id_)
        assert (await daemon.call("daemon.info"))["name"] == "MellowChinchilla"
        found = await daemon.call("daemon.doctor")
        assert [finding["check"] for finding in found["findings"]] == ["clock"]
        [known] = (await daemon.call("peers.list", all=True))["peers"]
        assert (known["id"], known["name"], known["state"]) == (text, name, "known")
        assert await daemon.call("peers.list") == {"peers": []}
        assert await daemon.call("peers.connect", code="c") == {"peer": peer_id(1).text}
        for method in ("disconnect", "block", "unblock"):
            assert await daemon.call(f"peers.{method}", peer=text[:6]) == {}
            assert daemon.peers.calls[-1] == (method, id_)
        assert await daemon.call("peers.invite") == {"code": "hdp1-code"}
        assert await daemon.call("topics.join", name="cinema") == {"name": "cinema"}
        assert await daemon.call("topics.leave", name="party") == {}
        [topic] = (await daemon.call("topics.list"))["topics"]
        assert (topic["name"], topic["peers"]) == ("cinema", 1)
        assert await daemon.call("shares.add", path="/srv/Music") == {"name": "Music"}
        assert (await daemon.call("shares.list"))["shares"][0]["name"] == "Music"
        assert await daemon.call("shares.remove", name="Music") == {}
        assert await daemon.call("downloads.add", peer=name, path="S/a") == {
            "id": "d1",
            "ids": ["d1"],
        }
        assert await daemon.call("downloads.list", states=["done"], limit=5, cursor="c")
        assert await daemon.call("downloads.files", id="d1")
        for method in ("pause", "resume", "cancel", "retry", "clear"):
            assert await daemon.call(f"downloads.{method}", ids=["d1", "d2"]) == {}
        assert await daemon.call("downloads.move", id="d1", to="top") == {}
        assert daemon.downloads.calls == [
            ("add", id_, "S/a", None),
            ("list", ["done"], 5, "c"),
            *[(m, ["d1", "d2"]) for m in ("pause", "resume", "cancel", "retry", "clear")],
            ("move", "d1", "top"),
        ]
        assert await daemon.call("uploads.list") == {"active": [], "waiting": []}
        assert await daemon.call("uploads.cancel", peer=name) == {}
        assert daemon.uploads.cancelled == [id_]
        limits = await daemon.call("limits.set", upload="2MB/s", download=50_000, lan=True)
        assert limits["set"] == {"upload": 2_000_000, "download": 50_000, "lan": True}
        limits = await daemon.call("limits.set", download=None)
        assert limits == await daemon.call("limits.get")
        assert limits["set"] == {"upload": 2_000_000, "download": None, "lan": True}
        assert (await daemon.call("limits.set", reset=True))["set"] == {}
        assert (await daemon.call("rpc.discover"))["openrpc"]
        assert not daemon.itself.stopped.is_set()
        assert await daemon.call("daemon.shutdown") == {}
        await daemon.itself.stopped.wait()


WRONG_CALLS: list[tuple[str, dict[str, Any], int, str]] = [
    ("peers.block", {"peer": "Nobody"}, -32000, "peer_not_found"),
    ("files.list", {"peer": "known"}, -32000, "peer_not_found"),
    ("files.list", {"peer": "self", "path": "../x"}, -32602, "path_invalid"),
    ("files.list", {"peer": "self", "path": "/etc"}, -32602, "path_invalid"),
    ("files.list", {"peer": "self", "path": "a\0b"}, -32602, "path_invalid"),
    ("files.list", {"peer": "self", "sort": "color"}, -32602, "invalid_params"),
    ("files.list", {"peer": "self", "limit": 0}, -32602, "invalid_params"),
    ("files.list", {"peer": "self", "limit": 10_001}, -32602, "invalid_params"),
    ("files.list", {"peer": "self", "cursor": "%%"}, -32602, "invalid_params"),
    ("files.list", {"peer": "self", "cursor": "ä"}, -32602, "invalid_params"),
    ("files.search", {"query": ""}, -32602, "invalid_params"),
    ("files.search", {"query": "x", "stream": True}, -32602, "invalid_params"),
    ("events.subscribe", {}, -32602, "invalid_params"),
    ("downloads.move", {"id": "d1", "to": "left"}, -32602, "invalid_params"),
    ("downloads.pause", {"ids": []}, -32602, "invalid_params"),
    ("limits.set", {"upload": "fast"}, -32602, "invalid_params"),
    ("limits.set", {"upload": 9999}, -32602, "invalid_params"),
    ("limits.set", {"lan": 1}, -32602, "invalid_params"),
    ("limits.set", {"upload": True}, -32602, "invalid_params"),
    ("tokens.revoke", {"id": "nope"}, -32000, "token_not_found"),
    ("shares.remove", {"name": "nope"}, -32603, "internal_error"),
]


async def test_wrong_calls(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        for method, params, code, word in WRONG_CALLS:
            assert await daemon.error(method, **params) == (code, word), (method, params)


async def test_an_ambiguous_peer_is_refused_with_the_ids(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        raw = b"\x01" * 31
        ids = [PeerId(raw + bytes([last])) for last in (1, 2)]
        daemon.peers.known |= dict.fromkeys(ids, "known")
        error = (await daemon.rpc("files.list", peer=ids[0].text[:10]))["error"]
        assert error["data"]["error"] == "peer_ambiguous"
        assert all(id_.text in error["message"] for id_ in ids)


@pytest.mark.parametrize("method", ["files.list", "files.search"])
async def test_a_known_peer_that_is_away(tmp_path: Path, method: str) -> None:
    params = {"query": "x"} if method == "files.search" else {}
    async with running(tmp_path) as daemon:
        error = (await daemon.rpc(method, peer=peer_id(9).text, **params))["error"]
        assert error["data"]["error"] == "peer_not_connected"
        assert name_of(peer_id(9)) in error["message"]


async def test_a_peers_directory_is_listed_page_by_page(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        session = connect(daemon, 1, {"S/ä": b"12345", "S/\uef80": b""})
        page = await daemon.call("files.list", peer=session.name, path="S", sort="-size", limit=7)
        assert page["entries"] == [
            {
                "name": name,
                "path": f"S/{name}",
                "type": "file",
                "size": size,
                "mtime": 1_700_000_000.5,
                "files": 1,
            }
            for name, size in (("ä", 5), ("\uef80", 0))
        ]
        cursor = page["next_cursor"]
        await daemon.call("files.list", peer=session.name, path="S", limit=7, cursor=cursor)
        first, second = session.requests
        assert isinstance(first, Ls)
        assert isinstance(second, Ls)
        assert (first.path.text, first.sort, first.limit, first.cursor) == ("S", "-size", 7, None)
        assert second.cursor == b"\xff\x00next"
        assert all(stream.closed for stream in session.streams)
        empty = await daemon.call("files.list", peer=session.name, path="T")
        assert empty == {"entries": [], "next_cursor": None}


async def test_recursive_pages_are_shorter_so_that_an_answer_stays_bounded(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        session = connect(daemon, 1)
        await daemon.call("files.list", peer=session.name, recursive=True, limit=10_000)
        await daemon.call("files.list", peer=session.name, limit=10_000)
        limits = [r.limit for r in session.requests if isinstance(r, Ls)]
        assert limits == [MAX_RECURSIVE_ENTRIES, 10_000]
        assert max(session.budgets) < 9_000_000


async def test_this_hdpds_own_files(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        page = await daemon.call("files.list", peer="self", cursor="_wA")
        assert [(e["path"], e["type"]) for e in page["entries"]] == [("Mine", "directory")]
        assert page["next_cursor"] == "_wA"
        found = await daemon.call("files.search", peer="self", query="x")
        assert [(hit["peer"], hit["path"]) for hit in found["hits"]] == [("self", "Mine/x")]
        assert found["truncated"] is True


@pytest.mark.parametrize(
    ("messages", "word"),
    [
        ([], "connection_lost"),
        ([{"error": "path_not_found", "message": "gone"}], "path_not_found"),
        ([{"error": "peer_not_found", "message": "not its business"}], "remote_error"),
        ([{"entries": "x"}], "protocol_error"),
        ([{"entries": [[1, 2]]}], "protocol_error"),
        ([{"entries": [entry("a").to_wire()] * 6}], "protocol_error"),
        ([{"end": True, "cursor": "x"}], "protocol_error"),
    ],
)
async def test_a_peer_that_answers_wrongly(tmp_path: Path, messages: list[Any], word: str) -> None:
    async with running(tmp_path) as daemon:
        session = connect(daemon, 1)
        session.script = answering(*messages)
        code, found = await daemon.error("files.list", peer=session.name, path="S", limit=5)
        assert found == word
        assert code == -32000
        assert session.streams[0].closed


async def test_hostile_names_in_a_listing_are_left_out(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        session = connect(daemon, 1)
        rows = [[name, 0, 1, 0, 1] for name in ("good", "..", "a/b", "/etc/x", "a\0b", "")]
        session.script = answering({"entries": rows}, {"end": True, "cursor": None})
        page = await daemon.call("files.list", peer=session.name, path="S")
        assert [e["path"] for e in page["entries"]] == ["S/good"]


async def test_a_peer_that_never_ends_its_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "LIST_S", 0.05)
    async with running(tmp_path) as daemon:
        session = connect(daemon, 1)
        session.script = answering({"entries": []}, hold=True)
        assert await daemon.error("files.list", peer=session.name) == (-32000, "timed_out")


async def test_all_peers_are_searched_and_the_silent_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "PEER_S", 0.2)
    async with running(tmp_path) as daemon:
        good = connect(daemon, 1, {"S/x1": b"1", "S/x2": b"22", "S/y": b""})
        silent, broken, buggy = (connect(daemon, number) for number in (2, 3, 4))
        silent.script = answering({"hits": [entry("S/x3", 3).to_wire()]}, hold=True)
        broken.script = answering({"error": "busy", "message": ""})

        def fail(_request: Request) -> FakeStream:
            raise ValueError("a mistake of ours")

        buggy.script = fail
        found = await daemon.call("files.search", query="x")
        hits = {(hit["peer"], hit["path"], hit["size"]) for hit in found["hits"]}
        assert hits == {
            (good.peer_id.text, "S/x1", 1),
            (good.peer_id.text, "S/x2", 2),
            (silent.peer_id.text, "S/x3", 3),
        }
        unanswered = {session.peer_id.text for session in (silent, broken, buggy)}
        assert set(found["unanswered"]) == unanswered
        assert found["truncated"] is False
        assert silent.streams[0].closed


async def test_a_search_is_bounded_whatever_peers_send(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        for number in (1, 2):
            rows = [entry(f"S/{n}").to_wire() for n in range(400)]
            connect(daemon, number).script = answering(
                {"hits": rows}, {"hits": rows}, {"end": True, "truncated": False}
            )
        found = await daemon.call("files.search", query="x", limit=600)
        assert len(found["hits"]) == 600
        assert found["truncated"] is True
        request = next(iter(daemon.peers.sessions.values())).requests[0]
        assert isinstance(request, Search)
        assert request.limit == MAX_HITS_OF_ONE_PEER
        none = await daemon.call("files.search", query="x", limit=1, peer=peer_id(1).text)
        assert len(none["hits"]) <= 1


async def test_searches_at_once_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "MAX_SEARCHES", 1)
    async with running(tmp_path) as daemon:
        session = connect(daemon, 1)
        asked, release = asyncio.Event(), asyncio.Event()
        call = session.call

        async def wait(request: Request, *, budget: int) -> FakeStream:
            asked.set()
            await release.wait()
            return await call(request, budget=budget)

        session.call = wait  # type: ignore[method-assign]
        first = asyncio.create_task(daemon.call("files.search", query="x"))
        await asked.wait()
        assert await daemon.error("files.search", query="x") == (-32000, "busy")
        release.set()
        assert (await first)["unanswered"] == []
        assert (await daemon.call("files.search", query="x"))["hits"] == []


async def test_without_a_tcp_address_there_is_no_login_link(tmp_path: Path) -> None:
    async with running(tmp_path, addresses=(UnixAddress(tmp_path / "sock"),)) as daemon:
        assert await daemon.error("tokens.login_link") == (-32000, "not_found")
