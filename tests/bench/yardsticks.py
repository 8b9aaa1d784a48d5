"""What the field's usual tools do with the same files in the same run, to compare with: rates of a
machine that is shared with others mean little alone.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.aria2 import serving_with_nginx
from tests.bench.measuring import MiB, seconds_of
from tests.bench.report import Line, Row
from tests.bench.rsync import serving_with_rsync
from tests.bench.ssh import serving_with_sshd
from tests.bench.syncthing import serving_with_syncthing
from tests.bench.trees import make_small_files, random_file
from tests.nat.lab import program_path

SMALL_BYTES = 10 * 1024

Fetch = Callable[[str, Path], None]
"""Copies what has that name, of what is offered, into a directory."""


@dataclass(frozen=True, slots=True)
class Tool:
    """`serve` is given a directory of its own, in which `from` is what it has to offer."""

    name: str
    programs: tuple[str, ...]
    serve: Callable[[Path], AbstractContextManager[Fetch]]
    note: str


TOOLS = {
    "rsync": Tool("rsync's daemon", ("rsync",), serving_with_rsync, "plain text"),
    "scp": Tool("scp", ("scp", "sshd", "ssh-keygen"), serving_with_sshd, "encrypted"),
    "aria2": Tool(
        "aria2 over nginx", ("aria2c", "nginx"), serving_with_nginx, "plain text, 8 connections"
    ),
    "syncthing": Tool(
        "syncthing", ("syncthing",), serving_with_syncthing, "encrypted; both sides hash the files"
    ),
}


def tool_rows(
    tool: Tool, directory: Path, size_mib: int, count: int, rounds: int
) -> Iterator[Line]:
    """One large file and many small ones."""
    lacking = [program for program in tool.programs if program_path(program) is None]
    if lacking:
        yield f"{tool.name} is left out: {', '.join(lacking)} is not installed"
        return
    root = Path(tempfile.mkdtemp(prefix="hdp-bench-", dir=directory))
    try:
        offered = root / "from"
        (offered / "large").mkdir(parents=True)
        random_file(offered / "large/film", size_mib * MiB)
        make_small_files(offered / "many", count, SMALL_BYTES)
        with tool.serve(root) as fetch:
            large = _seconds(fetch, root, "large", size_mib * MiB, rounds)
            small = _seconds(fetch, root, "many", count * SMALL_BYTES, rounds)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    rate = size_mib * MiB / 1e6 / large
    yield Row(f"{tool.name}, one file of {size_mib} MiB", rate, "MB/s", None, tool.note)
    yield Row(f"{tool.name}, {count} files", count / small, "files/s", None, tool.note)


def _seconds(fetch: Fetch, root: Path, name: str, size: int, rounds: int) -> float:
    """The median; makes sure that everything has come."""
    measured = []
    for index in range(rounds):
        target = root / f"to-{name}-{index}"
        target.mkdir()
        os.sync()
        measured.append(seconds_of(partial(fetch, name, target)))
        copied = target / name
        found = sum(path.stat().st_size for path in copied.rglob("*") if path.is_file())
        assert found == size, f"{copied} has {found} bytes, not {size}"
    return statistics.median(measured)
