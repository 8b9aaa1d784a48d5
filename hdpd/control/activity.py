"""What happens to downloads and topics, told in the log: events on their way to the clients."""

from __future__ import annotations

import logging
from typing import Protocol

from hdpd.control.services import Json
from hdpd.log import MessageId, fields

log = logging.getLogger(__name__)


class Emit(Protocol):
    """Takes an event."""

    def __call__(self, type_: str, data: Json, /) -> None: ...


class Activity:
    """Logs events that an owner may look for later, and passes all of them on."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        # The last logged state of each download; as many as the download list holds.
        self._states: dict[object, object] = {}

    def emit(self, type_: str, data: Json) -> None:
        """Takes an event."""
        self._emit(type_, data)
        match type_:
            case "download.added":
                self._log_download(logging.INFO, "queued: %s", data)
            case "download.changed":
                self._download_changed(data)
            case "download.removed":
                self._states.pop(data["id"], None)
            case "topic.joined" | "topic.left":
                # At this level the name, too: see `fields`.
                log.debug("%s", type_, extra=fields(topic=str(data["name"])))

    def _download_changed(self, data: Json) -> None:
        state = data["state"]
        if self._states.get(data["id"]) == state:
            return
        self._states[data["id"]] = state
        if state == "done":
            self._log_download(logging.INFO, "downloaded: %s", data)
        elif state == "failed":
            self._log_download(logging.WARNING, "the download of %s failed", data)

    @staticmethod
    def _log_download(level: int, message: str, data: Json) -> None:
        problem = data.get("error")
        code = str(problem.get("code", "")) if isinstance(problem, dict) else ""
        if isinstance(problem, dict) and level >= logging.WARNING:
            message += f": {str(problem.get('message', '')).replace('%', '%%')}"
        log.log(
            level,
            message,
            data["path"],
            extra=fields(
                message_id=MessageId.DISK_FULL if code == "disk_full" else None,
                peer=(str(data["peer_name"]), str(data["peer"])),
                download=str(data["id"]),
                path=str(data["path"]),
                error_code=code,
            ),
        )
