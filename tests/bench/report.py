"""The table of the benchmarks, and the lines that explain what is not in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. A negative `goal` is an upper limit, a positive one a lower limit, and None says
    that it is there to compare with.
    """

    name: str
    value: float
    unit: str
    goal: float | None
    note: str

    @property
    def met(self) -> str:
        if self.goal is None:
            return ""
        met = self.value >= self.goal if self.goal > 0 else self.value <= -self.goal
        return "yes" if met else "no"

    @property
    def goal_text(self) -> str:
        if self.goal is None:
            return ""
        return f"{'at least' if self.goal > 0 else 'at most'} {abs(self.goal):g}"

    def __str__(self) -> str:
        """A line of a Markdown table."""
        measured = f"{figure(self.value)} {self.unit}"
        return f"| {self.name} | {measured} | {self.goal_text} | {self.met} | {self.note} |"


Line: TypeAlias = Row | str
"""A figure, or a sentence that says why there is none."""


def figure(value: float) -> str:
    """Three digits, or all of those before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(lines: Sequence[Line]) -> str:
    """As Markdown, so that it can be kept as it is; the sentences follow it."""
    rows = [str(line) for line in lines if isinstance(line, Row)]
    sentences = [f"- {line}" for line in lines if isinstance(line, str)]
    parts = []
    if rows:
        parts.append(
            "\n".join(["| what | measured | goal | met | |", "|---|---|---|---|---|", *rows])
        )
    if sentences:
        parts.append("\n".join(sentences))
    return "\n\n".join(parts)
