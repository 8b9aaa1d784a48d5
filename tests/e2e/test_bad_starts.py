"""What cannot work ends start-up with one clear line and exit status 2; what may come does not."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import mount_by_fuse
from tests.e2e.harness import Daemon, Lab
from tests.waiting import wait_for


def refused(daemon: Daemon, *more: str) -> str:
    """The one line that hdpd says when it refuses to start."""
    done = subprocess.run(
        [*daemon.command, *more],
        capture_output=True,
        env=daemon.environment,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.decode().splitlines() if line.startswith("hdpd: ")]
    assert len(lines) == 1, done.stderr
    assert b"Traceback" not in done.stderr
    return lines[0]


def test_a_share_directory_that_does_not_exist(lab: Lab) -> None:
    message = refused(lab.daemon("a"), "--share-dir", "/no/such/directory")
    assert "/no/such/directory" in message


def test_an_unknown_key_in_the_configuration(lab: Lab) -> None:
    file = lab.root / "hdpd.toml"
    file.write_text('topcs = ["party"]\n')
    message = refused(lab.daemon("a"), "--config", str(file))
    assert "topcs" in message
    assert "topics" in message


def test_an_unknown_flag_and_a_bad_value(lab: Lab) -> None:
    for flags in (["--no-such-flag"], ["--port", "70000"], ["--mqtt-server", "ftp://x"]):
        done = subprocess.run(
            [*lab.daemon(f"a{flags[0]}{flags[-1]}".replace("/", "")).command, *flags],
            capture_output=True,
            env=dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2])),
            timeout=30,
            check=False,
        )
        assert done.returncode == 2
        assert b"Traceback" not in done.stderr


def test_a_udp_port_that_is_taken(lab: Lab) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::", 0))
        port = taken.getsockname()[1]
        message = refused(lab.daemon("a"), "--port", str(port))
    assert str(port) in message


def test_a_control_port_that_is_taken(lab: Lab) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = refused(lab.daemon("a"), "--control", f"127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in message


def test_a_state_directory_in_use(lab: Lab) -> None:
    a = lab.daemon("a").start()
    message = refused(a)
    assert str(a.state) in message
    assert a.name, "the first one goes on"


def test_a_damaged_identity_key(lab: Lab) -> None:
    a = lab.daemon("a")
    (a.state / "identity.key").write_bytes(b"short")
    assert "identity.key" in refused(a)
    assert (a.state / "identity.key").read_bytes() == b"short", "it is left as it was"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_directory_that_cannot_be_written(lab: Lab) -> None:
    a = lab.daemon("a")
    a.state.chmod(0o500)
    assert str(a.state) in refused(a)


def test_secrets_are_for_the_owner_only(lab: Lab) -> None:
    a = lab.daemon("a", "--topic", "party").start()
    for name in ("identity.key", "state.db", "lock"):
        assert (a.state / name).stat().st_mode & 0o077 == 0, name
    assert a.socket.stat().st_mode & 0o777 == 0o660


def test_it_stops_within_five_seconds_and_says_goodbye(lab: Lab) -> None:
    a, b = lab.pair_by_invite()
    assert a.stop(within=5) == 0
    assert a.socket.exists() is False
    b.wait_connected(within=3)


def test_a_file_system_whose_server_has_gone_keeps_nobody_from_starting(lab: Lab) -> None:
    a, b = lab.pair()
    (a.share / "song").write_text("la")
    os.close(mount_by_fuse(b.downloads))
    try:
        a.start()
        b.start()
        b.ctl("connect", a.ctl("invite").strip())
        b.wait_connected(a)
        added = b.rpc("downloads.add", peer=a.peer_id, path="media/song")

        def shown() -> dict[str, Any]:
            [row] = b.rpc("downloads.list")["downloads"]
            assert row["id"] == added["id"]
            return dict(row)

        waiting = wait_for("it to wait", lambda: (row := shown())["state"] == "paused" and row)
        assert waiting["error"]["code"] == "disk_away"
        assert str(b.downloads) in waiting["error"]["message"]
    finally:
        subprocess.run(["umount", "-l", str(b.downloads)], check=True)
    wait_for("it to go on", lambda: shown()["state"] == "done", within=30)
    assert (b.downloads / "song").read_text() == "la"
