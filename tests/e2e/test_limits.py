"""Limits between real daemons: on one machine, which does not count as the local network.

What has arrived since a limit was set is never more than it allows, however busy the machine is;
that it is not much less is asked with room for a busy one.
"""

from __future__ import annotations

import os
import signal
import time

from tests.e2e.conftest import needs_mosquitto
from tests.e2e.harness import Broker, Daemon, Lab
from tests.waiting import wait_for

SIZE = 12_000_000
BURST_S = 0.3  # what a limit may be exceeded by at the beginning: a burst and a few slices


def received(daemon: Daemon) -> int:
    return sum(each["received_bytes"] for each in daemon.rpc("downloads.list")["downloads"])


def done(daemon: Daemon) -> bool:
    return all(each["state"] == "done" for each in daemon.rpc("downloads.list")["downloads"])


def check_rate(rate: int, seconds: float, *daemons: Daemon) -> list[int]:
    """Watches what was just begun for so long; what each of them has then."""
    began = time.monotonic()
    wait_for("the first bytes", lambda: all(map(received, daemons)), poll=0.02)
    flowing = time.monotonic()
    got = [0] * len(daemons)
    while time.monotonic() - flowing < seconds:
        got = list(map(received, daemons))
        assert sum(got) <= rate * (time.monotonic() - began + BURST_S)
        time.sleep(0.25)
    assert sum(got) >= 0.6 * rate * (time.monotonic() - flowing)
    return got


@needs_mosquitto
def test_an_upload_limit_is_kept_and_shared_by_three_peers(lab: Lab, broker: Broker) -> None:
    flags = ("--topic", "party", "--mqtt-server", broker.url)
    server, *others = (lab.daemon(name, *flags).start() for name in "abcd")
    (server.share / "file").write_bytes(os.urandom(SIZE))
    server.ctl("shares", "rescan")
    server.wait_connected(*others)
    server.wait_scanned()
    shown = server.ctl("limits", "--upload", "1MB/s")
    assert shown.splitlines()[0] == "upload\t1000000\tset by hand"
    for other in others:
        other.rpc("downloads.add", peer=server.peer_id, path="media/file")
    got = check_rate(1_000_000, 3, *others)
    assert min(got) >= 0.5 * max(got)
    assert "upload 1.0 MB/s (set by hand)" in server.ctl("status")

    server.ctl("limits", "--upload", "none")
    for other in others:
        wait_for("the rest", lambda other=other: done(other))  # type: ignore[misc]
        assert (other.downloads / "file").read_bytes() == (server.share / "file").read_bytes()


def test_a_download_limit_is_kept(lab: Lab) -> None:
    a, b = lab.pair_by_invite()
    (a.share / "file").write_bytes(os.urandom(SIZE))
    a.ctl("shares", "rescan")
    a.wait_scanned()
    b.ctl("limits", "--download", "500kB/s")
    b.rpc("downloads.add", peer=a.peer_id, path="media/file")
    check_rate(500_000, 2, b)
    assert "upload: 'fast' is not a rate, such as 2MB/s" in b.fails("limits", "--upload", "fast")
    b.ctl("limits", "--reset")
    wait_for("the rest", lambda: done(b))
    assert (b.downloads / "file").read_bytes() == (a.share / "file").read_bytes()


def test_what_is_set_wins_over_a_new_configuration_and_holds_over_a_restart(lab: Lab) -> None:
    file = lab.root / "hdpd.toml"
    file.write_text('[limits]\nupload = "1MB/s"\n')
    daemon = lab.daemon("a", "--config", str(file)).start()
    daemon.rpc("limits.set", download="16Mbit/s")
    file.write_text('[limits]\nupload = "3MB/s"\ndownload = "3MB/s"\n')
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    wait_for("the reload", lambda: daemon.rpc("limits.get")["base"]["upload"] == 3_000_000)
    expected = ["upload\t3000000\tsettings", "download\t2000000\tset by hand"]
    assert daemon.ctl("limits").splitlines()[:2] == expected
    assert daemon.stop() == 0
    daemon.start()
    assert daemon.ctl("limits").splitlines()[:2] == expected
    assert daemon.ctl("limits", "--reset").splitlines()[1] == "download\t3000000\tsettings"
