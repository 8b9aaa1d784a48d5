"""`ls`, `search` and `cat`: names of any bytes, pages, hits as they come, exact bytes."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from hdpctl import client, show
from hdpctl.text import from_bytes
from tests.fake_hdpd import FakeHdpd, Refusal

RAW_NAMES = [b"plain", b" a b ", b"a\nb", "😀".encode(), b"-dash", b"caf\xe9", b"\xef\xbe\x80"]


def entry(raw: bytes, **more: Any) -> dict[str, Any]:
    name = from_bytes(raw)
    common = {"name": name, "path": f"D/{name}", "type": "file", "size": 5, "mtime": 0}
    return {**common, **more}


def in_pages(entries: list[dict[str, Any]], page: int) -> Any:
    """An answer to files.list with `page` entries at a time."""

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        start = int(params.get("cursor", "0"))
        following = start + page if start + page < len(entries) else None
        cursor = None if following is None else str(following)
        return {"entries": entries[start : start + page], "next_cursor": cursor}

    return answer


def test_names_are_printed_as_their_bytes_and_read_back(hdpd: FakeHdpd) -> None:
    hdpd.answers["files.list"] = in_pages([entry(raw) for raw in RAW_NAMES], 3)
    printed = hdpd.run("ls", "Peer/D", "--null").stdout_bytes
    assert printed == b"".join(raw + b"\0" for raw in RAW_NAMES)
    assert hdpd.run("ls", "Peer/D").stdout_bytes == b"".join(raw + b"\n" for raw in RAW_NAMES)
    hdpd.calls.clear()
    for raw in printed.split(b"\0")[:-1]:
        hdpd.run("ls", "--", b"Peer/D/" + raw)
    asked = [params["path"] for params in hdpd.params_of("files.list") if "cursor" not in params]
    assert asked == [f"D/{from_bytes(raw)}" for raw in RAW_NAMES]


@pytest.mark.parametrize(
    ("argument", "params"),
    [
        ("Peer", {"peer": "Peer"}),
        ("Peer/", {"peer": "Peer"}),
        ("self/D", {"peer": "self", "path": "D"}),
        ("Peer/D/sub//", {"peer": "Peer", "path": "D/sub"}),
        ("Peer/../etc", {"peer": "Peer", "path": "../etc"}),
    ],
)
def test_peer_and_path_are_split_and_hdpd_judges_them(
    hdpd: FakeHdpd, argument: str, params: dict[str, str]
) -> None:
    hdpd.answers["files.list"] = {"entries": [], "next_cursor": None}
    assert hdpd.run("ls", argument).exit_code == 0
    assert hdpd.params_of("files.list") == [{"limit": 1000, **params}]


def test_a_terminal_sees_escapes(hdpd: FakeHdpd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "on_terminal", lambda: True)
    hdpd.answers["files.list"] = in_pages([entry(b"a\x1b[2Jb\xff")], 1)
    assert hdpd.run("ls", "Peer/D").stdout == "a\\x1b[2Jb\\xff\n"


def test_long_and_recursive(hdpd: FakeHdpd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    below = [entry(b"sub", type="directory", size=123_456, files=7, mtime=None), entry(b"f")]
    hdpd.answers["files.list"] = in_pages(below, 1)
    lines = hdpd.run("ls", "-lR", "Peer/D").stdout.splitlines()
    assert hdpd.params_of("files.list")[0]["recursive"] is True
    assert lines[0].split() == ["d", "123456", "-", "7", "Peer/D/sub/"]
    assert lines[1].split()[0:2] == ["-", "5"]
    assert lines[1].endswith(" - Peer/D/f")
    assert hdpd.run("ls", "Peer/D").stdout == "sub/\nf\n"


def test_json_of_a_paged_list_is_one_object(hdpd: FakeHdpd) -> None:
    entries = [entry(raw) for raw in RAW_NAMES]
    hdpd.answers["files.list"] = in_pages(entries, 2)
    printed = hdpd.run("ls", "Peer/D", "--json").stdout
    assert json.loads(printed) == {"entries": entries, "next_cursor": None}


def test_a_large_directory_is_streamed(hdpd: FakeHdpd) -> None:
    total, size = 10_000, 500

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        start = int(params.get("cursor", "0"))
        page = [entry(b"%d" % i) for i in range(start, start + size)]
        return {"entries": page, "next_cursor": str(start + size) if start + size < total else None}

    hdpd.answers["files.list"] = answer
    assert hdpd.run("ls", "Peer/D").stdout.split() == [str(i) for i in range(total)]


def test_pages_go_on_over_new_connections(hdpd: FakeHdpd, monkeypatch: pytest.MonkeyPatch) -> None:
    hdpd.answers["files.list"] = in_pages([entry(b"%d" % i) for i in range(10)], 2)
    expected = "".join(f"{i}\n" for i in range(10))
    hdpd.closes = True
    assert hdpd.run("ls", "Peer/D").stdout == expected
    hdpd.closes = False
    monkeypatch.setattr(client, "REUSE_AT_MOST_S", 0.0)
    assert hdpd.run("ls", "Peer/D").stdout == expected


def test_without_argument_the_peers_and_their_shares(hdpd: FakeHdpd) -> None:
    twins = [{"id": f"{letter * 16}", "name": "Twin", "state": "connected"} for letter in "ab"]
    away = {"id": "c", "name": "Away", "state": "known"}
    hdpd.answers["peers.list"] = {"peers": [*twins, away]}

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        if params["peer"] == "b" * 16:
            raise Refusal("timeout", "no answer")
        return {"entries": [entry(b"Films", type="directory")], "next_cursor": None}

    hdpd.answers["files.list"] = answer
    result = hdpd.run("ls")
    assert result.stdout.splitlines() == ["self/", "self/Films/", "aaaaaaaa/", "aaaaaaaa/Films/"]
    assert result.stderr == "hdpctl: bbbbbbbb: no answer (timeout)\n"
    assert result.exit_code == 1
    listed = json.loads(hdpd.run("ls", "--json").stdout)["peers"]
    assert [(peer["id"], len(peer["shares"])) for peer in listed] == [("self", 1), ("a" * 16, 1)]
    assert hdpd.run("ls", "-R").exit_code == 2


def hit(peer: str, path: str) -> dict[str, Any]:
    return {"peer": peer, "path": path, "type": "file", "size": 1000, "mtime": None}


def test_search_prints_hits_as_they_come(hdpd: FakeHdpd) -> None:
    known = [{"id": "idA", "name": "Ann"}, {"id": "idB", "name": "Bob"}]
    hdpd.answers["peers.list"] = {"peers": known}
    hdpd.answers["files.search"] = {"search": "s1"}
    end = {"done": True, "unanswered": ["idB"], "truncated": True}
    hdpd.notifications["files.search"] = [
        ("search.hits", {"search": "other", "hits": [hit("idA", "no")], "done": True}),
        ("search.hits", {"search": "s1", "hits": [hit("idA", "D/caf\uefe9")]}),
        ("search.hits", {"search": "s1", "hits": [hit("idC", "x")]}),
        ("search.hits", {"search": "s1", "hits": [], **end}),
    ]
    result = hdpd.run("search", "live", "caf", "--peer", "A", "--limit", "9")
    assert result.stdout_bytes == b"Ann/D/caf\xe9\nidC/x\n"
    assert result.stderr.splitlines() == [
        "hdpctl: no answer from Bob",
        "hdpctl: there are more hits than these; another TERM narrows them down",
    ]
    assert hdpd.params_of("files.search") == [
        {"query": "live caf", "peer": "A", "limit": 9, "stream": True}
    ]
    assert "1000" in hdpd.run("search", "-l", "x").stdout


def test_search_json_is_one_call(hdpd: FakeHdpd) -> None:
    answer = {"hits": [hit("idA", "D/f")], "unanswered": []}
    hdpd.answers["files.search"] = answer
    assert json.loads(hdpd.run("search", "x", "--json").stdout) == answer
    assert hdpd.calls == [("files.search", {"query": "x"})]


def test_a_search_that_breaks_off_is_an_error(hdpd: FakeHdpd) -> None:
    hdpd.answers["peers.list"] = {"peers": []}
    hdpd.answers["files.search"] = {"search": "s1"}
    hits = {"search": "s1", "hits": [hit("A", "f")]}
    hdpd.notifications["files.search"] = [("search.hits", hits), None]
    result = hdpd.run("search", "x")
    assert (result.exit_code, result.stdout) == (1, "A/f\n")
    assert "closed the connection" in result.stderr


CONTENT = random.Random(1).randbytes(700_000)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], CONTENT),
        (["--offset", "699990"], CONTENT[-10:]),
        (["--offset", "3", "--length", "5"], CONTENT[3:8]),
        (["--length", "300000"], CONTENT[:300_000]),
        (["--length", "0"], b""),
        (["--offset", "700000"], b""),
        (["--offset", "700000", "--length", "4"], b""),
    ],
)
def test_cat_prints_exactly_the_bytes(hdpd: FakeHdpd, options: list[str], expected: bytes) -> None:
    hdpd.files["Peer/D/a #?%é\uefff/f"] = CONTENT
    result = hdpd.run("cat", "Peer/D/a #?%é".encode() + b"\xff/f", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout_bytes == expected


def test_cat_over_tcp(hdpd: FakeHdpd) -> None:
    hdpd.files["Peer/D/f"] = CONTENT
    assert hdpd.run("cat", "Peer/D/f", server=hdpd.tcp).stdout_bytes == CONTENT


def test_cat_of_an_empty_file(hdpd: FakeHdpd) -> None:
    hdpd.files["Peer/D/f"] = b""
    for options in ([], ["--length", "5"]):
        result = hdpd.run("cat", "Peer/D/f", *options)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_cat_says_what_is_wrong_on_one_line(hdpd: FakeHdpd) -> None:
    missing = hdpd.run("cat", "Peer/D/f")
    assert missing.stderr == "hdpctl: no such file (path_not_found)\n"
    hdpd.files["Peer/D/f"] = b"12345"
    beyond = hdpd.run("cat", "Peer/D/f", "--offset", "6")
    assert "cannot start at 6: the file has only 5 bytes" in beyond.stderr
    hdpd.broken_after = 3
    broken = hdpd.run("cat", "Peer/D/f")
    assert broken.stdout == "123"
    assert "broken off after 3 of 5 bytes" in broken.stderr
    whole = hdpd.run("cat", "Peer/D/f", "--offset", "1")
    assert "instead of the part" in whole.stderr
    assert [missing.exit_code, beyond.exit_code, broken.exit_code, whole.exit_code] == [1] * 4
