"""What of a file is certain to be on its disk, and which partial file is the one of a record. Pure.

Only a sync that succeeded makes bytes certain, and only if nothing failed since the bytes were
written: the kernel tells once of what it could not write, to whoever asks first. So the first
trouble is the last: nothing beyond the watermark counts any more, and the file is to be left.
"""

from __future__ import annotations

from msgspec import Struct

from hdpd.downloads.ranges import FileRanges
from hdpd.errors import HdpdError


class Certainty(Struct):
    """The durable watermark of one file, as it is recorded, and what may move it on."""

    watermark: int = 0
    trouble: HdpdError | None = None

    def fail(self, error: HdpdError) -> bool:
        """A write or a sync failed; whether that is new."""
        if self.trouble is not None:
            return False
        self.trouble = error
        return True

    def to_record(self, ranges: FileRanges) -> int | None:
        """What will be certain when a sync succeeds that begins now; None: nothing new.

        Raises:
            HdpdError: nothing will, as something failed.
        """
        if self.trouble is not None:
            raise self.trouble
        return ranges.prefix if ranges.prefix > ranges.recorded else None

    def synced(self, watermark: int) -> int:
        """The sync succeeded: how many bytes more are certain.

        Raises:
            HdpdError: none, as something failed meanwhile.
        """
        if self.trouble is not None:
            raise self.trouble
        more, self.watermark = watermark - self.watermark, watermark
        return more

    def undo(self, more: int) -> None:
        """It could not be recorded."""
        self.watermark -= more

    def kept(self, ranges: FileRanges) -> FileRanges | None:
        """What may be gone on with in memory, without a crash between; None: only the watermark."""
        return ranges if self.trouble is None else None


class Identity(Struct, frozen=True):
    """What tells a partial file from all others: `id` is random, and in the file's name too. A file
    system without attributes has None in place of it, and its inodes mean nothing.
    """

    id: bytes | None
    inode: int
    has_attributes: bool = True


def is_the_one(there: Identity, id_: bytes | None, inode: int | None) -> bool:
    """Whether the file that is there under the right name is that of a record.

    A record of an earlier version has no id; a copy has the id, and another inode.
    """
    if id_ is None or not there.has_attributes:
        return True
    return there.id == id_ and inode in (None, there.inode)
