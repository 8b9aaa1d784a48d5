"""A map with room for so much: what was put into it longest ago goes first. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Mapping[K, V]):
    """At most `limit` entries, the oldest first.

    Reading an entry makes it no younger; where what is used shall stay, put it again.
    """

    __slots__ = ("_entries", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[K, V] = OrderedDict()  # a dict finds its first key slowly

    def put(self, key: K, value: V) -> tuple[K, V] | None:
        """Makes it the youngest entry; returns the one that had to go for it, if any."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        return self.pop_oldest() if len(self._entries) > self._limit else None

    def pop(self, key: K) -> V | None:
        """Removes an entry; None: there is none."""
        return self._entries.pop(key, None)

    def pop_oldest(self) -> tuple[K, V]:
        """Removes the oldest entry; raises KeyError when there is none."""
        return self._entries.popitem(last=False)

    def clear(self) -> None:
        self._entries.clear()

    def __getitem__(self, key: K) -> V:
        return self._entries[key]

    def __contains__(self, key: object) -> bool:
        return key in self._entries  # the one of Mapping raises and catches a KeyError each time

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def __reversed__(self) -> Iterator[K]:
        """The keys, the youngest first."""
        return reversed(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
