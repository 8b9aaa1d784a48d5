"""What a download that does not run waits for. Pure."""

from __future__ import annotations

from hdpd.downloads.status import WaitingFor, WaitKind

_KINDS: dict[str, WaitKind] = {
    "disk_full": "room",
    "disk_silent": "disk",
    "disk_away": "disk",
    "disk_failing": "disk",
    "disk_read_only": "disk",
    "state_unavailable": "state_disk",
    "share_away": "share",
    "quota_reached": "quota",
    "no_common_topic": "topic",
    "busy": "peer",
    "slot_lost": "peer",
    "timed_out": "peer",
}
"""By the error that ended its last try."""

_OTHERWISE: dict[str, WaitingFor] = {
    "queued": WaitingFor("turn", "its turn"),
    "waiting_for_peer": WaitingFor("peer", "its peer to be connected"),
    "remote_queued": WaitingFor("remote_queue", "its turn at the peer"),
    "paused": WaitingFor("owner", "somebody to resume it"),
}


def waiting_for(word: str, error: tuple[str, str] | None) -> WaitingFor | None:
    """By the state word and the error that is shown; None for what waits for nothing."""
    if word not in _OTHERWISE:
        return None
    if error is not None and error[0] in _KINDS:
        return WaitingFor(_KINDS[error[0]], error[1])
    return _OTHERWISE[word]
