"""What the figures were measured on and with: the head of the table."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

import apsw

from tests.nat.lab import program_path

# How each of the programs that are compared tells its version.
VERSION_OF = {
    "rsync": ("rsync", "--version"),
    "ssh": ("ssh", "-V"),
    "nginx": ("nginx", "-v"),
    "aria2": ("aria2c", "--version"),
    "syncthing": ("syncthing", "--version"),
}


def machine() -> str:
    """Two lines: the machine, and the versions of what takes part."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    hardware = (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GB, Linux {platform.release()}"
    )
    own = {name: importlib.metadata.version(name) for name in ("hdpd", "qh3", "aioquic")}
    python = {"Python": platform.python_version()}
    versions = {**python, **own, "SQLite": apsw.sqlite_lib_version(), **_tools()}
    return f"{hardware}\n{', '.join(f'{name} {version}' for name, version in versions.items())}"


def version_in(text: str) -> str:
    """The first thing in a program's answer that looks like a version."""
    found = re.search(r"\d+(?:\.\d+)+\w*", text)
    return found[0] if found else "of an unknown version"


def _tools() -> dict[str, str]:
    found = {}
    for name, (program, flag) in VERSION_OF.items():
        path = program_path(program)
        if path is not None:
            told = subprocess.run([path, flag], capture_output=True, text=True, check=False)
            found[name] = version_in(told.stdout + told.stderr)
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()
