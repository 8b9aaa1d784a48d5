"""Browse, search, read and download between two real daemons."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import needs_mosquitto
from tests.e2e.harness import Broker, Daemon, Lab
from tests.e2e.trees import AWKWARD_NAMES, make_tree, sha256, snapshot
from tests.waiting import wait_for

MiB = 1024 * 1024


def umask() -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("Umask"))
    return int(line.split()[1], 8)


def download(daemon: Daemon, *arguments: str, timeout: float = 240) -> str:
    return daemon.ctl("download", *arguments, "--wait", timeout=timeout)


def test_a_tree_with_awkward_names_arrives_as_it_is(pair: tuple[Daemon, Daemon]) -> None:
    a, b = pair
    make_tree(a.share, files=1500)
    a.ctl("shares", "rescan")
    a.wait_scanned()
    download(b, f"{a.name}/media")
    assert snapshot(b.downloads / "media") == snapshot(a.share)
    (done,) = b.rpc("downloads.list")["downloads"]
    assert done["state"] == "done"
    assert done["failed_files"] == 0
    assert done["done_files"] == done["files"] == 1500 + len(AWKWARD_NAMES) + 1
    leftovers = [path for path in b.downloads.rglob("*") if path.name.endswith(".part")]
    assert leftovers == []

    # Once more: everything is there already, and nothing is fetched or doubled.
    before = snapshot(b.downloads)
    download(b, f"{a.name}/media")
    assert snapshot(b.downloads) == before


def test_browsing_and_searching_a_peer(pair: tuple[Daemon, Daemon]) -> None:
    a, b = pair
    (a.share / "Music" / "Björk" / "Debut").mkdir(parents=True)
    (a.share / "Music" / "Björk" / "Debut" / "01 Human Behaviour.flac").write_bytes(b"x" * 1000)
    (a.share / "Music" / "notes.txt").write_text("hello")
    a.ctl("shares", "rescan")
    a.wait_scanned()
    name = a.name

    assert b.ctl("ls").splitlines() == ["self/", "self/media/", f"{name}/", f"{name}/media/"]
    assert b.ctl("ls", f"{name}/media/Music").splitlines() == ["Björk/", "notes.txt"]
    listed = json.loads(b.ctl("ls", f"{name}/media/Music", "--json"))["entries"]
    by_name = {entry["name"]: entry for entry in listed}
    assert by_name["Björk"]["type"] == "directory"
    assert by_name["Björk"]["size"] == 1000
    assert by_name["Björk"]["files"] == 1
    assert by_name["notes.txt"]["size"] == 5
    assert abs(by_name["notes.txt"]["mtime"] - (a.share / "Music/notes.txt").stat().st_mtime) < 1
    recursive = b.ctl("ls", "-R", f"{name}/media").splitlines()
    assert f"{name}/media/Music/Björk/Debut/01 Human Behaviour.flac" in recursive

    hit = f"{name}/media/Music/Björk/Debut/01 Human Behaviour.flac"
    for words in (["bjork", "HUMAN"], ["behav", "flac"], ["ork", "debut", "01"]):
        assert hit in b.ctl("search", *words).splitlines(), words
    assert b.ctl("search", "nothing", "like", "it") == ""
    found = json.loads(b.ctl("search", "debut", "--json"))
    assert found["unanswered"] == []
    assert found["hits"][0]["type"] == "directory"
    assert found["hits"][0]["path"] == "media/Music/Björk/Debut"

    # Of this hdpd itself, by the name `self`.
    assert a.ctl("ls", "self/media/Music").splitlines() == ["Björk/", "notes.txt"]


def test_a_directory_of_many_entries_is_listed_in_pages(pair: tuple[Daemon, Daemon]) -> None:
    a, b = pair
    big = a.share / "big"
    big.mkdir()
    for index in range(12_000):
        (big / f"entry {index:05d}").touch()
    a.ctl("shares", "rescan")
    a.wait_scanned()
    lines = b.ctl("ls", f"{a.name}/media/big").splitlines()
    assert lines == [f"entry {index:05d}" for index in range(12_000)]


def test_reading_beyond_four_gibibytes(pair: tuple[Daemon, Daemon]) -> None:
    a, b = pair
    with (a.share / "huge").open("wb") as file:
        file.truncate(5 * 1024 * MiB)
        file.seek(4 * 1024 * MiB + 12_345)
        file.write(b"beyond")
    read = b.ctl_bytes(
        *("cat", f"{a.name}/media/huge", "--offset", str(4 * 1024 * MiB + 12_345 - 2)),
        *("--length", "10"),
    )
    assert read == b"\0\0beyond\0\0"


def test_cat_gives_the_very_bytes(pair: tuple[Daemon, Daemon]) -> None:
    a, b = pair
    content = os.urandom(9 * MiB + 17)
    (a.share / "blob").write_bytes(content)
    assert b.ctl_bytes("cat", f"{a.name}/media/blob") == content
    assert "not_found" in b.fails("cat", f"{a.name}/media/none") or "No such" in b.fails(
        "cat", f"{a.name}/media/none"
    )


@pytest.mark.parametrize(
    "path",
    ["../x", "media/../../etc/passwd", "/etc/passwd", "media/a\0b", "media/./x", "media//etc"],
)
def test_hostile_paths_reach_nothing(pair: tuple[Daemon, Daemon], path: str) -> None:
    a, b = pair
    secret = a.root / "secret.txt"
    secret.write_text("outside")
    (a.share / "link").symlink_to(secret)
    (a.share / "dirlink").symlink_to(a.root)
    for method in ("files.list", "downloads.add"):
        code = f'{{"peer": "{a.name}", "path": {json.dumps(path)}}}'
        assert b.fails("rpc", method, code)
    for link in ("media/link", "media/dirlink/secret.txt", "media/dirlink"):
        assert "outside" not in b.ctl("cat", f"{a.name}/{link}", check=False)
        assert "secret.txt" not in b.ctl("ls", f"{a.name}/{link}", check=False)
    assert "link" not in b.ctl("ls", f"{a.name}/media")


def test_a_different_file_that_is_there_already_is_kept(pair: tuple[Daemon, Daemon]) -> None:
    a, b = pair
    (a.share / "song.mp3").write_text("theirs")
    (b.downloads / "song.mp3").write_text("mine, keep it")
    download(b, f"{a.name}/media/song.mp3")
    assert (b.downloads / "song.mp3").read_text() == "mine, keep it"
    assert (b.downloads / "song (2).mp3").read_text() == "theirs"
    mode = (b.downloads / "song (2).mp3").stat().st_mode & 0o777
    assert mode == 0o666 & ~umask(), "others may read it as far as the umask lets them"


def test_download_to_a_subdirectory(pair: tuple[Daemon, Daemon]) -> None:
    a, b = pair
    (a.share / "x").write_text("x")
    download(b, f"{a.name}/media/x", "--to", "films/new")
    assert (b.downloads / "films" / "new" / "x").read_text() == "x"
    for bad in ("../out", "/tmp", "a/../../b"):
        assert b.fails("download", f"{a.name}/media/x", "--to", bad)


def test_pause_resume_move_cancel_and_clear(lab: Lab) -> None:
    a, b = lab.pair_by_invite()
    a_name = a.name
    for index in range(3):
        (a.share / f"file{index}").write_bytes(os.urandom(300_000))
    a.stop()
    wait_for("b to miss a", lambda: not b.connected())
    ids = [b.ctl("download", f"{a_name}/media/file{index}").split()[0] for index in range(3)]
    states = {each["id"]: each["state"] for each in b.rpc("downloads.list")["downloads"]}
    assert set(states.values()) <= {"waiting_for_peer", "queued"}
    b.ctl("queue", "pause", ids[0])
    b.ctl("queue", "move", ids[2], "top")
    order = [each["id"] for each in b.rpc("downloads.list")["downloads"]]
    assert order.index(ids[2]) < order.index(ids[1])
    b.ctl("queue", "cancel", ids[1])
    a.start()
    b.wait_connected(a)

    def state(which: int) -> str | None:
        listed = b.rpc("downloads.list")["downloads"]
        return next((each["state"] for each in listed if each["id"] == ids[which]), None)

    wait_for("the third to be done", lambda: state(2) == "done")
    assert state(0) == "paused"
    b.ctl("queue", "resume", ids[0])
    wait_for("the first to be done", lambda: state(0) == "done")
    assert not (b.downloads / "file1").exists()
    b.ctl("queue", "clear", "all")
    assert b.rpc("downloads.list")["downloads"] == []
    assert (b.downloads / "file0").exists()


def test_a_file_that_vanishes_or_cannot_be_read_fails_alone(lab: Lab) -> None:
    a, b = lab.pair_by_invite()
    for index in range(20):
        (a.share / f"file{index:02d}").write_bytes(b"x" * 1000)
    a.ctl("shares", "rescan")
    a.wait_scanned()
    (a.share / "file07").unlink()
    (a.share / "file08").unlink()
    (a.share / "file08").mkdir()
    output = b.ctl("download", f"{a.name}/media", "--wait", check=False)
    (entry,) = b.rpc("downloads.list")["downloads"]
    assert entry["state"] == "failed", output
    assert entry["done_files"] == 18
    assert entry["failed_files"] == 2
    files = b.rpc("downloads.files", id=entry["id"], limit=100)["files"]
    failed = {each["path"]: each for each in files if each["state"] == "failed"}
    assert len(failed) == 2
    # Repaired and retried.
    (a.share / "file08").rmdir()
    for name in ("file07", "file08"):
        (a.share / name).write_bytes(b"x" * 1000)
    b.ctl("queue", "retry", entry["id"])
    wait_for(
        "the retry to be done",
        lambda: b.rpc("downloads.list")["downloads"][0]["state"] == "done",
    )
    assert len(list((b.downloads / "media").iterdir())) == 20


def test_a_file_that_changes_while_it_is_sent_is_never_mixed(lab: Lab) -> None:
    a, b = lab.pair_by_invite()
    source = a.share / "changing"
    size = 200 * MiB
    source.write_bytes(b"A" * size)
    identifier = b.ctl("download", f"{a.name}/media/changing").split()[0]

    def progress() -> bool:
        (entry,) = b.rpc("downloads.list")["downloads"]
        return bool(entry["done_bytes"] > 5 * MiB or entry["state"] == "done")

    wait_for("some bytes to arrive", progress, poll=0.01)
    fresh = a.root / "fresh"
    fresh.write_bytes(b"B" * (size - 1))
    fresh.replace(source)
    wait_for(
        "the download to end",
        lambda: b.rpc("downloads.list")["downloads"][0]["state"] in ("done", "failed"),
        within=60,
    )
    (entry,) = b.rpc("downloads.list")["downloads"]
    assert entry["id"] == identifier
    assert entry["state"] == "done", entry
    content = (b.downloads / "changing").read_bytes()
    assert content in (b"A" * size, b"B" * (size - 1))


@needs_mosquitto
def test_two_downloaders_share_the_line_and_one_file_is_not_starved(
    lab: Lab, broker: Broker
) -> None:
    flags = ("--topic", "party", "--mqtt-server", broker.url)
    a, b, c = (lab.daemon(name, *flags) for name in "abc")
    config = lab.root / "one-slot.toml"
    config.write_text("[transfers]\nupload_slots = 1\n")
    a.flags = (*a.flags, "--config", str(config))
    many = a.share / "many"
    many.mkdir()
    for index in range(4000):
        (many / f"{index}").write_bytes(b"x" * 20_000)
    (a.share / "one").write_bytes(b"y" * 1000)
    for each in (a, b, c):
        each.start()
    b.wait_connected(a, c)
    c.wait_connected(a, b)
    a.wait_scanned()
    b.ctl("download", f"{a.name}/media/many")
    wait_for("b to be served", lambda: b.rpc("downloads.list")["downloads"][0]["done_files"])
    began = time.monotonic()
    download(c, f"{a.name}/media/one")
    assert time.monotonic() - began < 20
    b.ctl("queue", "cancel", "all")


def test_many_files_after_a_restart_of_both(lab: Lab) -> None:
    a, b = lab.pair_by_invite()
    many = a.share / "many"
    many.mkdir()
    for index in range(5000):
        (many / f"{index:04d}").write_bytes(b"%d" % index * 500)
    a.ctl("shares", "rescan")
    a.wait_scanned()
    b.ctl("download", f"{a.name}/media/many")
    wait_for(
        "some files", lambda: b.rpc("downloads.list")["downloads"][0]["done_files"] > 100, poll=0.02
    )
    b.kill()
    a.stop()
    b.start()
    a.start()
    wait_for(
        "the rest",
        lambda: b.rpc("downloads.list")["downloads"][0]["state"] == "done",
        within=60,
    )
    assert snapshot(b.downloads / "many") == snapshot(many)
    leftovers = [path for path in b.downloads.rglob("*") if path.name.startswith(".hdpd")]
    assert leftovers == []


def test_a_full_disk_pauses_and_goes_on_by_itself(lab: Lab, small_disk: Path) -> None:
    a, b = lab.pair()
    b.downloads = small_disk
    config = lab.root / "reserve.toml"
    config.write_text('[transfers]\nmin_free = "1MB"\n')
    b.flags = (*b.flags, "--download-dir", str(small_disk), "--config", str(config))
    a.start()
    b.start()
    b.ctl("connect", a.ctl("invite").strip())
    b.wait_connected(a)
    content = os.urandom(12 * MiB)
    (a.share / "film").write_bytes(content)
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * 14 * MiB)
    b.ctl("download", f"{a.name}/media/film")

    def error() -> str | None:
        found = b.rpc("downloads.list")["downloads"][0]["error"]
        return found["code"] if found else None

    wait_for("the disk to be full", lambda: error() == "disk_full", within=30)
    assert "paused: no room: 12.6 MB are still to come" in b.ctl("queue")
    assert list(small_disk.iterdir()) == [filler], "what does not fit was begun"
    filler.unlink()
    wait_for(
        "it to go on",
        lambda: b.rpc("downloads.list")["downloads"][0]["state"] == "done",
        within=60,
    )
    assert hashlib.sha256(content).hexdigest() == sha256(small_disk / "film")


def test_a_dead_mount_stops_nothing_but_itself(
    lab: Lab, dead_mount: Callable[[Path], None]
) -> None:
    a, b = lab.pair_by_invite()
    for name in ("film", "song"):
        (a.share / name).write_bytes(os.urandom(MiB))
    dead = b.downloads / "dead"
    dead.mkdir()
    dead_mount(dead)
    stuck = b.ctl("download", f"{a.name}/media/film", "--to", "dead").strip()
    b.ctl("download", f"{a.name}/media/song", "--wait", timeout=40)
    assert (b.downloads / "song").read_bytes() == (a.share / "song").read_bytes()
    (shown,) = (d for d in b.rpc("downloads.list")["downloads"] if d["id"] == stuck)
    assert (shown["state"], shown["error"]["code"]) == ("paused", "disk_silent")
    b.ctl("queue", "cancel", stuck, timeout=20)
    assert b.stop(within=8) == 0


def test_a_damaged_file_is_found_by_comparing_both_sides(pair: tuple[Daemon, Daemon]) -> None:
    a, b = pair
    directory = a.share / "films"
    directory.mkdir()
    for index in range(20):
        (directory / f"{index}").write_bytes(os.urandom(index * 100_000))
    identifier = b.ctl("download", f"{a.name}/media/films", "--wait").split()[0]
    assert "equal: 20 files" in b.ctl("verify", identifier)
    damaged = b.downloads / "films" / "7"
    status = damaged.stat()
    with damaged.open("r+b") as file:
        file.seek(350_000)
        file.write(b"flip")
    os.utime(damaged, ns=(status.st_atime_ns, status.st_mtime_ns))
    (directory / "9").write_bytes(b"another film")
    said = b.ctl("verify", identifier, check=False)
    assert "different\t7\t" in said
    assert "changed there\t9\tthe peer has changed its file" in said
    result = json.loads(b.ctl("verify", identifier, "--json", check=False))
    assert (result["equal"], result["unequal"]) == (18, 2)


def test_a_quota_lets_the_download_wait_and_a_reload_changes_it(lab: Lab) -> None:
    a, b = lab.pair()
    config = lab.root / "quota.toml"
    config.write_text('[transfers]\ndaily_quota = "1MB"\n')
    a.flags = (*a.flags, "--config", str(config))
    a.start()
    b.start()
    b.ctl("connect", a.ctl("invite").strip())
    b.wait_connected(a)
    for name in ("first", "second"):
        (a.share / name).write_bytes(os.urandom(MiB))
    b.ctl("download", f"{a.name}/media/first", "--wait")
    b.ctl("download", f"{a.name}/media/second")
    wait_for(
        "the quota to be told",
        lambda: "queued: the daily quota of 1.0 MB is used up; it goes on at" in b.ctl("queue"),
    )
    a.stop()
    a.start()  # what was counted is not forgotten
    b.wait_connected(a)
    wait_for("it to be told again", lambda: "quota of 1.0 MB is used up" in b.ctl("queue"))
    config.write_text(f'[peers.{b.peer_id[:12]}]\nfavourite = true\nquota = "none"\n')
    assert a.process is not None
    a.process.send_signal(signal.SIGHUP)
    wait_for("the new rules", lambda: "taken over: transfers.daily_quota, peers" in a.log())
    identifier = b.rpc("downloads.list")["downloads"][-1]["id"]
    b.ctl("queue", "pause", identifier)
    b.ctl("queue", "resume", identifier)
    wait_for(
        "the download",
        lambda: b.rpc("downloads.list")["downloads"][-1]["state"] == "done",
    )
