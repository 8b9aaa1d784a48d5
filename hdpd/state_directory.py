"""The state directory: its lock, the identity key, and the UDP port of the last run.

Everything in it is secret (mode 0700): whoever reads the key can pose as this peer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

from hdpd.errors import StartError
from hdpd.identity.keys import KEY_BYTES, Identity

LOCK_NAME = "lock"
KEY_NAME = "identity.key"
PORT_NAME = "udp-port"


class StateDirectory:
    """An open, locked state directory; `close` gives it free.

    Raises:
        StartError: it cannot be used, or another hdpd uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(
                f"cannot use the state directory {path}: {error.strerror}; "
                "choose another with --state-dir"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StartError(
                f"another hdpd is running with the state directory {path}; "
                "stop it, or choose another directory with --state-dir"
            ) from None
        except OSError as error:
            os.close(self._lock)
            raise StartError(
                f"cannot lock the state directory {path}: {error.strerror}; "
                "choose one on a local file system with --state-dir"
            ) from None

    def close(self) -> None:
        os.close(self._lock)

    def identity(self) -> Identity:
        """The identity kept here; made at the first start.

        Raises:
            StartError: the key file is damaged or cannot be read or written.
        """
        path = self.path / KEY_NAME
        try:
            seed = path.read_bytes()
        except FileNotFoundError:
            seed = secrets.token_bytes(KEY_BYTES)
            self._write_new(path, seed)
        except OSError as error:
            raise StartError(f"cannot read the identity key {path}: {error.strerror}") from None
        if len(seed) != KEY_BYTES:
            raise StartError(
                f"the identity key {path} is damaged: it has {len(seed)} bytes, not {KEY_BYTES}; "
                "restore it from a backup, or move it away to become a new peer"
            )
        return Identity.from_seed(seed)

    @staticmethod
    def _write_new(path: Path, content: bytes) -> None:
        """Complete or not there at all, also after a power cut."""
        temporary = path.with_suffix(".new")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            temporary.rename(path)
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise StartError(f"cannot write the identity key {path}: {error.strerror}") from None

    def last_port(self) -> int | None:
        """The UDP port of the last run: known peers dial it, so a freely chosen one is kept."""
        try:
            port = int((self.path / PORT_NAME).read_text())
        except (OSError, ValueError):
            return None
        return port if 0 < port < 65536 else None

    def remember_port(self, port: int) -> None:
        with contextlib.suppress(OSError):  # only a convenience
            (self.path / PORT_NAME).write_text(f"{port}\n")
