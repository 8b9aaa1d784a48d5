"""`hdpctl doctor` on a machine where a mount hangs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.harness import Lab
from tests.waiting import wait_for

DeadMount = Callable[[Path], None]


def test_a_look_that_hangs_does_not_keep_hdpd_from_stopping(
    lab: Lab, dead_mount: DeadMount
) -> None:
    daemon = lab.daemon("a").start()
    assert daemon.process is not None
    dead_mount(daemon.downloads)
    arguments = ["--server", f"unix:{daemon.socket}", "doctor"]
    with subprocess.Popen(
        [sys.executable, "-m", "hdpctl", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=daemon.environment,
    ) as doctor:
        pid = daemon.process.pid
        wait_for("a look at the mount", lambda: "fuse" in wait_channels(pid), within=30)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 5
        doctor.wait(30)


def wait_channels(pid: int) -> str:
    """Where in the kernel its threads wait."""
    return " ".join(each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/wchan"))
