"""Lists as aligned tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hdpctl.text import visible


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below their headers.

    Columns with nothing in them are left out; what is too long for the terminal is folded, but
    never the first column: it holds what commands take as argument.
    """
    cells = [[visible(field) for field in row] for row in rows]
    used = [i for i in range(len(headers)) if any(row[i] for row in cells)]
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for i in used:
        grid.add_column(headers[i], overflow="fold", no_wrap=i == 0)
    for row in cells:
        grid.add_row(*(Text(row[i]) for i in used))
    Console(highlight=False).print(grid)
