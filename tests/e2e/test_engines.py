"""Both QUIC libraries speak the same protocol, whichever is at which end."""

from __future__ import annotations

import pytest

from tests.e2e.harness import Lab
from tests.e2e.test_crash import random_file
from tests.e2e.trees import sha256

MiB = 1024 * 1024


@pytest.mark.parametrize("second", ["qh3", "aioquic"])
@pytest.mark.parametrize("first", ["qh3", "aioquic"])
def test_engine_pairs(lab: Lab, first: str, second: str) -> None:
    a = lab.daemon("a", "--quic-engine", first)
    b = lab.daemon("b", "--quic-engine", second)
    a.start()
    b.start()
    b.ctl("connect", a.ctl("invite").strip())
    a.wait_connected(b)
    b.wait_connected(a)
    assert a.rpc("daemon.info")["quic_engine"] == first
    random_file(a.share / "film", 24 * MiB)
    random_file(b.share / "song", 8 * MiB)
    b.ctl("download", f"{a.name}/media/film", "--wait")
    a.ctl("download", f"{b.name}/media/song", "--wait")
    assert sha256(b.downloads / "film") == sha256(a.share / "film")
    assert sha256(a.downloads / "song") == sha256(b.share / "song")
