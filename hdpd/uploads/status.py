"""What the owner is shown of the uploads. Pure."""

from __future__ import annotations

from msgspec import Struct

from hdpd.identity.keys import PeerId
from hdpd.wire.paths import RemotePath


class ActiveUpload(Struct, frozen=True):
    """What the holder of a slot is being sent: how far that file is, its size, and bytes per second
    of all that this peer reads.
    """

    peer: PeerId
    peer_name: str
    path: RemotePath
    offset: int
    size: int
    rate: int


class WaitingUpload(Struct, frozen=True):
    """The oldest read of a peer in line; position 1 is next."""

    peer: PeerId
    peer_name: str
    path: RemotePath
    position: int


class UploadsStatus(Struct, frozen=True):
    """A line for each slot in use and for each waiting peer."""

    active: tuple[ActiveUpload, ...] = ()
    waiting: tuple[WaitingUpload, ...] = ()


class UploadsChanged(Struct, frozen=True):
    """Somebody is sent something else, or waits at another place."""

    uploads: UploadsStatus
