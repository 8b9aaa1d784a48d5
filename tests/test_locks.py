"""The locks hold what the project needs, in one version each, wherever it is installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = {re.split(r"[^\w.-]", text)[0] for text in PROJECT["dependencies"]}


def locked(path: Path) -> dict[str, str]:
    """Name and version of everything in a lock."""
    return dict(re.findall(r"^([\w.-]+)==([^ ]+)", path.read_text(), re.MULTILINE))


EVERYTHING = locked(ROOT / "requirements.lock")


@pytest.mark.parametrize("name", ["requirements.lock", "debian/locks/hdpd.txt"])
def test_every_dependency_is_locked(name: str) -> None:
    assert NEEDED - set(locked(ROOT / name)) == set(), "run `make lock`"


@pytest.mark.parametrize("name", ["hdpd", "hdpctl", "build"])
def test_the_packages_hold_what_was_tested(name: str) -> None:
    lock = ROOT / "debian" / "locks" / f"{name}.txt"
    assert locked(lock).items() <= EVERYTHING.items(), "run `make lock`"
    entries = re.split(r"\n(?=\w)", lock.read_text())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_hdpctl_needs_nothing_that_the_project_does_not() -> None:
    lines = (ROOT / "debian" / "locks" / "hdpctl.in").read_text().splitlines()
    assert {line for line in lines if not line.startswith("#")} <= NEEDED
