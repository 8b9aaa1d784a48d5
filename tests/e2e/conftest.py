"""The `lab` fixture: a short temporary directory, because Unix socket paths have 107 bytes."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.harness import Broker, Daemon, Lab

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None,
    reason="needs mosquitto; install it, or run `sudo make test`",
)


@contextmanager
def new_lab() -> Iterator[Lab]:
    """A laboratory of its own, which ends with everything in it."""
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
def lab() -> Iterator[Lab]:
    with new_lab() as made:
        yield made


@pytest.fixture(scope="module")
def shared_lab() -> Iterator[Lab]:
    """For daemons that serve all tests of a module."""
    with new_lab() as made:
        yield made


@pytest.fixture(scope="module")
def shared_pair(shared_lab: Lab) -> tuple[Daemon, Daemon]:
    return shared_lab.pair_by_invite()


@pytest.fixture
def pair(shared_pair: tuple[Daemon, Daemon]) -> tuple[Daemon, Daemon]:
    """Two connected daemons with empty shares, queues and downloads.

    Others use them too: for a test that neither stops them nor changes what they keep otherwise.
    """
    for daemon in shared_pair:
        for method in ("downloads.cancel", "downloads.clear"):
            if ids := [row["id"] for row in daemon.rpc("downloads.list")["downloads"]]:
                daemon.rpc(method, ids=ids)
        for directory in (daemon.share, daemon.downloads):
            for path in directory.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        daemon.ctl("shares", "rescan")
    for daemon in shared_pair:
        daemon.wait_scanned()
    return shared_pair


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


def mount_by_fuse(directory: Path) -> int:
    """Mounts a file system, of which what is returned is the server's end; needs root."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("needs root and /dev/fuse to mount a dead file system; run `sudo make test`")
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"dead", bytes(directory), b"fuse", 0, options) != 0:
        os.close(descriptor)
        pytest.skip(f"cannot mount by FUSE here: {os.strerror(ctypes.get_errno())}")
    return descriptor


@pytest.fixture
def dead_mount() -> Iterator[Callable[[Path], None]]:
    """Mounts a file system at a directory, whose server never answers; needs root."""
    served: list[tuple[int, Path]] = []

    def mount(directory: Path) -> None:
        served.append((mount_by_fuse(directory), directory))

    yield mount
    for descriptor, directory in served:
        os.close(descriptor)  # whoever still waits for an answer gets an error
        subprocess.run(["umount", "-l", str(directory)], check=True)
