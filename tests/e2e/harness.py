"""A laboratory of real daemons and a real broker, each with its own directories and ports."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hdpctl.client import Client
from hdpctl.errors import ControlError
from hdpctl.server import Route, parse_server
from tests.waiting import wait_for

READY_S = 20.0
CONNECTED_S = 15.0


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """A real mosquitto on a free port of the loopback interface."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._log = directory / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "mosquitto is not installed"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-p", str(self.port)], stdout=log, stderr=log
            )
        wait_for("the broker to listen", self._listens)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


class Daemon:
    """One hdpd with its directories below `root`: state, share (offered as `media`), downloads."""

    module = "hdpd"  # that is started

    def __init__(self, root: Path, name: str, flags: tuple[str, ...]) -> None:
        self.label = name
        self.root = root / name
        self.state = self.root / "s"
        self.share = self.root / "media"
        self.downloads = self.root / "l"
        for directory in (self.state, self.share, self.downloads):
            directory.mkdir(parents=True)
        self.flags = flags
        self.socket = self.state / "sock"
        self.log_path = self.root / "log"
        self.process: subprocess.Popen[bytes] | None = None
        # Compiled modules are kept: compiling hdpd takes longer than all else of its start.
        foreign = ("HDP", "XDG_", "PYTHONDONTWRITEBYTECODE")
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(foreign)},
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }

    @property
    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", self.module),
            *("--state-dir", str(self.state)),
            *("--share-dir", f"media={self.share}"),
            *("--download-dir", str(self.downloads)),
            *("--control", f"unix:{self.socket}"),
            *(() if "--stun-server" in self.flags else ("--stun-server", "none")),
            *("--no-port-mapping", "--port", "0", "--log-level", "info"),
            *self.flags,
        ]

    def launch(self) -> None:
        """Starts it without waiting."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self.environment
            )

    def start(self) -> Daemon:
        """Starts it and waits until the control interface answers."""
        self.launch()
        wait_for(f"{self.label} to be ready", self._is_ready, within=READY_S, poll=0.05)
        return self

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.label} ended:\n{self.log()}"
        try:
            self.rpc("daemon.info")
        except ControlError:
            return False
        return True

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def stop(self, within: float = 10.0) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(within)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def end(self) -> None:
        """Ends it at once, or where coverage is measured so that it can write its figures."""
        if "COVERAGE_PROCESS_CONFIG" in os.environ:
            with suppress(subprocess.TimeoutExpired):
                self.stop()
        self.kill()

    def ctl_bytes(self, *arguments: str, check: bool = True, timeout: float = 120) -> bytes:
        """What `hdpctl` prints."""
        done = subprocess.run(
            [sys.executable, "-m", "hdpctl", "--server", f"unix:{self.socket}", *arguments],
            capture_output=True,
            env=self.environment,
            timeout=timeout,
            check=False,
        )
        if check:
            shown = " ".join(arguments)
            message = done.stderr.decode(errors="replace")
            assert done.returncode == 0, f"hdpctl {shown} exits {done.returncode}: {message}"
        return done.stdout

    def ctl(self, *arguments: str, check: bool = True, timeout: float = 120) -> str:
        output = self.ctl_bytes(*arguments, check=check, timeout=timeout)
        return output.decode(errors="surrogateescape")

    def fails(self, *arguments: str) -> str:
        """The error line of an hdpctl call that must fail."""
        done = subprocess.run(
            [sys.executable, "-m", "hdpctl", "--server", f"unix:{self.socket}", *arguments],
            capture_output=True,
            env=self.environment,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
        message = done.stderr.decode()
        assert "Traceback" not in message
        assert len(message.strip().splitlines()) == 1, message
        return message

    def rpc(self, method: str, **parameters: Any) -> Any:
        """What the method answers, asked for without the cost of another process."""
        client = Client(Route([parse_server(f"unix:{self.socket}")]), None)
        try:
            return client.call(method, parameters)
        finally:
            client.close()

    @property
    def name(self) -> str:
        name: str = self.rpc("daemon.info")["name"]
        return name

    @property
    def peer_id(self) -> str:
        peer_id: str = self.rpc("daemon.info")["peer_id"]
        return peer_id

    def connected(self) -> set[str]:
        """The ids of the connected peers."""
        peers = self.rpc("peers.list")["peers"]
        return {peer["id"] for peer in peers if peer["state"] == "connected"}

    def wait_connected(self, *others: Daemon, within: float = CONNECTED_S) -> None:
        wanted = {other.peer_id for other in others}
        wait_for(
            f"{self.label} to be connected with {[other.label for other in others]}",
            lambda: self.connected() == wanted,
            within=within,
        )

    def wait_scanned(self, within: float = 120.0) -> None:
        """A scanner has the processor when nobody else wants it."""
        wait_for(
            f"{self.label} to have scanned its shares",
            lambda: all(
                share["state"] == "ready" and share["searchable"]
                for share in self.rpc("shares.list")["shares"]
            ),
            within=within,
        )


class Lab:
    """Everything that one test starts; `close` ends what is still running."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._daemons: list[Daemon] = []
        self._brokers: list[Broker] = []

    def broker(self) -> Broker:
        broker = Broker(self.root)
        self._brokers.append(broker)
        broker.start()
        return broker

    def daemon(self, name: str, *flags: str) -> Daemon:
        """A daemon that is not started yet, by default without MQTT and mDNS."""
        chosen = list(flags)
        if "--mqtt-server" not in chosen:
            chosen += ["--mqtt-server", "none"]
        if "--mdns" in chosen:
            chosen.remove("--mdns")
        else:
            chosen.append("--no-mdns")
        daemon = Daemon(self.root, name, tuple(chosen))
        self._daemons.append(daemon)
        return daemon

    def pair(self, *flags: str) -> tuple[Daemon, Daemon]:
        """Two daemons that are started and meet by whatever the flags say."""
        first, second = self.daemon("a", *flags), self.daemon("b", *flags)
        return first, second

    def pair_by_invite(self, *flags: str) -> tuple[Daemon, Daemon]:
        """Two daemons connected by an invite code."""
        first, second = self.pair(*flags)
        first.start()
        second.start()
        second.ctl("connect", first.ctl("invite").strip())
        first.wait_connected(second)
        second.wait_connected(first)
        return first, second

    def close(self, *, show_logs: bool = True) -> None:
        for daemon in self._daemons:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.process.send_signal(signal.SIGCONT)
                daemon.end()
        for broker in self._brokers:
            broker.stop()
        for daemon in self._daemons:
            if show_logs and daemon.log_path.exists():  # shown when the test fails
                print(f"--- the log of {daemon.label}:\n{daemon.log()[-6000:]}")
        for daemon in self._daemons:
            assert not daemon.log_path.exists() or "Traceback" not in daemon.log(), daemon.log()
