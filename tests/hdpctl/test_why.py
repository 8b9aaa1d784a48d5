"""`hdpctl why`: the reason first, then what could be changed, then all that was tried."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fake_hdpd import serving

EXPLAINED = {
    "id": "k3j2aaaaaaaabbbb",
    "name": "PersianChinchilla",
    "state": "known",
    "own_nat": "hard",
    "peer_nat": None,
    "reason": "PersianChinchilla is not reachable directly: both behind hard NAT",
    "advice": ["forward a port"],
    "tries": [
        {
            "kind": "punch",
            "address": "198.51.100.2:3031",
            "time": 1_700_000_000,
            "result": "no answer",
            "worked": False,
        },
        {"kind": "birthday", "address": None, "time": 0, "result": "[red]", "worked": False},
    ],
}


def test_why(tmp_path: Path) -> None:
    with serving(tmp_path) as hdpd:
        hdpd.answers["peers.explain"] = EXPLAINED
        printed = hdpd.run("why", "PersianChinchilla")
        assert hdpd.calls == [("peers.explain", {"peer": "PersianChinchilla"})]
        lines = printed.stdout.splitlines()
        assert lines[0] == EXPLAINED["reason"]
        assert lines[1] == "NAT here: hard, there: not known"
        assert lines[2] == "- forward a port"
        assert lines[3].startswith("punched\t198.51.100.2:3031\t2023-11-1")
        assert lines[3].endswith("\tno answer")
        assert lines[4].startswith("random ports\t")
        assert "[red]" in lines[4]
        assert json.loads(hdpd.run("why", "PersianChinchilla", "--json").stdout) == EXPLAINED
