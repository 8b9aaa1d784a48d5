"""The `lab` fixture: a short temporary directory, because Unix socket paths have 107 bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Broker, Lab

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None,
    reason="needs mosquitto; install it, or run `sudo make test`",
)


@pytest.fixture
def lab() -> Iterator[Lab]:
    root = Path(tempfile.mkdtemp(prefix="hdp-"))
    made = Lab(root)
    try:
        yield made
    finally:
        try:
            made.close()
        finally:
            shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def broker(lab: Lab) -> Broker:
    return lab.broker()


@pytest.fixture
def small_disk(lab: Lab) -> Iterator[Path]:
    """A file system of 20 MB, mounted for the test; needs root."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system; run `sudo make test`")
    directory = lab.root / "small"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(directory)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a file system here: {mounted.stderr.decode().strip()}")
    try:
        yield directory
    finally:
        # The daemons end after this; a lazy unmount does not wait for them.
        subprocess.run(["umount", "-l", str(directory)], check=True)
