"""Downloads over lines that lose packets or are cut: several connections, and little sent twice."""

from __future__ import annotations

import os

from tests.nat.conftest import needs_laboratory, quick
from tests.nat.lab import Internet, NatDaemon
from tests.waiting import wait_for

pytestmark = needs_laboratory

TWENTY_MBIT = 2_500_000  # bytes/s
MIB = 1 << 20


def pair_on_a_line(
    internet: Internet, size: int, *line: float
) -> tuple[NatDaemon, NatDaemon, bytes]:
    """Two that are connected over such a line, and a file that the first one shares."""
    homes = internet.site("public"), internet.site("public")
    internet.slow_down(*homes, *line)
    a, b = (internet.daemon(home.host()) for home in homes)
    content = os.urandom(size)
    (a.share / "film").write_bytes(content)
    a.start()
    b.start()
    b.wait_connected(a, within=40)
    a.wait_scanned()
    return a, b, content


def fetch(a: NatDaemon, b: NatDaemon, within: float) -> None:
    identifier = b.rpc("downloads.add", peer=a.peer_id, path="media/film")["id"]

    def done() -> bool:
        [download] = b.rpc("downloads.list")["downloads"]
        assert download["id"] == identifier
        assert download["state"] != "failed", download["error"]
        return bool(download["state"] == "done")

    wait_for("the download", done, within=within, poll=0.25)


@quick
def test_where_loss_limits_there_are_more_connections(internet: Internet) -> None:
    a, b, content = pair_on_a_line(internet, 16 * MIB, TWENTY_MBIT, 0.04, 0.01)
    fetch(a, b, within=90)
    assert (b.downloads / "film").read_bytes() == content
    assert f"8 connections with {a.name}" in b.log()
    assert len(b.connected()) == 1


def test_a_line_that_is_cut_again_and_again(internet: Internet) -> None:
    a, b, content = pair_on_a_line(internet, 100 * MIB, TWENTY_MBIT, 0.04, 0.01, 20, 60)
    fetch(a, b, within=400)
    assert (b.downloads / "film").read_bytes() == content
    [download] = b.rpc("downloads.list")["downloads"]
    assert download["received_bytes"] <= 1.02 * len(content)
