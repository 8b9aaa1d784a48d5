"""`hdpctl verify`: what it says, and its exit status."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fake_hdpd import FakeHdpd, Refusal

CHECK = {
    "id": "abcd2345",
    "state": "running",
    "files": 3,
    "done_files": 1,
    "size": 3000,
    "done_bytes": 1000,
    "equal": 1,
    "unequal": 0,
    "problems": [],
    "error": None,
}
GOOD = {**CHECK, "state": "done", "done_files": 3, "equal": 3}
BAD = {
    **CHECK,
    "state": "done",
    "equal": 1,
    "unequal": 2,
    "problems": [
        {"path": "a/b\n", "problem": "different", "message": "not the same"},
        {"path": "", "problem": "changed_there", "message": "the peer has changed its file"},
    ],
}
FAILED = {**CHECK, "state": "failed", "error": {"code": "x", "message": "the peer has gone"}}


@pytest.mark.parametrize(
    ("end", "status", "said", "complained"),
    [
        (GOOD, 0, "equal: 3 files\n", ""),
        (
            BAD,
            1,
            "different\ta/b\\n\tnot the same\nchanged there\t.\tthe peer has changed its file\n",
            "hdpctl: 2 of 3 files are not the same as the peer's\n",
        ),
        (FAILED, 1, "", "hdpctl: the check ended early: the peer has gone\n"),
        ({**BAD, "problems": []}, 1, "", "... and 2 more\nhdpctl: 2 of 3 files"),
    ],
)
def test_outcomes(
    hdpd: FakeHdpd, end: dict[str, Any], status: int, said: str, complained: str
) -> None:
    states = iter([CHECK, end])
    hdpd.answers["downloads.list"] = {"downloads": [{"id": CHECK["id"]}], "next_cursor": None}
    hdpd.answers["downloads.verify"] = CHECK
    hdpd.answers["downloads.verification"] = lambda _: next(states)
    result = hdpd.run("verify", "abcd")
    assert (result.exit_code, result.stdout) == (status, said)
    assert result.stderr.startswith(complained)
    assert complained or not result.stderr
    assert hdpd.params_of("downloads.verify") == [{"id": "abcd2345"}]


def test_json_and_refusals(hdpd: FakeHdpd) -> None:
    hdpd.answers["downloads.list"] = {"downloads": [{"id": CHECK["id"]}], "next_cursor": None}
    hdpd.answers["downloads.verify"] = BAD
    result = hdpd.run("verify", "abcd", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, BAD)
    hdpd.answers["downloads.verify"] = Refusal("peer_not_connected", "Foo is not connected")
    result = hdpd.run("verify", "abcd")
    assert (result.exit_code, result.stderr) == (
        1,
        "hdpctl: Foo is not connected (peer_not_connected)\n",
    )
    assert hdpd.run("verify", "zzzz").exit_code == 1
