"""The logins of this user: tokens and trusted certificates, in `~/.config/hdpctl/logins.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hdpctl.errors import ControlError
from hdpctl.server import Server, parse_server

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


class Logins:
    """What is stored, by the address of hdpd. A file that can't be read counts as empty."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        home = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or "~", ".config")
        self._path = Path(home).expanduser() / "hdpctl" / "logins.json"
        self._stored: dict[str, dict[str, str]] = {}
        try:
            found = json.loads(self._path.read_bytes())
            self._stored = {str(k): dict(v) for k, v in found.items() if isinstance(v, dict)}
        except (OSError, ValueError, AttributeError):
            return

    def apply(self, server: Server) -> Server:
        """The server with what is known about it."""
        known = self._stored.get(str(server), {})
        token, fingerprint = known.get("token", ""), known.get("fingerprint", "")
        return replace(server, token=str(token), fingerprint=str(fingerprint))

    def servers(self) -> list[Server]:
        """All that one has logged in to, the last one first."""
        found = []
        for address in reversed(self._stored):
            try:
                found.append(self.apply(parse_server(address)))
            except ValueError:
                continue
        return found

    def save(self, server: Server) -> Path:
        """Stores the server's token and fingerprint, and returns where.

        Raises ControlError when that can't be written.
        """
        self._stored.pop(str(server), None)
        self._stored[str(server)] = {"token": server.token, "fingerprint": server.fingerprint}
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
            with os.fdopen(descriptor, "w") as file:
                json.dump(self._stored, file, indent=2)
            fresh.replace(self._path)
        except OSError as error:
            raise ControlError(f"cannot write {self._path}: {error.strerror}") from error
        return self._path
