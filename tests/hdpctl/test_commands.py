"""Each command that is one call: what it asks of hdpd, what it prints, what `--json` prints."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from hdpctl import show
from hdpctl.cli import COMMANDS
from tests.fake_hdpd import FakeHdpd, Refusal

PEER = {
    "id": "k3j2aaaaaaaabbbb",
    "name": "PersianChinchilla",
    "state": "connected",
    "address": "192.0.2.7:3031",
    "path": "lan",
    "found_by": ["mdns", "mqtt"],
    "topics": ["party"],
    "rtt": 0.0123,
    "connected_since": 1_700_000_000,
    "error": None,
}
SHARE = {
    "name": "Films",
    "path": "/srv/films",
    "state": "ready",
    "searchable": True,
    "files": 12_345,
    "directories": 9,
    "bytes": 1_200_000_000_000,
    "skipped": 0,
    "scanned_at": 1_700_000_000,
    "error": None,
}
INFO = {
    "name": "GreyHeron",
    "peer_id": "mmmm",
    "version": "1.2.3",
    "api_version": 1,
    "started": 0,
    "udp_ports": [3031],
    "controls": ["unix:/run/hdpd/hdpd.sock", "http://127.0.0.1:3030"],
    "addresses": ["192.0.2.1:3031"],
    "quic_engine": "qh3",
}

# arguments -> the method and parameters that hdpd gets, its result, what is printed.
ONE_CALL: list[tuple[list[str], str, dict[str, Any], dict[str, Any], str]] = [
    (["disconnect", "Foo"], "peers.disconnect", {"peer": "Foo"}, {}, ""),
    (["block", "Foo"], "peers.block", {"peer": "Foo"}, {}, ""),
    (["unblock", "Foo"], "peers.unblock", {"peer": "Foo"}, {}, ""),
    (["invite"], "peers.invite", {}, {"code": "hdp-y"}, "hdp-y\n"),
    (["topics", "join", "a b"], "topics.join", {"name": "a b"}, {"name": "a b"}, "a b\n"),
    (["topics", "join", "--new"], "topics.join", {}, {"name": "xyz"}, "xyz\n"),
    (["topics", "leave", "--", "-x"], "topics.leave", {"name": "-x"}, {}, ""),
    (["shares", "add", "A=/a"], "shares.add", {"path": "/a", "name": "A"}, {"name": "A"}, "A\n"),
    (["shares", "rm", "A"], "shares.remove", {"name": "A"}, {}, ""),
    (["shares", "rescan"], "shares.rescan", {}, {}, ""),
    (["shares", "rescan", "A"], "shares.rescan", {"name": "A"}, {}, ""),
    (["uploads", "cancel", "Foo"], "uploads.cancel", {"peer": "Foo"}, {}, ""),
    (
        ["token", "new", "--role", "read"],
        "tokens.new",
        {"role": "read"},
        {"id": "1", "token": "s3cret", "role": "read"},
        "s3cret\n",
    ),
    (["token", "revoke", "1"], "tokens.revoke", {"id": "1"}, {}, ""),
    (["login-link"], "tokens.login_link", {}, {"url": "http://h/#code=1"}, "http://h/#code=1\n"),
    (
        ["topics"],
        "topics.list",
        {},
        {"topics": [{"name": "party", "peers": 2}]},
        "party\t2\thdpctl\n",
    ),
    (["token", "ls"], "tokens.list", {}, {"tokens": [{"id": "1", "role": "r"}]}, "1\tr\t-\t-\n"),
]


@pytest.mark.parametrize(("arguments", "method", "params", "result", "printed"), ONE_CALL)
def test_one_call(
    hdpd: FakeHdpd,
    arguments: list[str],
    method: str,
    params: dict[str, Any],
    result: dict[str, Any],
    printed: str,
) -> None:
    hdpd.answers[method] = result
    plain = hdpd.run(*arguments)
    assert (plain.exit_code, plain.stdout) == (0, printed)
    assert hdpd.calls == [(method, params)]
    before = hdpd.run("--json", *arguments)
    assert (before.exit_code, json.loads(before.stdout)) == (0, result)


def test_connect_prints_whose_code_it_was(hdpd: FakeHdpd) -> None:
    hdpd.answers["peers.connect"] = {"peer": PEER["id"]}
    hdpd.answers["peers.list"] = {"peers": [PEER]}
    assert hdpd.run("connect", "hdp1-x").stdout == "PersianChinchilla\n"
    assert hdpd.params_of("peers.connect") == [{"code": "hdp1-x"}]
    assert json.loads(hdpd.run("connect", "hdp1-x", "--json").stdout) == {"peer": PEER["id"]}


def test_json_may_stand_after_the_command(hdpd: FakeHdpd) -> None:
    hdpd.answers["topics.list"] = {"topics": []}
    for line in ("topics --json", "topics list --json", "--json topics ls"):
        assert json.loads(hdpd.run(*line.split()).stdout) == {"topics": []}


def test_peers_piped_is_a_line_of_fields_each(hdpd: FakeHdpd) -> None:
    hdpd.answers["peers.list"] = {"peers": [PEER]}
    printed = hdpd.run("peers", "--all").stdout
    assert hdpd.params_of("peers.list") == [{"all": True}]
    fields = printed.rstrip("\n").split("\t")
    assert fields[:4] == ["PersianChinchilla", PEER["id"], "connected", "lan"]
    assert fields[5:8] == ["mdns, mqtt", "party", "12.3"]
    assert json.loads(hdpd.run("peers", "--json").stdout) == {"peers": [PEER]}


def test_lists_on_a_terminal_have_headers_and_no_markup(
    hdpd: FakeHdpd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    hdpd.answers["peers.list"] = {
        "peers": [{**PEER, "error": {"code": "x", "message": "[red]\x1b[2Jboo"}}]
    }
    hdpd.answers["shares.list"] = {"shares": [SHARE, {**SHARE, "state": "away"}]}
    printed = hdpd.run("peers").stdout
    assert "found by" in printed
    assert r"[red]\x1b[2Jboo" in printed
    assert "1.2 TB" in hdpd.run("shares").stdout
    hdpd.answers["peers.list"] = {"peers": []}
    assert "nobody yet" in hdpd.run("peers").stderr


def test_shares_piped_have_exact_sizes(hdpd: FakeHdpd) -> None:
    hdpd.answers["shares.list"] = {"shares": [{**SHARE, "searchable": False}]}
    fields = hdpd.run("shares").stdout.rstrip("\n").split("\t")
    assert fields[:4] == ["Films", "ready, not searchable yet", "12345", "1200000000000"]
    assert fields[6] == "/srv/films"


def test_joining_a_topic_that_can_be_guessed_warns_beside_the_result(hdpd: FakeHdpd) -> None:
    hdpd.answers["topics.join"] = {"name": "a", "warning": "easy to guess"}
    result = hdpd.run("topics", "join", "a")
    assert (result.stdout, result.stderr) == ("a\n", "hdpctl: easy to guess\n")


@pytest.mark.parametrize("arguments", [["topics", "join"], ["topics", "join", "a", "--new"]])
def test_join_takes_either_a_name_or_new(hdpd: FakeHdpd, arguments: list[str]) -> None:
    assert hdpd.run(*arguments).exit_code == 2
    assert hdpd.run("topics", "join", b"\xff").exit_code == 2
    assert not hdpd.calls


def test_uploads(hdpd: FakeHdpd) -> None:
    hdpd.answers["peers.list"] = {"peers": [PEER]}
    hdpd.answers["uploads.list"] = {
        "active": [{"peer": PEER["id"], "path": "F/a", "offset": 5, "size": 10, "rate": 2000}],
        "waiting": [{"peer": "other", "path": "F/b\n", "position": 2}],
    }
    assert hdpd.run("uploads").stdout.splitlines() == [
        "PersianChinchilla\tsending\t5\t10\t2.0 kB/s\tF/a",
        "other\tplace 2\t\t\t\tF/b\\n",
    ]


LIMITS: dict[str, Any] = {
    "in_force": {
        "upload": 2_000_000,
        "download": None,
        "upload_per_peer": None,
        "download_per_peer": 500_000,
        "lan": False,
    },
    "reasons": {
        "upload": "set",
        "download": "base",
        "upload_per_peer": "base",
        "download_per_peer": "schedule",
        "lan": "base",
    },
    "set": {"upload": 2_000_000},
    "schedule": [],
    "next_change": 1_700_000_000.0,
}
UNTIL = time.strftime("%a %H:%M", time.localtime(LIMITS["next_change"]))
LIMITED = f"upload 2.0 MB/s (set by hand), download per peer 500 kB/s (schedule, until {UNTIL})"


def test_limits_are_shown_with_their_reasons(hdpd: FakeHdpd) -> None:
    hdpd.answers["limits.get"] = LIMITS
    assert hdpd.run("limits").stdout.splitlines() == [
        "upload\t2000000\tset by hand",
        "download\tnone\tsettings",
        "upload per peer\tnone\tsettings",
        f"download per peer\t500000\tschedule, until {UNTIL}",
        "local network\tnot limited\tsettings",
    ]


@pytest.mark.parametrize(
    ("options", "params"),
    [
        ("--upload 2MB/s --download none", {"upload": "2MB/s", "download": "none"}),
        ("--upload-per-peer 1MB/s --no-lan", {"upload_per_peer": "1MB/s", "lan": False}),
        ("--reset", {"reset": True}),
        ("--lan --reset", {"lan": True, "reset": True}),
    ],
)
def test_limits_are_set(hdpd: FakeHdpd, options: str, params: dict[str, Any]) -> None:
    hdpd.answers["limits.set"] = LIMITS
    assert json.loads(hdpd.run("limits", *options.split(), "--json").stdout) == LIMITS
    assert hdpd.calls == [("limits.set", {"reset": False, **params})]


def test_setting_a_limit_tells_of_peers_that_it_does_not_hold_for(hdpd: FakeHdpd) -> None:
    hdpd.answers["limits.set"] = LIMITS
    addresses = {"192.0.2.9:3031": "lan", "192.0.2.1:4000": "lan", "198.51.100.1:1": "direct"}
    hdpd.answers["peers.list"] = {
        "peers": [{"id": at, "address": at, "path": path} for at, path in addresses.items()]
    }
    hdpd.answers["daemon.info"] = {"addresses": ["192.0.2.1:3031"]}  # whose second port is a peer
    told = "1 connected peer on the local network: not limited; --lan limits them, too\n"
    assert hdpd.run("limits", "--upload", "2MB/s").stderr == told
    hdpd.answers["limits.set"] = {**LIMITS, "in_force": {**LIMITS["in_force"], "lan": True}}
    assert hdpd.run("limits", "--upload", "2MB/s", "--lan").stderr == ""


def status_answers() -> dict[str, Any]:
    return {
        "daemon.info": INFO,
        "peers.list": {"peers": [PEER, {"id": "x", "name": "Far", "state": "connecting"}]},
        "topics.list": {"topics": [{"name": "party", "peers": 1}]},
        "shares.list": {"shares": [SHARE, {**SHARE, "state": "scanning", "files": 5}]},
        "downloads.list": {
            "downloads": [{"state": "downloading", "rate": 3_000_000}, {"state": "paused"}],
            "next_cursor": None,
        },
        "uploads.list": {"active": [], "waiting": []},
        "limits.get": LIMITS,
    }


def test_status_is_one_request_and_everything_at_a_glance(hdpd: FakeHdpd) -> None:
    hdpd.answers.update(status_answers())
    printed = hdpd.run("status").stdout
    assert printed.startswith("GreyHeron mmmm\n  version    1.2.3 (API 1), up ")
    for line in (
        "  UDP ports  3031",
        "  control    unix:/run/hdpd/hdpd.sock, http://127.0.0.1:3030",
        "  peers      1 connected, 1 connecting: PersianChinchilla",
        "  topics     party (1 peer)",
        "  index      2 shares, 12,350 files, 2.4 TB; 1 scanning",
        "  downloads  1 downloading, 1 paused, 3.0 MB/s",
        "  uploads    none",
        f"  limits     {LIMITED}; not on the local network",
    ):
        assert line in printed.splitlines()
    assert "NAT" not in printed


def test_status_json_has_the_fields_of_every_result(hdpd: FakeHdpd) -> None:
    hdpd.answers.update(status_answers())
    everything = json.loads(hdpd.run("status", "--json").stdout)
    assert everything["udp_ports"] == [3031]
    assert everything["peers"] == hdpd.answers["peers.list"]["peers"]  # type: ignore[index]
    assert {"topics", "shares", "downloads", "active", "waiting"} <= set(everything)


def test_status_shows_the_rest_when_one_part_is_refused(hdpd: FakeHdpd) -> None:
    hdpd.answers.update(status_answers())
    hdpd.answers["uploads.list"] = Refusal("forbidden", "not for you")
    result = hdpd.run("status")
    assert result.exit_code == 0
    assert "GreyHeron" in result.stdout
    assert result.stderr == "hdpctl: not for you (forbidden)\n"
    hdpd.answers["daemon.info"] = Refusal("forbidden", "not at all")
    assert hdpd.run("status").exit_code == 1


def test_rpc_calls_anything(hdpd: FakeHdpd) -> None:
    hdpd.answers["any.method"] = {"ok": "ü\u202e"}
    result = hdpd.run("rpc", "any.method", '{"a": [1]}')
    assert json.loads(result.stdout) == {"ok": "ü\u202e"}
    assert "ü\\u202e" in result.stdout
    hdpd.run("rpc", "any.method", "@-", stdin='{"b": null}')
    hdpd.run("rpc", "any.method")
    assert hdpd.params_of("any.method") == [{"a": [1]}, {"b": None}, {}]


@pytest.mark.parametrize("text", ["{", "[1]", "3", "nonsense"])
def test_rpc_takes_an_object_only(hdpd: FakeHdpd, text: str) -> None:
    result = hdpd.run("rpc", "any.method", text)
    assert (result.exit_code, hdpd.calls) == (2, [])


def test_events_are_followed_until_the_connection_ends(hdpd: FakeHdpd) -> None:
    event = {"seq": 7, "time": 0, "type": "peer.connected", "data": {"name": "a\u202e"}}
    hdpd.answers["events.subscribe"] = {"seq": 6}
    hdpd.notifications["events.subscribe"] = [("other", {}), ("event", event), None]
    plain = hdpd.run("events", "--since", "3", "--type", "peer.connected")
    assert hdpd.calls == [("events.subscribe", {"since": 3, "types": ["peer.connected"]})]
    assert re.fullmatch(r'\d\d:\d\d:\d\d peer.connected {"name": "a\\u202e"}\n', plain.stdout)
    assert plain.exit_code == 1
    assert "closed the connection" in plain.stderr
    assert json.loads(hdpd.run("events", "--json").stdout) == event


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(hdpd: FakeHdpd, command: str) -> None:
    result = hdpd.run(command, "--help")
    assert result.exit_code == 0
    assert f"hdpctl {command}" in result.stdout.partition("Examples:")[2]
    _, _, commands = result.stdout.partition("Commands:")
    for sub in re.findall(r"^  (\w+) +[A-Z]", commands, re.MULTILINE):
        _, _, example = hdpd.run(command, sub, "--help").stdout.partition("Examples:")
        assert f"hdpctl {command} {sub}" in example.replace("queue ls", "queue list")


def test_no_command_shows_the_help_and_is_a_usage_error(hdpd: FakeHdpd) -> None:
    result = hdpd.run()
    assert (result.exit_code, result.stdout) == (2, "")
    assert all(f"  {command} " in result.stderr for command in COMMANDS)


def test_version(hdpd: FakeHdpd) -> None:
    assert hdpd.run("--version").stdout.startswith("hdpctl ")
