"""Stream data from qh3 in bulk: no log call, copy and event object for each datagram.

qh3's connection wraps a native core whose stream data it hands on one event at a time, which costs
as much as decrypting them. `BulkCore` stands before that core once the handshake is over, keeps
back the stream data, and leaves all other events to qh3. It relies on private members of qh3;
tests/test_engine.py fails when they move.
"""

from __future__ import annotations

from typing import Any


class BulkCore:
    """A native core, except that stream data stays here, in the order of its coming."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self.stream_data: list[tuple[str, int, bytes, bool]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def next_event(self) -> tuple[Any, ...] | None:
        """The next event that is not stream data."""
        next_event, keep = self._core.next_event, self.stream_data.append
        while (event := next_event()) is not None and event[0] == "stream_data":
            keep(event)
        return event  # type: ignore[no-any-return]


def gather(stream_data: list[tuple[str, int, bytes, bool]]) -> dict[int, tuple[list[bytes], bool]]:
    """By stream: its chunks, and whether the last is its end. Empties `stream_data`."""
    gathered: dict[int, tuple[list[bytes], bool]] = {}
    chunks: list[bytes] = []
    current = None
    for _, stream_id, data, end in stream_data:
        if stream_id != current:
            current = stream_id
            chunks = gathered[stream_id][0] if stream_id in gathered else []
            gathered[stream_id] = chunks, False
        chunks.append(data)
        if end:
            gathered[stream_id] = chunks, True
    stream_data.clear()
    return gathered
