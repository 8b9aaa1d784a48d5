"""Tells systemd how hdpd is doing (sd_notify(3)); without systemd every call does nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

import sdnotify

from hdpd.tasks import keep_running

# The manager reads at once; should it ever not, the event loop must not wait for it for long.
_SEND_TIMEOUT_S = 0.1
# Only for as long as the event loop turns: it is asked for again at a third of it.
_EXTENSION_S = 30.0


class Notifier:
    """The channel to the service manager that the environment names in `NOTIFY_SOCKET`.

    No call raises: a manager that went away is not hdpd's trouble.
    """

    def __init__(self) -> None:
        self._systemd: sdnotify.SystemdNotifier | None = None
        # sdnotify leaks a socket when there is nothing to connect to.
        if os.environ.get("NOTIFY_SOCKET"):
            self._systemd = sdnotify.SystemdNotifier()
            if self._systemd.socket is not None:
                self._systemd.socket.settimeout(_SEND_TIMEOUT_S)

    def ready(self, status: str) -> None:
        """Start-up is complete; `status` is one line for `systemctl status`."""
        self._notify("READY=1", f"STATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._notify(f"STATUS={_one_line(text)}")

    def reloading(self) -> None:
        """The configuration is being read again, until `ready` is called."""
        # In systemd's clock, so that it can tell this reload from an earlier one.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notify("RELOADING=1", f"MONOTONIC_USEC={now}")

    @contextlib.asynccontextmanager
    async def extending(self) -> AsyncIterator[None]:
        """Asks for more time to start, again and again, for as long as the block runs: bringing a
        large queue up to date may take minutes.
        """

        async def extend() -> None:
            while True:
                self._notify(f"EXTEND_TIMEOUT_USEC={int(_EXTENSION_S * 1e6)}")
                await asyncio.sleep(_EXTENSION_S / 3)

        task = keep_running(extend, "extend the start")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def stopping(self) -> None:
        """Shutdown has begun."""
        self._notify("STOPPING=1")

    async def run_watchdog(self) -> None:
        """Pings the watchdog at half of its interval for as long as the event loop turns.

        Runs until cancelled; returns at once when systemd watches no watchdog of this process.
        """
        interval = _watchdog_seconds()
        while interval:
            self._notify("WATCHDOG=1")
            await asyncio.sleep(interval / 2)

    def close(self) -> None:
        """Releases the socket; later calls do nothing."""
        if self._systemd is not None and self._systemd.socket is not None:
            self._systemd.socket.close()
        self._systemd = None

    def _notify(self, *assignments: str) -> None:
        if self._systemd is not None:
            # sdnotify encodes as Latin-1 and drops what does not fit; this way UTF-8 is sent.
            self._systemd.notify(
                "\n".join(assignments).encode("utf-8", "replace").decode("latin-1")
            )


def _one_line(text: str) -> str:
    # A line break would begin another assignment.
    return " ".join(text.splitlines())


def _watchdog_seconds() -> float | None:
    """The interval of the watchdog, when there is one and it is meant for this process."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1e6 if microseconds.isdecimal() else None
