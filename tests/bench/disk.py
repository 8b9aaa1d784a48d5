"""A new file system for each group of benchmarks, where root can mount one.

ext4 does not take inodes that were freed within the last minutes: whoever makes files where many
were removed, by a test or a benchmark before, waits for its search for others. That is up to 0.8 ms
for each file, many times what it takes to transfer it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.measuring import undisturbed
from tests.nat.lab import program_path, run

BYTES = 16 << 30  # only what is written takes room
INODES = 3_000_000
PROGRAMS = ("mkfs.ext4", "losetup", "mount")


def missing() -> str | None:
    """Why there can be none here; None if there can."""
    if os.geteuid() != 0:
        return "needs root to mount one"
    for program in PROGRAMS:
        if program_path(program) is None:
            return f"needs {program}"
    probe = ["losetup", "--find"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return "this kernel or container gives out no loop devices"
    return None


@contextmanager
def new_disk(directory: Path) -> Iterator[Path]:
    """A directory for whatever is made: an own file system in a file below `directory`, or a plain
    directory there; it is gone afterwards.
    """
    with ExitStack() as stack:
        made = stack.enter_context(
            tempfile.TemporaryDirectory(
                prefix="hdp-bench-", dir=directory, ignore_cleanup_errors=True
            )
        )
        root = Path(made)
        if missing() is None:
            image, point = root / "image", root / "disk"
            point.mkdir()
            with image.open("wb") as file:
                file.truncate(BYTES)
            run("mkfs.ext4", "-q", "-F", "-m", "0", "-N", str(INODES), str(image))
            device = run("losetup", "--find", "--show", str(image)).strip()
            stack.callback(run, "losetup", "--detach", device)
            # The file's own pages would be a second copy of everything in memory.
            run("losetup", "--direct-io=on", device, check=False)
            run("mount", "-o", "noinit_itable,noatime", device, str(point))
            stack.callback(_unmount, point)
            root = point
        try:
            yield root
        finally:
            with undisturbed():
                stack.close()


def _unmount(point: Path) -> None:
    """Also while something is still open there, which then keeps it until it is closed."""
    run("umount", "--lazy", str(point))
