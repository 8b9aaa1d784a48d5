"""How a download that somebody waits for reads: by lines; `hdpctl.bars` is for terminals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from hdpctl import show
from hdpctl.downloads import state_text

# Often enough to see that it moves, seldom enough for a log.
LINE_EVERY_S = 5.0

Report = Callable[[Mapping[str, Any]], None]
Look = Callable[[Mapping[str, str]], AbstractContextManager[Report]]


@contextmanager
def lines(titles: Mapping[str, str]) -> Iterator[Report]:
    """Report by lines: each new state at once, what only moved at most every 5 seconds. What is
    done has its place on the disk at the end.
    """
    told: dict[str, tuple[str, float]] = {}

    def report(download: Mapping[str, Any]) -> None:
        one, state, now = download["id"], state_text(download), time.monotonic()
        before, at = told.get(one, ("", 0.0))
        moving = download.get("state") == "downloading" and now - at >= LINE_EVERY_S
        if state == before and not moving:
            return
        told[one] = state, now
        fields = (one, state, amounts(download), titles.get(one, one))
        place = download.get("place") if download.get("state") == "done" else None
        show.line_of_fields((*fields, str(place)) if place else fields)
        show.flush()

    yield report


@contextmanager
def silence(_titles: Mapping[str, str]) -> Iterator[Report]:
    """Report nothing: `--json` prints the outcome only."""
    yield lambda _download: None


def amounts(download: Mapping[str, Any]) -> str:
    """How much of how much, how fast, how long still; for a directory its files, too."""
    parts = [f"{show.size(download.get('done_bytes'))} of {show.size(download.get('size'))}"]
    if download.get("type") == "directory":
        parts.append(f"{download.get('done_files') or 0}/{download.get('files') or 0} files")
    if download.get("state") == "downloading":
        parts.append(show.rate(download.get("rate")))
        if eta := show.duration(download.get("eta")):
            parts.append(f"{eta} left")
    return ", ".join(filter(None, parts))
