"""The table of the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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


def print_table(machine: str, rows: Sequence[Row]) -> None:
    """Prints it as Markdown, so that it can be kept as it is."""
    print(f"\n{machine}\n")
    print("| what | measured | goal | met | |\n|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.name} | {row.value:.3g} {row.unit} | {row.goal_text} "
            f"| {row.met} | {row.note} |"
        )
