"""kill -9 in the middle of a download: it goes on, is right, and little is sent again."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Daemon, Lab
from tests.e2e.trees import sha256
from tests.waiting import wait_for

MiB = 1024 * 1024
SIZE = 400 * MiB
RESENT_LIMIT = 64 * MiB  # for each crash


def random_file(path: Path, size: int) -> None:
    block = os.urandom(MiB)
    chance = random.Random(size)
    with path.open("wb") as file:
        for _ in range(size // MiB):
            file.write(chance.randbytes(16) + block[16:])


def entry(daemon: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = daemon.rpc("downloads.list")["downloads"][0]
    return found


@pytest.mark.parametrize("victim", ["downloader", "uploader"])
def test_kill_9_in_the_middle(lab: Lab, victim: str) -> None:
    a, b = lab.pair_by_invite()
    random_file(a.share / "film", SIZE)
    wanted = sha256(a.share / "film")
    b.ctl("download", f"{a.name}/media/film")
    crashes = 0
    for fraction in (0.2, 0.4, 0.6, 0.8):
        goal = fraction * SIZE

        def reached(goal: float = goal) -> bool:
            return bool(entry(b)["done_bytes"] >= goal or entry(b)["state"] == "done")

        wait_for(f"{fraction:.0%}", reached, within=60, poll=0.005)
        if entry(b)["state"] == "done":
            break
        crashes += 1
        if victim == "downloader":
            b.kill()
            b.start()
        else:
            a.kill()
            a.start()
    assert crashes >= 2
    wait_for("the download to be done", lambda: entry(b)["state"] == "done", within=90)
    assert sha256(b.downloads / "film") == wanted
    assert entry(b)["received_bytes"] - SIZE <= crashes * RESENT_LIMIT
    assert [path.name for path in b.downloads.iterdir()] == ["film"]


def test_a_download_waits_for_a_peer_that_is_away(lab: Lab) -> None:
    a, b = lab.pair_by_invite()
    random_file(a.share / "film", 2 * MiB)
    name = a.name
    a.kill()
    b.ctl("download", f"{name}/media/film")
    time.sleep(0.5)
    assert entry(b)["state"] in ("waiting_for_peer", "queued", "downloading")
    b.stop()
    b.start()
    a.start()
    wait_for("the download to be done", lambda: entry(b)["state"] == "done", within=60)


def test_kill_9_while_unfinished_files_are_on_a_small_disk_of_their_own(
    lab: Lab, small_disk: Path
) -> None:
    """Each file fits there, and never all of them; finished, they are brought to another disk."""
    config = lab.root / "b.toml"
    config.write_text(
        f'incomplete_dir = "{small_disk}/unfinished"\n'
        '[transfers]\nmin_free = "1MB"\n[limits]\ndownload = "16MB/s"\nlan = true\n'
    )
    a, b = lab.daemon("a"), lab.daemon("b", "--config", str(config))
    (a.share / "season").mkdir()
    for number in range(4):
        random_file(a.share / f"season/{number}", 9 * MiB)
    a.start().wait_scanned()
    b.start().ctl("connect", a.ctl("invite").strip())
    b.wait_connected(a)
    b.ctl("download", f"{a.name}/media/season")
    wait_for("half of it", lambda: entry(b)["done_bytes"] >= 18 * MiB)
    b.kill()
    b.start()
    wait_for("the download to be done", lambda: entry(b)["state"] == "done", within=90)
    for number in range(4):
        assert sha256(b.downloads / f"season/{number}") == sha256(a.share / f"season/{number}")
    assert list((small_disk / "unfinished").iterdir()) == []
