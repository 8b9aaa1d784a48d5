"""What becomes of a read that wants an upload slot. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

from hdpd.wire.messages import ResetCode


class Granted(Struct, frozen=True):
    """The read may send now."""

    read: int


@dataclass(frozen=True, slots=True)
class Queued:
    """The read's peer waits; 1 is the next in line. Not every waiting read hears every change.
    `eta` is a guess of the seconds until its turn.
    """

    read: int
    position: int
    eta: int = field(default=0, compare=False)


class Revoked(Struct, frozen=True):
    """The read is over, whether it waited or was being sent; `code` tells its peer why."""

    read: int
    code: ResetCode


Decision = Granted | Queued | Revoked
