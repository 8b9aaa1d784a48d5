"""What the field's usual tool does with the same files in the same minutes, to compare with: rates
of a machine that is shared with others mean little alone.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.report import Row
from tests.bench.trees import make_small_files, random_file
from tests.e2e.harness import free_port, wait_for

MiB = 1024 * 1024


@contextmanager
def rsync_daemon(root: Path) -> Iterator[str]:
    """The URL of a daemon that offers what is below `root`, without encryption."""
    configuration, port = root / "rsyncd.conf", free_port()
    configuration.write_text(f"use chroot = no\nuid = root\n[media]\npath = {root}/from\n")
    arguments = ["rsync", "--daemon", "--no-detach", f"--config={configuration}", f"--port={port}"]
    with subprocess.Popen(arguments) as daemon:
        url = f"rsync://127.0.0.1:{port}/media"
        try:
            wait_for(
                "rsync's daemon",
                lambda: not subprocess.run(["rsync", url], capture_output=True, check=False).stderr,
            )
            yield url
        finally:
            daemon.terminate()


def rsync_rows(directory: Path, size_mib: int, count: int) -> Iterator[Row]:
    """One large file and many small ones; nothing without rsync."""
    if shutil.which("rsync") is None:
        return
    root = Path(tempfile.mkdtemp(prefix="hdp-bench-", dir=directory))
    try:
        (root / "from").mkdir()
        random_file(root / "from/film", size_mib * MiB)
        make_small_files(root / "from/many", count, 10 * 1024)
        with rsync_daemon(root) as url:
            large = _seconds(f"{url}/film", root / "film")
            small = _seconds(f"{url}/many", root)
    finally:
        shutil.rmtree(root)
    yield Row(
        f"rsync's daemon, {size_mib} MiB", size_mib * MiB / 1e6 / large, "MB/s", None, "plain text"
    )
    yield Row(f"rsync's daemon, {count} files", count / small, "files/s", None, "plain text")


def _seconds(url: str, target: Path) -> float:
    began = time.monotonic()
    subprocess.run(["rsync", "--archive", url, target], check=True)
    return time.monotonic() - began
