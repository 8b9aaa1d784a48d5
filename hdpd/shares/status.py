"""What the owner is shown of the shares. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

ShareState = Literal["scanning", "ready", "away", "error", "removed"]


class ShareStatus(Struct, frozen=True, kw_only=True):
    """A share, and what its index holds of it. `path` is reversible text; `skipped_first` are the
    reasons of some of the entries that could not be read; `watched` counts directories.
    """

    name: str
    path: str
    state: ShareState
    searchable: bool
    files: int
    directories: int
    bytes: int
    skipped: int
    skipped_first: tuple[str, ...]
    scanned_at: float | None
    watched: int
    error: str | None
    configured: bool


class ShareChanged(Struct, frozen=True):
    """A share is in another state, holds something else, or is gone."""

    share: ShareStatus
