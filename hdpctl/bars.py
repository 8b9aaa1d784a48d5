"""Progress bars for downloads that somebody waits for at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Column

from hdpctl.downloads import state_text
from hdpctl.progress import Report, amounts
from hdpctl.text import visible


@contextmanager
def bars(titles: Mapping[str, str]) -> Iterator[Report]:
    """Report by a bar for each download, under its title."""
    columns = (
        _text("{task.description}", ratio=1, min_width=12),
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        _text("{task.fields[status]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(highlight=False), expand=True) as progress:

        def report(download: Mapping[str, Any]) -> None:
            one = download["id"]
            if one not in tasks:
                title = visible(titles.get(one, one))
                tasks[one] = progress.add_task(title, total=None, status="")
            done = download.get("state") == "done"
            size, moved = download.get("size"), download.get("done_bytes") or 0
            # An empty file is complete, although 0 of 0 bytes is no part of anything.
            total, completed = (1, 1) if done and not size else (size, size if done else moved)
            state = "" if download.get("state") == "downloading" else f"{state_text(download)} "
            status = visible(state + amounts(download))
            progress.update(tasks[one], total=total, completed=completed, status=status)

        yield report


def _text(template: str, ratio: int | None = None, min_width: int | None = None) -> TextColumn:
    column = Column(no_wrap=True, overflow="ellipsis", ratio=ratio, min_width=min_width)
    return TextColumn(template, markup=False, table_column=column)
