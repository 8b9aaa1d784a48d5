"""The error tree: each error has a stable code, the same on the wire between peers and in JSON-RPC.

What a caller does next decides the class: fix the input, wait, try again, or give up. Nothing
but these errors ever reaches a client or a peer; everything else is an `internal_error`. Pure.
Whole because it is one tree.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import ClassVar, Final

GONE: Final = frozenset(
    {
        *(errno.ENOTCONN, errno.ESTALE, errno.EREMOTEIO, errno.ENODEV, errno.ENXIO),
        *(errno.ESHUTDOWN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT),
    }
)
"""What the kernel answers on a file system whose server or device has gone; it may come back."""


class HdpdError(Exception):
    """Base of all errors that are meant for somebody: `code` for programs, the text for people."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or self.code).splitlines()[0])

    @property
    def message(self) -> str:
        return str(self.args[0])


# Start-up: the owner has to change something.


class StartError(HdpdError):
    """hdpd cannot start."""

    code = "cannot_start"


class ConfigError(StartError):
    """The configuration has a mistake."""

    code = "invalid_configuration"


# The caller's input is wrong: the same call can never work.


class InvalidParams(HdpdError):
    """A parameter is missing, unknown or has the wrong type."""

    code = "invalid_params"


class TopicInvalid(InvalidParams):
    """The topic name cannot be used."""

    code = "topic_invalid"


class PathInvalid(InvalidParams):
    """The path is not one that can name a shared file."""

    code = "path_invalid"


class InviteInvalid(InvalidParams):
    """The invite code is mistyped or incomplete."""

    code = "invite_invalid"


class InviteExpired(InvalidParams):
    """The invite code has expired; ask for a new one."""

    code = "invite_expired"


class PeerAmbiguous(InvalidParams):
    """More than one peer answers to that name."""

    code = "peer_ambiguous"


class ShareExists(InvalidParams):
    """A share of that name exists already."""

    code = "share_exists"


class LimitReached(HdpdError):
    """A limit is reached; remove something first."""

    code = "limit_reached"


# The thing is not there (any more).


class NotFound(HdpdError):
    """There is no such thing."""

    code = "not_found"


class PeerNotFound(NotFound):
    """No such peer is known."""

    code = "peer_not_found"


class PathNotFound(NotFound):
    """No such file or directory."""

    code = "path_not_found"


class ShareNotFound(NotFound):
    """No such share."""

    code = "share_not_found"


class TopicNotFound(NotFound):
    """That topic has not been joined."""

    code = "topic_not_found"


class DownloadNotFound(NotFound):
    """No such download."""

    code = "download_not_found"


class TokenNotFound(NotFound):
    """No such token."""

    code = "token_not_found"


class NotAFile(HdpdError):
    """A file is needed there and it is something else."""

    code = "not_a_file"


class NotADirectory(HdpdError):
    """A directory is needed there and it is something else."""

    code = "not_a_directory"


# Not allowed.


class Unauthorized(HdpdError):
    """A valid token is needed."""

    code = "unauthorized"


class Forbidden(HdpdError):
    """That is not allowed."""

    code = "forbidden"


class NoCommonTopic(Forbidden):
    """There is no topic in common with that peer any more."""

    code = "no_common_topic"


# Worth another try, now or later.


class PeerNotConnected(HdpdError):
    """The peer is not connected."""

    code = "peer_not_connected"


class ConnectionLost(PeerNotConnected):
    """The connection to the peer was lost."""

    code = "connection_lost"


class NotReachable(HdpdError):
    """No way to the peer was found."""

    code = "not_reachable"


class TimedOut(HdpdError):
    """There was no answer in time."""

    code = "timed_out"


class Busy(HdpdError):
    """Too much is going on at once; try again later."""

    code = "busy"


class SlotLost(Busy):
    """The upload slot was given to somebody else."""

    code = "slot_lost"


class QuotaReached(HdpdError):
    """The daily quota is used up; it goes on at midnight."""

    code = "quota_reached"


class Cancelled(HdpdError):
    """It was cancelled."""

    code = "cancelled"


class ShareAway(HdpdError):
    """The share's directory is not there at the moment."""

    code = "share_away"


# The file itself is the trouble.


class FileChanged(HdpdError):
    """The file changed meanwhile."""

    code = "file_changed"


class FileUnreadable(HdpdError):
    """The file cannot be read."""

    code = "file_unreadable"


class DiskUnavailable(HdpdError):
    """The disk is to be waited for."""

    code = "disk_unavailable"
    at: Path | None = None
    """The directory of ours on it, where that is known."""


class DiskFull(DiskUnavailable):
    """There is no room on the disk."""

    code = "disk_full"


class DiskSilent(DiskUnavailable):
    """The disk does not answer."""

    code = "disk_silent"


class DiskAway(DiskUnavailable):
    """The disk is not there."""

    code = "disk_away"


class DiskReadOnly(DiskUnavailable):
    """The disk is read-only."""

    code = "disk_read_only"


class StateUnavailable(DiskUnavailable):
    """The disk of the state directory takes nothing."""

    code = "state_unavailable"


class StorageError(HdpdError):
    """Writing to the disk failed."""

    code = "storage_error"


class DiskFailing(DiskUnavailable, StorageError):
    """The disk fails; perhaps it was cut off, and is back later."""

    code = "disk_failing"


# Somebody broke the protocol.


class ProtocolError(HdpdError):
    """The peer did not keep to the protocol."""

    code = "protocol_error"


class ClockWrong(ProtocolError):
    """What a peer signed has a date that is more than a day from ours. Only records raise it."""

    code = "clock_wrong"

    def __init__(self, message: str, peer_id: bytes, seconds: float) -> None:
        """`peer_id` is who signed it; its clock is `seconds` ahead of ours, or behind."""
        super().__init__(message)
        self.peer_id = peer_id
        self.seconds = seconds


class UnknownRequest(ProtocolError):
    """The request is not one that this version knows."""

    code = "unknown_request"


class AuthenticationFailed(ProtocolError):
    """The peer could not prove who it is."""

    code = "authentication_failed"


# What a peer may answer. A code that is not here (a later version's, or nonsense) becomes a
# RemoteError, so that a peer cannot choose what else an error does to us.


class RemoteError(HdpdError):
    """The peer refused the request."""

    code = "remote_error"


WIRE_ERRORS: dict[str, type[HdpdError]] = {
    error.code: error
    for error in (
        Busy,
        Cancelled,
        FileChanged,
        FileUnreadable,
        InvalidParams,
        NoCommonTopic,
        NotADirectory,
        NotAFile,
        PathInvalid,
        PathNotFound,
        ProtocolError,
        QuotaReached,
        ShareAway,
        SlotLost,
        TimedOut,
        UnknownRequest,
    )
}


def error_from_wire(code: str, message: str) -> HdpdError:
    """The error that a peer answered with; unknown codes become `RemoteError`."""
    found = WIRE_ERRORS.get(code)
    if found is None:
        return RemoteError(f"{code}: {message}")
    return found(message)
