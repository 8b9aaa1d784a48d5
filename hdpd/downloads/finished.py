"""Which files below the download directory are finished downloads, and opening those."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from hdpd.database import Database, Transaction
from hdpd.errors import PathNotFound
from hdpd.shares.opening import OpenedFile, Place, open_file
from hdpd.wire.paths import RemotePath


class FinishedFiles:
    """The finished files of the downloads that are in the list.

    The download directory often holds other things of its owner, which are nobody's business.
    """

    def __init__(self, database: Database, download_dir: Path) -> None:
        self._database = database
        self._root = str(download_dir)

    async def check(self, path: RemotePath) -> None:
        """Raises PathNotFound unless a finished download is at `path` below the directory."""
        if not await self._database.read(partial(_is_finished, text=path.text, root=self._root)):
            raise PathNotFound(f"no finished download is at {path.text!r}")

    def open_file(self, path: RemotePath, root: str | None = None) -> OpenedFile:
        """The file at `path` below the directory, or below another one that downloads were written
        to. Blocks; raises as `hdpd.shares.opening` does.
        """
        place = Place(os.fsencode(root or self._root), hidden=True, ignore=None)
        return open_file(place, path.raw)


def _is_finished(transaction: Transaction, text: str, root: str) -> bool:
    for number, path, into in transaction.execute(
        "SELECT number, path, into_path FROM download WHERE root=?", (root,)
    ):
        name = path.rpartition("/")[2]
        base = f"{into}/{name}" if into else name
        # A file that stands alone may have got another name, in the same directory.
        if text == base or text.rpartition("/")[0] == into:
            found = _has_file(transaction, number, "", text.rpartition("/")[2], base == text)
        elif text.startswith(f"{base}/"):
            found = _has_file(transaction, number, text[len(base) + 1 :], text.rpartition("/")[2])
        else:
            continue
        if found:
            return True
    return False


def _has_file(
    transaction: Transaction, download: int, path: str, name: str, own_name: bool = True
) -> bool:
    """Whether a finished file of a download is at `path` in it, or was saved there as `name`."""
    directory = path.rpartition("/")[0]
    rows = transaction.execute(
        "SELECT path, saved_as FROM download_file "
        "WHERE download=? AND state='done' AND directory=0 AND (path=? OR saved_as=?)",
        (download, path, name),
    )
    return any(
        (listed == path and saved_as is None and own_name)
        or (saved_as == name and listed.rpartition("/")[0] == directory)
        for listed, saved_as in rows
    )
