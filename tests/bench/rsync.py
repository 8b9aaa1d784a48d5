"""rsync from its own daemon, as a yardstick."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.measuring import running
from tests.e2e.harness import free_port
from tests.waiting import wait_for


@contextmanager
def serving_with_rsync(root: Path) -> Iterator[Callable[[str, Path], None]]:
    """Offers what is below `root`/from on loopback, without encryption."""
    configuration, port = root / "rsyncd.conf", free_port()
    user = "uid = root\n" if os.geteuid() == 0 else ""
    configuration.write_text(
        f"address = 127.0.0.1\nuse chroot = no\n{user}[media]\npath = {root}/from\n"
    )
    url = f"rsync://127.0.0.1:{port}/media"
    daemon = ("rsync", "--daemon", "--no-detach", f"--config={configuration}", f"--port={port}")

    def answers() -> bool:
        return not subprocess.run(["rsync", url], capture_output=True, check=False).stderr

    def fetch(name: str, target: Path) -> None:
        subprocess.run(["rsync", "--archive", f"{url}/{name}", target], check=True)

    with running(*daemon, log=root / "rsyncd.log"):
        wait_for("rsync's daemon", answers)
        yield fetch
