"""Ignore patterns: which names of a shared directory are left out, by the rules of gitignore(5).

A directory's patterns are those of the configuration and of the `.hdpignore` files from the share's
directory down to itself. The deepest file that says anything about a path decides, in it the last
pattern; below a directory that is left out nothing can be brought back. The patterns themselves are
read by the pathspec library. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from pathspec.patterns.gitignore.base import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

MAX_PATTERNS: Final = 1000  # of one file or list
MAX_PATTERN_CHARS: Final = 1000
# Each further one multiplies the time for a name made of the right letters by its length.
MAX_STARS: Final = 4

# Such a pattern is the name itself, or what a name ends with, when a star is before it.
_SIMPLE = re.compile(r"!?(\*?)([^/*?\[\\!#\s][^/*?\[\\\s]*)/?")
_ANCESTOR = "ps_d"  # pathspec's name for the slash behind what the pattern names


class Clues(NamedTuple):
    """What tells of most names, at a tenth of the cost, that no pattern fits them: all that may fit
    are among the names, or end with one of the suffixes, unless anything may.
    """

    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    anything: bool = False

    def with_those_of(self, other: Clues) -> Clues:
        """For both together."""
        suffixes = tuple({*self.suffixes, *other.suffixes})
        return Clues(self.names | other.names, suffixes, self.anything or other.anything)


class Patterns:
    """The patterns of one list or file.

    Raises:
        ValueError: one is not a pattern, or there are too many; the message names it.
    """

    __slots__ = ("_rules", "clues")

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        names: set[str] = set()
        suffixes: set[str] = set()
        others = False
        for line in lines:
            pattern = _compile(line)
            if pattern is None:
                continue
            if len(self._rules) >= MAX_PATTERNS:
                raise ValueError(f"more than {MAX_PATTERNS} patterns")
            self._rules.append(pattern)
            if simple := _SIMPLE.fullmatch(line.rstrip()):
                (suffixes if simple[1] else names).add(simple[2])
            else:
                others = True
        self._rules.reverse()
        self.clues = Clues(frozenset(names), tuple(suffixes), others)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def verdict(self, above: str, name: str, *, is_directory: bool) -> bool | None:
        """Whether the name in the directory `above` (relative, empty or with a slash behind) is
        left out, True or False, or None when no pattern says.
        """
        path = f"{above}{name}/" if is_directory else above + name
        for leaves_out, regex in self._rules:
            match = regex.search(path)
            if match is None:
                continue
            # What matched a directory above was asked about that one.
            of_ancestor = _ANCESTOR in regex.groupindex and match[_ANCESTOR] is not None
            if not of_ancestor or match.end() > len(above):
                return leaves_out
        return None


def _compile(line: str) -> tuple[bool, re.Pattern[str]] | None:
    if len(line) > MAX_PATTERN_CHARS or len(re.findall(r"\*+", line)) > MAX_STARS:
        raise ValueError(f"{line[:80]!r} is too long a pattern, or has more than {MAX_STARS} stars")
    try:
        pattern = GitIgnoreSpecPattern(line)
    except (GitIgnorePatternError, re.error):
        raise ValueError(f"{line!r} is not a pattern") from None
    if pattern.include is None or pattern.regex is None:  # a comment, or nothing
        return None
    return pattern.include, pattern.regex


@lru_cache(maxsize=256)
def patterns_of(lines: tuple[str, ...]) -> Patterns:
    """The patterns, compiled once for all directories that have the same; raises as `Patterns`."""
    return Patterns(lines)


class Ignoring:
    """What is left out in one directory. Never changes; `below` makes that of a subdirectory."""

    __slots__ = ("_levels", "clues")

    def __init__(self, clues: Clues, levels: tuple[tuple[Patterns, str], ...] = ()) -> None:
        self._levels = levels  # the deepest first, each with the path from there
        self.clues = clues

    def __bool__(self) -> bool:
        return bool(self._levels)

    def hides(self, name: str, *, is_directory: bool) -> bool:
        """Whether that name in this directory is left out."""
        for patterns, above in self._levels:
            verdict = patterns.verdict(above, name, is_directory=is_directory)
            if verdict is not None:
                return verdict
        return False

    def adding(self, patterns: Patterns) -> Ignoring:
        """With those of this directory's own file too."""
        if not patterns:
            return self
        return Ignoring(self.clues.with_those_of(patterns.clues), ((patterns, ""), *self._levels))

    def below(self, name: str) -> Ignoring:
        """What holds in the subdirectory of that name, before its own file is read."""
        if not self._levels:
            return self
        levels = tuple((patterns, f"{above}{name}/") for patterns, above in self._levels)
        return Ignoring(self.clues, levels)


NOTHING: Final = Ignoring(Clues())
