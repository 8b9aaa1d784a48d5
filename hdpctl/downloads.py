"""What `hdpctl` knows about downloads: ids, how a state reads, when waiting for one is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hdpctl import show
from hdpctl.errors import ControlError

Json = dict[str, Any]

MIN_ID_CHARS = 4
# How many candidates an error about an ambiguous id names.
MAX_NAMED = 5


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """For each id its shortest start that no other id has, of at least 4 characters."""
    ordered = sorted(set(ids))
    shortest = {}
    for i, one in enumerate(ordered):
        neighbours = ordered[max(0, i - 1) : i] + ordered[i + 1 : i + 2]
        common = max((_common_prefix(one, other) for other in neighbours), default=0)
        shortest[one] = one[: max(MIN_ID_CHARS, common + 1)]
    return shortest


def _common_prefix(a: str, b: str) -> int:
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def find_ids(wanted: Sequence[str], known: Iterable[str]) -> list[str]:
    """The full ids for ids or unique starts of ids, without repetition.

    Raises ControlError where one fits none or several.
    """
    ids = list(known)
    exact = set(ids)
    found: dict[str, None] = {}
    for word in wanted:
        fits = [word] if word in exact else [one for one in ids if one.startswith(word)]
        if not fits:
            raise ControlError(f"no download has the id {word!r}; `hdpctl queue` shows them")
        if len(fits) > 1:
            named = ", ".join(fits[:MAX_NAMED]) + (", ..." if len(fits) > MAX_NAMED else "")
            raise ControlError(f"{word!r} is the start of {len(fits)} ids: {named}")
        found[fits[0]] = None
    return list(found)


def error_text(error: object) -> str:
    """The reason in the `error` member of a download, "" where there is none."""
    if isinstance(error, Mapping):
        return str(error.get("message") or error.get("error") or "")
    return str(error or "")


def state_text(download: Mapping[str, Any]) -> str:
    """The state with what belongs to it: the place at the peer, the reason, files that failed."""
    state = str(download.get("state") or "?")
    text = state.replace("_", " ")
    if state == "remote_queued" and download.get("queue_position") is not None:
        text += f", place {download['queue_position']}"
        if eta := show.duration(download.get("queue_eta")):
            text += f", in about {eta}"
    waits = download.get("waiting_for")
    waits = waits if isinstance(waits, Mapping) else {}
    reason = error_text(download.get("error"))
    if waits.get("kind") not in (None, "peer", "remote_queue", "turn", "owner"):
        reason = reason or str(waits.get("text") or "")  # what the state does not say by itself
    if state != "done" and reason:
        text += f": {reason}"
    if failed := download.get("failed_files"):
        text += f" ({show.counted(failed, 'file')} failed)"
    return text


class Following:
    """The downloads that somebody waits for, fed with what hdpd says about them."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.latest: dict[str, Json] = {one: {"id": one} for one in ids}
        self.failures: dict[str, str] = {}
        self.waiting = set(self.latest)

    def update(self, download: Json) -> bool:
        """Take a download's object; tells whether it is one of those still waited for."""
        one = str(download.get("id"))
        if one not in self.waiting:
            return False
        self.latest[one] = download
        state = download.get("state")
        if state == "done" and not download.get("failed_files"):
            self.waiting.remove(one)
        elif state in ("done", "failed", "cancelled"):
            self._fail(one, state_text(download))
        return True

    def remove(self, one: str) -> None:
        """Take note that a download is no longer in the queue."""
        if one in self.waiting:
            self._fail(one, "cancelled: it is no longer in the queue")

    def _fail(self, one: str, reason: str) -> None:
        self.waiting.remove(one)
        self.failures[one] = reason
