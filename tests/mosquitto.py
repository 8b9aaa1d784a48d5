"""A real MQTT broker for tests: mosquitto, each on its own free port and stopped at the end."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hdpd.config import MqttServer

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
needs_mosquitto = pytest.mark.skipif(
    MOSQUITTO is None, reason="needs the broker mosquitto (apt install mosquitto)"
)
START_SECONDS = 10.0


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Mosquitto:
    """A broker that can be stopped and started again at the same port."""

    def __init__(self, directory: Path, *settings: str, scheme: str = "mqtt") -> None:
        self.port = free_port()
        self.server = MqttServer(scheme, "127.0.0.1", self.port, path="/mqtt" * (scheme[0] == "w"))
        self._config = directory / f"mosquitto-{self.port}.conf"
        lines = [f"listener {self.port} 127.0.0.1", *settings, "user root", "log_type none"]
        if scheme in {"ws", "wss"}:
            # This broker does not start with WebSocket listeners alone.
            lines += [f"listener {free_port()} 127.0.0.1"]
        if not any(line.startswith("allow_anonymous") for line in settings):
            lines.append("allow_anonymous true")
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it listens."""
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self._process.poll() is None, "mosquitto does not start"
                assert time.monotonic() < give_up, "mosquitto does not listen"
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running broker without passwords."""
    running = Mosquitto(tmp_path)
    running.start()
    yield running
    running.stop()
