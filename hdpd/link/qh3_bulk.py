"""Stream data from qh3 in bulk: no log call, copy and event object for each datagram.

qh3's connection wraps a native core whose stream data it hands on one event at a time, which costs
as much as decrypting them. `BulkCore` stands before that core once the handshake is over, keeps
back the stream data, and leaves all other events to qh3. It relies on private members of qh3;
tests/link/test_engine.py fails when they move.
"""

from __future__ import annotations

from typing import Any


class BulkCore:
    """A native core, except that stream data stays here, in the order of its coming."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self._chunks: dict[int, list[bytes]] = {}
        self._ended: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def next_event(self) -> tuple[Any, ...] | None:
        """The next event that is not stream data."""
        current, chunks = -1, []
        for event in iter(self._core.next_event, None):
            if event[0] != "stream_data":
                return event  # type: ignore[no-any-return]
            _, stream_id, data, end = event
            if stream_id != current:
                current, chunks = stream_id, self._chunks.setdefault(stream_id, [])
            chunks.append(data)
            if end:
                self._ended.add(stream_id)
        return None

    def take_stream_data(self) -> list[tuple[int, list[bytes], bool]]:
        """What was kept back, by stream: its chunks, and whether the last is its end."""
        if not self._chunks:
            return []
        taken = [(key, chunks, key in self._ended) for key, chunks in self._chunks.items()]
        self._chunks, self._ended = {}, set()
        return taken
