"""`download` and `queue`: what is asked of hdpd, waiting for the end by events and by polling."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hdpctl import show
from hdpctl.commands import download as command
from tests.fake_hdpd import FakeHdpd, Refusal


@pytest.fixture
def hdpd(hdpd: FakeHdpd) -> FakeHdpd:
    hdpd.answers["peers.list"] = {"peers": []}
    hdpd.answers["downloads.add"] = lambda params: {"id": f"id-{params['path']}"}
    return hdpd


def item(one: str, state: str, **more: Any) -> dict[str, Any]:
    common = {"id": one, "peer": "p", "path": "D/f", "type": "file", "state": state, "size": 1000}
    return {**common, "done_bytes": 1000 if state == "done" else 400, **more}


def polled(*states: list[dict[str, Any]]) -> Any:
    """An answer to downloads.list: another list each time, at the end always the last."""
    script = list(states)

    def answer(_params: dict[str, Any]) -> dict[str, Any]:
        return {"downloads": script.pop(0) if len(script) > 1 else script[0], "next_cursor": None}

    return answer


@pytest.fixture
def fast_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "POLL_EVERY_S", 0.01)


def test_ids_are_printed(hdpd: FakeHdpd) -> None:
    result = hdpd.run("download", "P/a", b"P/\xff", "--to", "sub")
    assert result.stdout == "id-a\nid-\\xff\n"
    assert hdpd.params_of("downloads.add") == [
        {"peer": "P", "path": "a", "to": "sub"},
        {"peer": "P", "path": "\uefff", "to": "sub"},
    ]
    assert json.loads(hdpd.run("download", "P/a", "--json").stdout) == {"id": "id-a"}


def grouped(params: dict[str, Any]) -> dict[str, Any]:
    ids = [f"id-{path}" for path in (params["path"], *params.get("paths", []))]
    return {"id": ids[0], "ids": ids}


def test_many_go_in_calls_of_a_bounded_size(hdpd: FakeHdpd) -> None:
    hdpd.answers["downloads.add"] = grouped
    names = [f"P/{i}" for i in range(2500)]
    result = hdpd.run("download", *names, "Q/z", "--to", "sub")
    assert result.stdout.split() == [*(f"id-{i}" for i in range(2500)), "id-z"]
    calls = hdpd.params_of("downloads.add")
    sizes = [1 + len(call.get("paths", [])) for call in calls]
    assert sizes == [1000, 1000, 500, 1]
    assert all(call["to"] == "sub" for call in calls)

    long = [f"P/{'d' * 900}/{i:03}" for i in range(300)]
    hdpd.run("download", *long)
    for call in hdpd.params_of("downloads.add")[len(calls) :]:
        assert sum(map(len, (call["path"], *call["paths"]))) <= command.GROUP_CHARS


def test_what_is_refused_among_many_is_named_and_the_others_are_queued(hdpd: FakeHdpd) -> None:
    def answer(params: dict[str, Any]) -> dict[str, Any]:
        if "bad" in (params["path"], *params.get("paths", [])):
            raise Refusal("path_invalid", "not a path")
        return grouped(params)

    hdpd.answers["downloads.add"] = answer
    names = [*(f"P/{i}" for i in range(1100)), "Q/bad"]
    names.insert(30, "P/bad")
    result = hdpd.run("download", *names)
    assert result.exit_code == 1
    assert result.stdout.split() == [f"id-{i}" for i in range(1100)]
    assert result.stderr.splitlines() == [
        "hdpctl: P/bad: not a path (path_invalid)",
        "hdpctl: Q/bad: not a path (path_invalid)",
    ]


def test_one_that_is_refused_does_not_stop_the_others(hdpd: FakeHdpd) -> None:
    def answer(params: dict[str, Any]) -> dict[str, Any]:
        if params["path"] == "bad":
            raise Refusal("path_not_found", "not there")
        return {"id": "1"}

    hdpd.answers["downloads.add"] = answer
    result = hdpd.run("download", "P/bad", "P/good")
    assert (result.exit_code, result.stdout) == (1, "1\n")
    assert result.stderr == "hdpctl: P/bad: not there (path_not_found)\n"
    assert hdpd.run("download", "P/bad").stderr == "hdpctl: not there (path_not_found)\n"


def test_waiting_by_events(hdpd: FakeHdpd) -> None:
    def event(kind: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return "event", {"seq": 1, "time": 0, "type": kind, "data": data}

    hdpd.answers["events.subscribe"] = {"seq": 0}
    hdpd.answers["downloads.list"] = polled([item("id-a", "queued")])
    hdpd.notifications["events.subscribe"] = [
        event("download.changed", item("other", "failed")),
        event("download.changed", item("id-a", "remote_queued", queue_position=2)),
        event("download.changed", item("id-a", "downloading", rate=100, eta=6)),
        event("download.changed", item("id-a", "done", place="/downloads/a")),
        event("download.removed", {"id": "id-a"}),
    ]
    result = hdpd.run("download", "P/a", "--wait")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "id-a\tqueued\t400 B of 1.0 kB\tP/a",
        "id-a\tremote queued, place 2\t400 B of 1.0 kB\tP/a",
        "id-a\tdownloading\t400 B of 1.0 kB, 100 B/s, 6 s left\tP/a",
        "id-a\tdone\t1.0 kB of 1.0 kB\tP/a\t/downloads/a",
    ]
    assert hdpd.calls[0] == (
        "events.subscribe",
        {"types": ["download.changed", "download.removed"]},
    )


@pytest.mark.usefixtures("fast_polling")
def test_waiting_without_events(hdpd: FakeHdpd) -> None:
    hdpd.answers["downloads.list"] = polled(
        [item("id-a", "queued")], [item("id-a", "downloading")], [item("id-a", "done")]
    )
    result = hdpd.run("download", "P/a", "--wait", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"downloads": [item("id-a", "done")]}


@pytest.mark.usefixtures("fast_polling")
def test_waiting_goes_on_when_the_stream_ends(hdpd: FakeHdpd) -> None:
    hdpd.answers["events.subscribe"] = {"seq": 0}
    hdpd.notifications["events.subscribe"] = [None]
    queued, done = [item("id-a", "queued")], [item("id-a", "done")]
    hdpd.answers["downloads.list"] = polled(queued, queued, queued, done)
    assert hdpd.run("download", "P/a", "--wait").exit_code == 0


@pytest.mark.usefixtures("fast_polling")
def test_waiting_ends_with_the_reason_of_each_failure(hdpd: FakeHdpd) -> None:
    hdpd.answers["downloads.list"] = polled(
        [item(f"id-{one}", "downloading") for one in "abc"],
        [item("id-a", "failed", error="gone"), item("id-b", "done", failed_files=2)],
    )
    result = hdpd.run("download", "P/a", "P/b", "P/c", "--wait")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "hdpctl: P/a: failed: gone",
        "hdpctl: P/b: done (2 files failed)",
        'hdpctl: see why: hdpctl rpc downloads.files \'{"id": "id-b"}\'',
        "hdpctl: P/c: cancelled: it is no longer in the queue",
    ]


@pytest.mark.usefixtures("fast_polling")
def test_bars_on_a_terminal(hdpd: FakeHdpd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    hdpd.answers["downloads.list"] = polled(
        [item("id-a", "downloading"), item("id-b", "done", size=0, done_bytes=0)],
        [item("id-a", "done"), item("id-b", "done", size=0, done_bytes=0)],
    )
    result = hdpd.run("download", "P/a", "P/b", "--wait")
    assert result.exit_code == 0
    assert result.stdout.count("100%") >= 2
    assert "P/a" in result.stdout


QUEUE = [
    item("aa11", "downloading", rate=2000, eta=65.4321, place="/downloads/f"),
    item("aa22", "paused", error="disk full"),
    item("bb33", "failed", error="gone"),
    item("cc44", "done"),
    item("dd55", "queued", waiting_for={"kind": "share", "text": "the share is away"}),
    item("ee66", "queued", waiting_for={"kind": "turn", "text": "its turn"}),
]


@pytest.mark.parametrize(
    ("arguments", "method", "params"),
    [
        ("pause all", "downloads.pause", {"ids": ["aa11", "dd55", "ee66"]}),
        ("resume all", "downloads.resume", {"ids": ["aa22"]}),
        ("cancel all", "downloads.cancel", {"ids": ["aa11", "aa22", "bb33", "dd55", "ee66"]}),
        ("retry all", "downloads.retry", {"ids": ["bb33"]}),
        ("clear all", "downloads.clear", {"ids": ["bb33", "cc44"]}),
        ("cancel aa1 cc44 c", "downloads.cancel", {"ids": ["aa11", "cc44"]}),
        ("move b top", "downloads.move", {"id": "bb33", "to": "top"}),
    ],
)
def test_queue_actions(hdpd: FakeHdpd, arguments: str, method: str, params: dict[str, Any]) -> None:
    hdpd.answers["downloads.list"] = polled(QUEUE)
    hdpd.answers[method] = {}
    result = hdpd.run("queue", *arguments.split())
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert hdpd.params_of(method) == [params]
    assert json.loads(hdpd.run("queue", *arguments.split(), "--json").stdout) == {}


def test_queue_actions_refuse_unclear_ids(hdpd: FakeHdpd) -> None:
    hdpd.answers["downloads.list"] = polled(QUEUE)
    assert "is the start of 2 ids: aa11, aa22" in hdpd.run("queue", "pause", "aa").stderr
    assert "no download has the id 'x'" in hdpd.run("queue", "move", "x", "up").stderr
    assert hdpd.run("queue", "pause").exit_code == 2
    assert hdpd.run("queue", "move", "aa11", "sideways").exit_code == 2


def test_an_action_on_very_many_goes_in_several_calls(hdpd: FakeHdpd) -> None:
    hdpd.answers["downloads.list"] = polled([item(str(i), "failed") for i in range(2500)])
    hdpd.answers["downloads.clear"] = {}
    assert hdpd.run("queue", "clear", "all").exit_code == 0
    assert [len(params["ids"]) for params in hdpd.params_of("downloads.clear")] == [1000, 1000, 500]


def test_queue_piped_terminal_and_json(hdpd: FakeHdpd, monkeypatch: pytest.MonkeyPatch) -> None:
    hdpd.answers["downloads.list"] = polled(QUEUE)
    hdpd.answers["peers.list"] = {"peers": [{"id": "p", "name": "Ann"}]}
    piped = hdpd.run("queue").stdout.splitlines()
    assert piped[:2] == [
        "aa11\tdownloading\t400\t1000\t2.0 kB/s\t65\tAnn/D/f\t/downloads/f",
        "aa22\tpaused: disk full\t400\t1000\t\t\tAnn/D/f\t",
    ]
    assert piped[4].startswith("dd55\tqueued: the share is away\t")
    assert piped[5].startswith("ee66\tqueued\t")
    expected = {"downloads": QUEUE, "next_cursor": None}
    assert json.loads(hdpd.run("queue", "ls", "--json").stdout) == expected
    monkeypatch.setattr(show, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    shown = hdpd.run("queue").stdout
    assert "1:05" in shown
    assert "1.0 kB" in shown
    hdpd.answers["downloads.list"] = polled([])
    assert "the queue is empty" in hdpd.run("queue").stderr
