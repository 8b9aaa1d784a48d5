"""Directories below the download directory, opened component by component and never by a link.

Whatever symbolic links lie in the download directory, nothing is written outside it: each
component is opened with O_NOFOLLOW relative to the one above (openat), so there is no moment at
which a swapped link could lead elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
from types import TracebackType
from typing import Self

from hdpd.downloads.filesystem import storage_error, sync_directory
from hdpd.downloads.site import Components, Site, check_marker
from hdpd.errors import DiskAway, DiskUnavailable, HdpdError, StorageError
from hdpd.wire.paths import text_from_bytes

MAX_OPEN = (
    64  # descriptors kept by one job; a batch has few directories, and the limit is often 1024
)

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Directories:
    """The directories that one job works in; use as a context manager, in one thread.

    `open` returns a borrowed descriptor that is good until the next `open`.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._open: dict[Components, int] = {}
        self._changed: dict[Components, None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def open(self, path: Components, *, create: bool = True) -> int:
        """The directory at `path` below the root.

        Raises:
            FileNotFoundError: it is not there and `create` is false.
            StorageError: a file or a link is in the way, or it cannot be opened or made.
            DiskUnavailable: its disk is full, read-only or away.
        """
        descriptor = self._open.get(path)
        if descriptor is None:
            descriptor = self._open_below(path, create) if path else self._open_root(create)
            self._open[path] = descriptor
            if path == self._site.anchor:
                self._check(descriptor)
        return descriptor

    def _check(self, descriptor: int) -> None:
        try:
            check_marker(descriptor, self._site)
        except OSError as error:
            raise storage_error(error, "look at", os.fsencode(self._site.path)) from None

    def changed(self, path: Components) -> None:
        """Notes that names in `path` changed, for `sync`."""
        self._changed[path] = None

    def sync(self) -> None:
        """Makes all noted names durable, one fsync for each directory."""
        for path in list(self._changed):
            sync_directory(self.open(path))
        self._changed.clear()

    def _open_root(self, create: bool) -> int:
        # The root itself is the owner's choice and may be reached by links.
        root = self._site.root
        try:
            if create and self._site.marker is None:
                root.mkdir(parents=True, exist_ok=True)
            return os.open(root, _FLAGS & ~os.O_NOFOLLOW)
        except FileNotFoundError:
            if not create:
                raise
            raise DiskAway(f"the download directory {str(root)!r} is not there") from None
        except OSError as error:
            known = storage_error(error, "use", os.fsencode(root))
            if isinstance(known, DiskUnavailable):
                raise known from None
            raise StorageError(
                f"cannot use the download directory {str(root)!r}: {error.strerror}"
            ) from None

    def _open_below(self, path: Components, create: bool) -> int:
        # Depth is bounded by hdpd.wire.paths.MAX_DEPTH, twice (`to` and the path in the share).
        parent = self.open(path[:-1], create=create)
        name = path[-1]
        try:
            try:
                descriptor = os.open(name, _FLAGS, dir_fd=parent)
            except FileNotFoundError:
                if not create:
                    raise
                if self._site.marker is not None and path == self._site.anchor:
                    raise DiskAway(f"{str(self._site.path)!r} is not there") from None
                self._make(parent, name)
                self.changed(path[:-1])
                descriptor = os.open(name, _FLAGS, dir_fd=parent)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _cannot_open(error, name) from None
        if len(self._open) >= MAX_OPEN:
            self._close_oldest()
        return descriptor

    def _make(self, parent: int, name: bytes) -> None:
        with contextlib.suppress(FileExistsError):  # made by the other thread meanwhile
            os.mkdir(name, dir_fd=parent)

    def _close_oldest(self) -> None:
        oldest = next(path for path in self._open if path)
        os.close(self._open.pop(oldest))


def _cannot_open(error: OSError, name: bytes) -> HdpdError:
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        return StorageError(
            f"{text_from_bytes(name)!r} in the download directory is a file or a symbolic link "
            "where a directory is needed; move it away and retry"
        )
    return storage_error(error, "open the directory", name)
