"""`hdpctl doctor`, tab completion, and what `status` says about the settings."""

from __future__ import annotations

from typing import Any

import pytest
from click.shell_completion import ShellComplete

from hdpctl.cli import cli
from hdpctl.commands.status import describe
from tests.fake_hdpd import FakeHdpd, Refusal

OK = {"check": "clock", "state": "ok", "text": "2026", "advice": None}
BAD = {"check": "share M", "state": "failed", "text": "gone\x1b", "advice": "mount it"}


def test_the_doctor_says_how_it_is_and_what_to_do(hdpd: FakeHdpd) -> None:
    hdpd.answers["daemon.doctor"] = {"findings": [OK]}
    result = hdpd.run("doctor")
    assert (result.exit_code, result.stdout) == (0, "ok       clock: 2026\n")
    hdpd.answers["daemon.doctor"] = {"findings": [OK, BAD]}
    result = hdpd.run("doctor")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1:] == [
        r"FAILED   share M: gone\x1b",
        "         -> mount it",
    ]
    assert hdpd.run("doctor", "--json").exit_code == 1


def test_without_a_daemon_the_doctor_looks_at_the_configuration(
    hdpd: FakeHdpd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    result = hdpd.run("doctor", server="unix:/nowhere")
    assert result.exit_code == 1
    assert "is hdpd running?" in result.stderr


def test_status_says_where_settings_are_from() -> None:
    configuration: dict[str, Any] = {"files": ["/etc/hdpd/hdpd.toml"]}
    of: dict[str, Any] = {
        "configuration": {**configuration, "refused": "a mistake", "restart_needed": ["k"]},
        "topics": [{"name": "a", "peers": 0, "configured": True}, {"name": "b", "peers": 1}],
        "shares": [{"state": "ready", "configured": True}, {"state": "ready"}],
    }
    lines = "\n".join(describe(of, 0.0))
    assert "/etc/hdpd/hdpd.toml; NOT USED as they are now: a mistake; waiting for a" in lines
    assert "a (0 peers, in the settings), b (1 peer)" in lines
    assert "2 shares, 0 files, 0 B (1 in the settings)" in lines


def completions(hdpd: FakeHdpd, *words: str) -> list[str]:
    """What is offered for the last word."""
    shell = ShellComplete(cli, {}, "hdpctl", "_HDPCTL_COMPLETE")
    *before, last = words
    arguments = ["--server", hdpd.unix, *before]
    return [item.value for item in shell.get_completions(arguments, last)]


def test_tab_completes_what_hdpd_knows(hdpd: FakeHdpd) -> None:
    hdpd.answers["peers.list"] = {
        "peers": [{"name": "GreyHeron", "state": "connected"}, {"name": "Cat", "state": "known"}]
    }
    hdpd.answers["files.list"] = {
        "entries": [
            {"name": "Björk", "type": "directory"},
            {"name": "Bowie.txt", "type": "file"},
            {"name": "Other", "type": "file"},
        ]
    }
    hdpd.answers["downloads.list"] = {
        "downloads": [{"id": "d1", "state": "queued", "path": "Music"}]
    }
    hdpd.answers["topics.list"] = {"topics": [{"name": "party", "peers": 1}]}
    assert completions(hdpd, "block", "g") == ["GreyHeron"]
    assert completions(hdpd, "block", "") == ["GreyHeron", "Cat"]
    assert completions(hdpd, "ls", "") == ["self/", "GreyHeron/"]
    assert completions(hdpd, "ls", "GreyHeron/Music/B") == [
        "GreyHeron/Music/Björk/",
        "GreyHeron/Music/Bowie.txt",
    ]
    assert hdpd.params_of("files.list")[0]["path"] == "Music"
    assert completions(hdpd, "queue", "pause", "") == ["all", "d1"]
    assert completions(hdpd, "topics", "leave", "p") == ["party"]


def test_tab_is_silent_when_something_is_wrong(hdpd: FakeHdpd) -> None:
    hdpd.answers["peers.list"] = Refusal("unauthorized", "no")
    assert completions(hdpd, "block", "") == []
