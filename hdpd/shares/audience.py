"""What one listener has seen of the shares' listings, and what it has to be told. Pure.

A listener holds listings with the validators that they had. It is told once of each that is not
current any more, and then holds it no longer: whoever still wants it lists it again.
"""

from __future__ import annotations

from collections.abc import Mapping

from hdpd.recent import Recent
from hdpd.wire.messages import MAX_CHANGED_PATHS
from hdpd.wire.paths import RemotePath

MAX_HELD = 256  # listings of one listener: usually 50 KB, with paths of full length 1.1 MB
MAX_NEWS_BYTES = 32 * 1024  # of paths in one message, with room below the limit of 64 KiB

Validators = Mapping[RemotePath, bytes | None]


class Listener:
    """One that lists, and is told of changes."""

    __slots__ = ("_held", "_news", "_news_bytes")

    def __init__(self) -> None:
        self._held = Recent[RemotePath, bytes | None](MAX_HELD)
        self._news: dict[RemotePath, None] | None = {}  # None: more than can be named
        self._news_bytes = 0

    @property
    def held(self) -> frozenset[RemotePath]:
        """The directories whose changes it is told."""
        return frozenset(self._held)

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell."""
        return self._news is None or bool(self._news)

    def listed(self, path: RemotePath, validator: bytes | None) -> None:
        """It is given a listing; one without a validator holds until there is one."""
        if self._held.get(path, validator) != validator:
            self._tell(path)  # it may have an earlier page that is not current
        if (gone := self._held.put(path, validator)) is not None:
            self._tell(gone[0])  # nobody looks after that one any more, so it counts as changed

    def compare(self, now: Validators) -> None:
        """Finds what is not current any more; listings that `now` does not name are left alone."""
        for path, validator in now.items():
            if path in self._held and self._held[path] != validator:
                self._held.pop(path)
                self._tell(path)

    def take(self) -> tuple[RemotePath, ...] | None:
        """The directories to tell of, each once; None says that all may have changed."""
        news = self._news
        if news is None:
            self._held.clear()
        self._news, self._news_bytes = {}, 0
        return None if news is None else tuple(news)

    def untold(self) -> None:
        """What was taken did not arrive, or who knows."""
        self._news = None

    def _tell(self, path: RemotePath) -> None:
        if self._news is None or path in self._news:
            return
        self._news[path] = None
        self._news_bytes += len(path.raw)
        if len(self._news) > MAX_CHANGED_PATHS or self._news_bytes > MAX_NEWS_BYTES:
            self._news = None
