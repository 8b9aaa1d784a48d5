"""Ignore patterns: the same verdicts as git's, quickly, and nothing that takes for ever."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hdpd.ignore import MAX_PATTERNS, NOTHING, Ignoring, Patterns

FILES = ["a", "b.tmp", "build/a", "build/b.tmp", "c/build/a", "c/d/a", "c/d/b.tmp", "c/d/e/x~"]


def ignoring(files: dict[str, list[str]], directory: str) -> Ignoring | None:
    """What holds in a directory, None when it is left out itself; `files` as in `shared`."""
    current = NOTHING.adding(Patterns(files.get("", [])))
    path = ""
    for name in directory.split("/") if directory else []:
        if current.hides(name, is_directory=True):
            return None
        path = f"{path}/{name}" if path else name
        current = current.below(name).adding(Patterns(files.get(path, [])))
    return current


def shared(files: dict[str, list[str]]) -> set[str]:
    """Those of FILES that are left when directories have these patterns."""
    found = set()
    for path in FILES:
        directory, _, name = path.rpartition("/")
        there = ignoring(files, directory)
        if there is not None and not there.hides(name, is_directory=False):
            found.add(path)
    return found


def shared_by_git(repository: Path, files: dict[str, list[str]]) -> set[str]:
    for path in repository.rglob(".gitignore"):
        path.unlink()
    for directory, lines in files.items():
        (repository / directory / ".gitignore").write_text("".join(f"{line}\n" for line in lines))
    # Without the user's own configuration.
    command = ["git", "-c", "core.excludesFile=", "ls-files", "--others", "--exclude-standard"]
    out = subprocess.run(command, cwd=repository, capture_output=True, check=True, text=True)
    return {path for path in out.stdout.splitlines() if not path.endswith(".gitignore")}


@pytest.mark.parametrize(
    ("files", "hidden"),
    [
        ({"": ["*.tmp"]}, {"b.tmp", "build/b.tmp", "c/d/b.tmp"}),
        ({"": ["/build"]}, {"build/a", "build/b.tmp"}),
        ({"": ["build/"]}, {"build/a", "build/b.tmp", "c/build/a"}),
        ({"": ["a/"]}, set()),
        ({"": ["*.tmp"], "c": ["!*.tmp"]}, {"b.tmp", "build/b.tmp"}),
        ({"": ["build", "!build/a"]}, {"build/a", "build/b.tmp", "c/build/a"}),
        ({"": ["build"], "c": ["!build"]}, {"build/a", "build/b.tmp"}),
        # What brings a directory back says nothing about what is in it.
        ({"": ["*.tmp", "!build"]}, {"b.tmp", "build/b.tmp", "c/d/b.tmp"}),
        ({"": ["a"], "c": ["!build"]}, {"a", "build/a", "c/build/a", "c/d/a"}),
        ({"c": ["/d"]}, {"c/d/a", "c/d/b.tmp", "c/d/e/x~"}),
        ({"": ["*", "!c", "!c/d", "!*.tmp"]}, set(FILES) - {"b.tmp", "c/d/b.tmp"}),
        ({"": ["**/d/**"]}, {"c/d/a", "c/d/b.tmp", "c/d/e/x~"}),
        ({"": ["# nothing", "", "  "]}, set()),
        ({"": ["*~", r"\*.tmp", "[ab]"]}, {"a", "build/a", "c/build/a", "c/d/a", "c/d/e/x~"}),
    ],
)
def test_patterns_mean_what_they_mean_to_git(files: dict[str, list[str]], hidden: set[str]) -> None:
    assert shared(files) == set(FILES) - hidden


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    repository = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q"], cwd=repository, check=True)
    for path in FILES:
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).touch()
    return repository


WORDS = (
    "a *.tmp !*.tmp build build/ !build /c !/c d/ !d/ c/* e/* !c/d **/a c/**/a !a x? [!a] *~ "
    "!c/d/e /d/b.tmp #a"
)
LINES = st.lists(st.sampled_from(WORDS.split()), max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["", "c", "c/d"]), LINES, max_size=3))
def test_git_agrees(repository: Path, files: dict[str, list[str]]) -> None:
    assert shared(files) == shared_by_git(repository, files)


@pytest.mark.parametrize("line", ["!", "*a*a*a*a*a", "x" * 2000])
def test_what_is_no_pattern_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Patterns([line])


def test_the_number_of_patterns_is_bounded() -> None:
    lines = [f"name{number}" for number in range(MAX_PATTERNS)]
    assert Patterns(lines)
    with pytest.raises(ValueError, match="more than"):
        Patterns([*lines, "one more"])


def test_without_patterns_nothing_is_made_for_a_subdirectory() -> None:
    assert not NOTHING
    assert NOTHING.below("x") is NOTHING
    assert NOTHING.adding(Patterns(["# comment"])) is NOTHING
