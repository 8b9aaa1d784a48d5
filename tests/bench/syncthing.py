"""syncthing between two homes of its own on loopback, as a yardstick.

Neither looks for others, uses relays, reports or upgrades itself: they know each other's address.
"""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.measuring import running
from tests.e2e.harness import free_port
from tests.waiting import wait_for

KEY = "bench"
OPTIONS = {
    "globalAnnounceEnabled": "false",
    "localAnnounceEnabled": "false",
    "relaysEnabled": "false",
    "natEnabled": "false",
    "urAccepted": "-1",
    "crashReportingEnabled": "false",
    "autoUpgradeIntervalH": "0",
    "startBrowser": "false",
    "reconnectionIntervalS": "1",
    "stunKeepaliveStartS": "0",
    "releasesURL": "",
    "urURL": "",
    "crashReportingURL": "",
}
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Home:
    """One syncthing: its directory, the id that was made there, and its ports."""

    path: Path
    device: str
    port: int
    control: int

    @property
    def command(self) -> tuple[str, ...]:
        flags = ("--no-browser", "--no-upgrade", "--no-restart", "--no-default-folder")
        return ("syncthing", "serve", f"--home={self.path}", *flags)

    def configure(self, other: Home) -> None:
        options = "".join(f"<{name}>{value}</{name}>" for name, value in OPTIONS.items())
        (self.path / "config.xml").write_text(f"""
            <configuration version="36">
                {_device(self)} {_device(other)}
                <gui enabled="true" tls="false">
                    <address>127.0.0.1:{self.control}</address><apikey>{KEY}</apikey>
                </gui>
                <options>
                    <listenAddress>tcp://127.0.0.1:{self.port}</listenAddress> {options}
                </options>
            </configuration>
        """)

    def call(self, path: str, given: object = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.control}/rest/{path}",
            data=None if given is None else json.dumps(given).encode(),
            headers={"X-API-Key": KEY},
        )
        with _NO_PROXY.open(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def share(self, folder: str, path: Path, kind: str, other: Home) -> None:
        devices = [{"deviceID": home.device} for home in (self, other)]
        settings = {"id": folder, "path": str(path), "type": kind, "devices": devices}
        self.call("config/folders", {**settings, "fsWatcherEnabled": False, "rescanIntervalS": 0})

    def is_connected_to(self, other: Home) -> bool:
        try:
            connections = self.call("system/connections")["connections"]
        except urllib.error.URLError:  # it is starting
            return False
        return bool(connections.get(other.device, {}).get("connected"))

    def has(self, folder: str, files: int) -> bool:
        status = self.call(f"db/status?folder={folder}")
        assert not status["errors"], self.call(f"folder/errors?folder={folder}")
        return bool(status["inSyncFiles"] == files and status["state"] == "idle")


def _device(home: Home) -> str:
    address = f"tcp://127.0.0.1:{home.port}"
    return f'<device id="{home.device}"><address>{address}</address></device>'


def _make_home(path: Path) -> Home:
    subprocess.run(
        ["syncthing", "generate", f"--home={path}", "--no-default-folder", "--skip-port-probing"],
        check=True,
        capture_output=True,
    )
    told = subprocess.run(
        ["syncthing", "serve", f"--home={path}", "--device-id"],
        check=True,
        capture_output=True,
        text=True,
    )
    return Home(path, told.stdout.strip(), free_port(), free_port())


@contextmanager
def serving_with_syncthing(root: Path) -> Iterator[Callable[[str, Path], None]]:
    """Two that are connected; what is fetched becomes a folder at both, where one has nothing yet.
    So the hashing of the files is part of it.
    """
    near, far = _make_home(root / "near"), _make_home(root / "far")
    near.configure(far)
    far.configure(near)

    def fetch(name: str, target: Path) -> None:
        source, copy = root / "from" / name, target / name
        files = sum(path.is_file() for path in source.rglob("*"))
        copy.mkdir()
        folder = target.name
        far.share(folder, source, "sendonly", near)
        near.share(folder, copy, "receiveonly", far)
        wait_for("syncthing to have all", lambda: near.has(folder, files), within=900, poll=0.1)
        (source / ".stfolder").rmdir()

    with (
        running(*far.command, log=root / "far.log"),
        running(*near.command, log=root / "near.log"),
    ):
        wait_for("syncthing to be connected", lambda: near.is_connected_to(far), within=60)
        yield fetch
