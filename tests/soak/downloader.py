"""One of those who download, with the disks of its state and of its downloads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hdpctl.errors import ControlError, RpcError
from tests.e2e.harness import Daemon
from tests.soak.disks import Disk, is_gone
from tests.soak.source import Source

START_S = 90.0
SETTINGS = '[transfers]\nmin_free = "1MB"\n[limits]\ndownload = "{rate}"\nlan = true\n'
STUCK_S = 240.0
"""Without any progress while nothing stands in its way."""


class Downloader:
    """`wrong` is what must never be; `downloads` counts what came of them."""

    def __init__(self, daemon: Daemon, state: Disk, files: Disk, source: Source) -> None:
        self.daemon, self.state, self.files = daemon, state, files
        self._source = source
        self.label = f"{daemon.label} ({files.kind})"
        daemon.state, daemon.downloads = state.at / "state", files.at / "downloads"
        daemon.socket = daemon.root / "sock"
        for directory in (daemon.state, daemon.downloads):
            directory.mkdir()
        self._clock = daemon.root / "clock"
        self.shift_clock(0.0)
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}
        """The first text for each error that ended a download."""
        self._id: str | None = None
        self._seen: tuple[object, ...] = ()
        self._moved_at = time.monotonic()
        self._checked: dict[Path, tuple[int, int, int]] = {}

    def use_clock(self, library: Path) -> None:
        """Lets the clock be shifted."""
        self.daemon.environment |= {"LD_PRELOAD": str(library), "SOAK_CLOCK": str(self._clock)}

    def shift_clock(self, seconds: float) -> None:
        """Sets the wall clock of the daemon, from now on, so many seconds off."""
        mode = "r+b" if self._clock.exists() else "wb"
        with self._clock.open(mode) as file:
            file.write(struct.pack("d", seconds))

    @property
    def is_running(self) -> bool:
        process = self.daemon.process
        return process is not None and process.poll() is None

    def start(self) -> None:
        """Starts it when it does not run; it need not be ready yet."""
        if not self.is_running:
            self.daemon.launch()
            self.counts["starts"] += 1
            self._moved_at = time.monotonic()

    def kill(self) -> None:
        if self.is_running:
            self.daemon.kill()
        self.look_through()

    def disturbed(self) -> None:
        """Something stands in its way at the moment."""
        self._moved_at = time.monotonic()

    def heal(self) -> None:
        """Both disks are there, writable and with room, the clock is right, and it runs."""
        self.shift_clock(0.0)
        for disk in (self.state, self.files):
            if not disk.is_mounted():
                disk.mount()
            disk.clear()
            disk.remount("rw")
        self.start()

    def step(self, peer: str, path: str) -> None:
        """Asks what has become of its download, and begins the next one when that was the end."""
        if not self.is_running:
            process = self.daemon.process
            if process is not None and process.returncode not in (0, -9, None):
                self.counts[f"ended by itself ({process.returncode})"] += 1
            self.start()
            return
        try:
            self._step(peer, path)
        except (ControlError, RpcError) as error:
            self.errors[type(error).__name__ if not isinstance(error, RpcError) else "rpc"] += 1

    def _step(self, peer: str, path: str) -> None:
        downloads = self.daemon.rpc("downloads.list")["downloads"]
        self._note(downloads)
        if not downloads:
            added = self.daemon.rpc("downloads.add", peer=peer, path=path)
            self._id = added["id"]
            self.counts["downloads begun"] += 1
            return
        (download, *_) = downloads
        if download["state"] == "failed":
            self.counts["failed and tried again"] += 1
            error = download["error"] or {"code": "?", "message": ""}
            self.errors[error["code"]] += 1
            self.reasons.setdefault(error["code"], error["message"])
            self.daemon.rpc("downloads.retry", ids=[download["id"]])
        elif download["state"] == "done" and self.files.is_mounted():
            self._take(download)  # while somebody can look at it

    def _note(self, downloads: list[dict[str, Any]]) -> None:
        seen = tuple(
            (d["state"], d["done_files"], d["failed_files"], d["received_bytes"]) for d in downloads
        )
        if seen != self._seen:
            self._seen, self._moved_at = seen, time.monotonic()
        elif time.monotonic() - self._moved_at > STUCK_S:
            self.wrong.append(f"no progress for {STUCK_S:.0f} s: {downloads[0]}")
            self._moved_at = time.monotonic()

    def _take(self, download: dict[str, Any]) -> None:
        """Compares all that is called done, and clears the way for the next round."""
        one, wrong = download["id"], len(self.wrong)
        cursor = None
        while True:
            more: dict[str, Any] = {"cursor": cursor} if cursor else {}
            page = self.daemon.rpc("downloads.files", id=one, limit=1000, **more)
            for file in page["files"]:
                if file["type"] == "file" and file["state"] == "done":
                    self._compare(file)
            cursor = page["next_cursor"]
            if cursor is None:
                break
        self.counts["downloads done"] += 1
        self.counts["restarted files"] += sum(file["restarts"] for file in page["files"])
        if len(self.wrong) == wrong:
            self.daemon.rpc("downloads.clear", ids=[one])
            self._empty()

    def _compare(self, file: dict[str, Any]) -> None:
        saved = Path(file["saved_as"] or file["path"])
        path = self.daemon.downloads / "set" / saved
        if file["saved_as"] and "/" not in file["saved_as"]:
            path = self.daemon.downloads / "set" / Path(file["path"]).parent / saved
        try:
            digest = hashlib.sha256(path.read_bytes()).digest()
        except FileNotFoundError:
            self.wrong.append(f"called done and not there: {path}")
        except OSError as error:
            if not is_gone(error):
                raise
        else:
            self.counts["files delivered"] += 1
            self.counts["bytes delivered"] += file["size"] or 0
            if digest not in self._source.versions[file["path"]]:
                self.wrong.append(f"not any version of {file['path']}: {path}")

    def look_through(self) -> None:
        """Whatever has its own name has to be whole, at any moment; but a name without a file yet
        may be reserved.
        """
        everything = set().union(*self._source.versions.values())
        with contextlib.suppress(OSError):
            for path in self.daemon.downloads.rglob("*"):
                if path.name.startswith(".") or not path.is_file():  # hidden ones are hdpd's own
                    continue
                status = path.stat()
                stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
                if self._checked.get(path) == stamp:
                    continue
                if not status.st_size and _is_reserved(path):
                    continue
                if hashlib.sha256(path.read_bytes()).digest() not in everything:
                    size = f"{status.st_size:,} bytes"
                    self.wrong.append(f"not any version of anything: {path} ({size})")
                self._checked[path] = stamp

    def _empty(self) -> None:
        with contextlib.suppress(OSError):
            for path in sorted(self.daemon.downloads.rglob("*"), reverse=True):
                if path.is_dir():
                    path.rmdir()
                elif not path.name.startswith("."):
                    path.unlink()
        self._checked.clear()


def _is_reserved(path: Path) -> bool:
    """Whether a note beside an empty file says that hdpd made it, as it has to where a file system
    has neither links nor renames that spare what is there.
    """
    name = os.fsencode(path.name)
    return any(note.read_bytes() == name for note in path.parent.glob(".hdpd-*.name.part"))
