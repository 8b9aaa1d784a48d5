"""Every method's answer and every event of real daemons is exactly what the OpenRPC document says:
nothing unknown, nothing missing, of the right types.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import Any, Self

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, unix_connect

from hdpd.control.eventtypes import EVENTS
from tests.e2e.harness import Daemon, Lab, free_port
from tests.e2e.schema import complaints
from tests.waiting import wait_for

CODE_GOING_AWAY = 1001


class Watcher:
    """A client of one daemon, which hears everything that it tells."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.notes: list[dict[str, Any]] = []
        self.answers: dict[int, Any] = {}
        self._stack = contextlib.ExitStack()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        connecting = unix_connect(str(self.daemon.socket), "ws://localhost/rpc")
        self._socket: ClientConnection = self._stack.enter_context(connecting)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._thread.join()

    def _listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for text in self._socket:
                message = json.loads(text)
                if "id" in message:
                    self.answers[message["id"]] = message
                else:
                    self.notes.append(message)

    def call(self, method: str, **params: object) -> Any:
        number = len(self.answers) + 1
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self._socket.send(json.dumps(request))
        answer: Any = wait_for(f"an answer to {method}", lambda: self.answers.get(number))
        assert "result" in answer, (method, answer)
        return answer["result"]

    def events(self, type_: str) -> list[dict[str, Any]]:
        notes = [note["params"] for note in self.notes if note["method"] == "event"]
        return [event["data"] for event in notes if event["type"] == type_]

    def wait_event(self, type_: str) -> dict[str, Any]:
        return wait_for(f"the event {type_}", lambda: self.events(type_))[-1]

    def wait_closed(self) -> int | None:
        """The code with which the daemon closes the connection."""
        self._thread.join(10)
        return self._socket.close_code


class Contract:
    """What is promised, and what was held against it."""

    def __init__(self, daemon: Daemon) -> None:
        document = daemon.rpc("rpc.discover")
        self._components = document["components"]["schemas"]
        self._results = {row["name"]: row["result"]["schema"] for row in document["methods"]}
        self.called: set[str] = set()
        self.heard: set[str] = set()

    @property
    def methods(self) -> set[str]:
        return set(self._results)

    def check(self, method: str, answer: Any) -> Any:
        self.called.add(method)
        assert method in self._results, f"{method} is not in the document"
        found = list(complaints(self._results[method], answer, self._components))
        assert not found, (method, found)
        return answer

    def check_notes(self, watcher: Watcher) -> None:
        results = {row.name: row.result.__name__ for row in EVENTS.values()}
        results["events.lost"] = "Lost"
        for note in watcher.notes:
            name, data = note["method"], note["params"]
            kind = "SearchHits"
            if name == "event":
                assert set(data) == {"seq", "time", "type", "data"}
                name, data = data["type"], data["data"]
                assert name in results, f"{name} is not in the table of events"
                kind = results[name]
            found = list(complaints(self._components[kind], data, self._components))
            assert not found, (name, found, data)
            self.heard.add(name)


@pytest.fixture
def pair(lab: Lab) -> tuple[Daemon, Daemon]:
    port = free_port()
    nobody = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"  # that it hears nothing of is news, too
    first = lab.daemon("a", "--control", f"127.0.0.1:{port}", "--stun-server", nobody)
    second = lab.daemon("b")
    for daemon in (first, second):
        (daemon.share / "film").mkdir()
        (daemon.share / "film" / "one.txt").write_bytes(b"1" * 4_000_000)
        (daemon.share / "film" / "two.txt").write_bytes(b"2" * 1000)
        daemon.start()
    return first, second


def test_every_answer_and_every_event_is_as_the_document_says(
    pair: tuple[Daemon, Daemon], lab: Lab
) -> None:
    a, b = pair
    contract = Contract(a)
    with Watcher(a) as at_a, Watcher(b) as at_b:

        def call(method: str, **params: object) -> Any:
            return contract.check(method, at_a.call(method, **params))

        call("events.subscribe", since=0)
        at_b.call("events.subscribe", since=0)
        for step in (_look, _meet, _share, _download, _limit, _tokens, _part):
            step(call, a, b, at_a, at_b)
        at_a.wait_event("nat.changed")
        call("events.subscribe", since=2**53)
        at_a.wait_event("events.lost")
        call("daemon.shutdown")
        assert at_a.wait_closed() == CODE_GOING_AWAY
        at_a.wait_event("daemon.stopping")
        contract.check_notes(at_a)
        contract.check_notes(at_b)
    assert contract.methods - contract.called == set(), "call it in this test, too"
    told = {row.name for row in EVENTS.values()} | {"events.lost", "search.hits"}
    assert told - contract.heard == set(), "make it happen in this test, too"


def _look(call: Any, *_: Any) -> None:
    call("rpc.discover")
    call("daemon.info")
    assert call("daemon.log")["lines"]
    call("nat.report")
    assert call("daemon.doctor")["findings"]


def _meet(call: Any, a: Daemon, b: Daemon, at_a: Watcher, at_b: Watcher) -> None:
    code = call("peers.invite")["code"]
    call("peers.invite_qr", code=code)
    call("peers.connect", code=at_b.call("peers.invite")["code"])
    a.wait_connected(b)
    b.wait_connected(a)
    assert call("peers.list", all=True)["peers"]
    assert call("peers.explain", peer=b.name)
    call("topics.join", name="a test of all that is told")
    at_a.wait_event("topic.joined")
    at_b.call("topics.join", name="a test of all that is told")
    at_a.wait_event("peer.changed")
    assert call("topics.list")["topics"]
    call("topics.leave", name="a test of all that is told")
    at_a.wait_event("topic.left")


def _share(call: Any, a: Daemon, b: Daemon, at_a: Watcher, at_b: Watcher) -> None:
    more = a.root / "more"
    more.mkdir()
    (more / "three.txt").write_bytes(b"3")
    call("shares.add", path=str(more), name="more")
    call("shares.rescan", name="more")
    a.wait_scanned()
    b.wait_scanned()
    assert len(call("shares.list")["shares"]) == 2
    assert call("files.list", peer="self", path="more")["entries"]
    assert call("files.list", peer=b.name, path="media/film")["entries"]
    assert call("files.search", query="one")["hits"]
    call("files.search", query="one", stream=True)
    wait_for("the hits", lambda: [n for n in at_a.notes if n["params"].get("done")])
    (more / "four.txt").write_bytes(b"4")
    at_a.wait_event("listing.changed")
    call("shares.remove", name="more")
    wait_for(
        "the end of the share",
        lambda: [each for each in at_a.events("share.changed") if each["state"] == "removed"],
    )


def _download(call: Any, a: Daemon, b: Daemon, at_a: Watcher, at_b: Watcher) -> None:
    id_ = call("downloads.add", peer=b.name, path="media/film")["id"]

    def is_done() -> bool:
        [download] = call("downloads.list", limit=10)["downloads"]
        return bool(download["state"] == "done")

    wait_for("the end of the download", is_done)
    assert len(call("downloads.files", id=id_)["files"]) >= 2
    call("limits.set", download="20kB/s", lan=True)
    slow = call("downloads.add", peer=b.name, path="media/film", to="elsewhere")["id"]
    call("downloads.move", id=slow, to="top")
    call("downloads.pause", ids=[slow])
    call("downloads.resume", ids=[slow])
    call("downloads.retry", ids=[slow])
    call("downloads.cancel", ids=[slow])
    call("limits.set", reset=True)
    call("downloads.verify", id=id_)
    wait_for(
        "the end of the check",
        lambda: call("downloads.verification", id=id_)["state"] == "done",
    )
    at_a.wait_event("verification.changed")
    at_b.wait_event("upload.changed")
    call("uploads.list")
    call("uploads.cancel", peer=b.name)
    call("downloads.tidy")
    call("downloads.use_disk", path=str(a.downloads))
    call("downloads.clear", ids=[id_])
    at_a.wait_event("download.removed")


def _limit(call: Any, a: Daemon, b: Daemon, at_a: Watcher, at_b: Watcher) -> None:
    call("limits.set", upload="20MB/s", lan=True)
    at_a.wait_event("limits.changed")
    call("limits.get")


def _tokens(call: Any, *_: Any) -> None:
    new = call("tokens.new", role="read")
    assert call("tokens.list")["tokens"]
    call("tokens.current")
    call("tokens.revoke", id=new["id"])
    call("tokens.login_link")


def _part(call: Any, a: Daemon, b: Daemon, at_a: Watcher, at_b: Watcher) -> None:
    call("peers.disconnect", peer=b.name)
    call("peers.block", peer=b.name)
    assert [each["state"] for each in call("peers.list", all=True)["peers"]] == ["blocked"]
    call("peers.unblock", peer=b.name)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 1.5),
        ({"type": "integer"}, True),
        ({"enum": ["a"]}, "b"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1),
        ({"type": "array", "items": {"type": "string"}}, ["a", 1]),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, {}),
        ({"type": "object", "properties": {}}, {"a": 1}),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"a": 1}),
        ({"$ref": "#/components/schemas/A"}, 1),
    ],
)
def test_what_is_not_as_a_schema_says_is_found(schema: Any, value: object) -> None:
    assert len(list(complaints(schema, value, {"A": {"type": "string"}}))) == 1
