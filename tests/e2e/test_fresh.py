"""What changes in a share is what peers see, without anybody asking for a scan."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from pathlib import Path

import pytest

from hdpd.shares import inotify
from tests.bench.measuring import cpu_seconds
from tests.e2e.harness import Daemon, Lab
from tests.waiting import wait_for

WITHIN_S = 10  # 2 s, and what a busy machine adds


def listed(peer: Daemon, path: str) -> list[str]:
    return peer.ctl("ls", path, check=False).splitlines()


def test_peers_see_changes_soon_and_nothing_that_is_left_out(lab: Lab) -> None:
    a, b = lab.pair_by_invite()
    a.wait_scanned()
    media = f"{a.name}/media"
    (a.share / ".hdpignore").write_text("*.secret\n")
    (a.share / "film.secret").write_text("!")
    (a.share / "film").mkdir()
    (a.share / "film" / "one.mkv").write_text("1")
    wait_for("a film", lambda: listed(b, media) == ["film/"], within=WITHIN_S)
    wait_for("it in there", lambda: listed(b, f"{media}/film") == ["one.mkv"], within=WITHIN_S)
    (a.share / "film").rename(a.share / "Film")
    wait_for("its name", lambda: listed(b, media) == ["Film/"], within=WITHIN_S)
    wait_for("the search", lambda: "Film/one.mkv" in b.ctl("search", "film one"), within=WITHIN_S)
    assert "there is no" in b.fails("cat", f"{media}/film.secret")


IN_ACCESS, IN_OPEN = 0x1, 0x20
IDLE_S = 5


def test_a_share_in_which_nothing_happens_is_left_alone(lab: Lab) -> None:
    a = lab.daemon("a")
    for name in ("one", "two"):
        (a.share / name).mkdir()
        (a.share / name / "file").write_text("1")
    a.start()
    a.wait_scanned()
    wait_for("the second look at what had just changed", lambda: not scanner_of(a))
    time.sleep(1)
    libc = ctypes.CDLL(None, use_errno=True)
    listening = inotify.open_inotify()
    try:
        for directory in (a.share, a.share / "one", a.share / "two"):
            watch = libc.inotify_add_watch(listening, bytes(directory), IN_ACCESS | IN_OPEN)
            assert watch > 0
        before = cpu_seconds(a)
        time.sleep(IDLE_S)
        # A client that looks around does not wake the disk either.
        (entry,) = a.rpc("files.list", peer="self", path="media/one")["entries"]
        assert entry["path"] == "media/one/file"
        assert a.rpc("files.search", peer="self", query="two file")["hits"]
        assert inotify.read_events(listening) == []
        assert cpu_seconds(a) - before < 1
        (a.share / "one" / "file").read_text()
        assert inotify.read_events(listening), "it would have been told"
    finally:
        os.close(listening)


def scanner_of(daemon: Daemon) -> str:
    assert daemon.process is not None
    pid = daemon.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


@pytest.mark.root
def test_a_disk_that_is_not_mounted_is_away_and_comes_back_at_once(lab: Lab) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    a, b = lab.pair_by_invite()
    disk = a.root / "disk"
    disk.mkdir()

    def mount(*arguments: str) -> None:
        subprocess.run(["mount", *arguments], check=True)

    def state() -> str:
        row: dict[str, str] = a.rpc("shares.list")["shares"][0]
        return row["state"]

    film = f"{a.name}/media/film"
    try:
        mount("-t", "tmpfs", "none", str(disk))
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("nothing can be mounted here")
    (disk / "film").mkdir()
    (disk / "film" / "one.mkv").write_text("1")
    try:
        mount("--bind", str(disk), str(a.share))
        wait_for("the film", lambda: listed(b, film) == ["one.mkv"], within=WITHIN_S)
        a.wait_scanned()
        subprocess.run(["umount", str(a.share)], check=True)
        wait_for("the share to be away", lambda: state() == "away", within=WITHIN_S)
        assert listed(b, film) == ["one.mkv"], "it is not emptied"
        b.fails("cat", f"{film}/one.mkv")
        mount("--bind", str(disk), str(a.share))
        wait_for("it to be back", lambda: state() != "away", within=WITHIN_S)
        assert b.ctl("cat", f"{film}/one.mkv") == "1"
    finally:
        for place in (a.share, disk):
            subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)
