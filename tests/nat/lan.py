"""Machines on cables of their own, without an internet: for what a router is not needed for."""

from __future__ import annotations

import sys
from typing import Any, Self

from tests.e2e.harness import Daemon
from tests.nat.lab import READY_S, Internet, Namespace
from tests.waiting import wait_for


class Machine(Daemon):
    """An hdpd in a namespace; `--port 0`, no broker and no STUN unless told."""

    def __init__(self, lan: Lan, namespace: Namespace, flags: tuple[str, ...]) -> None:
        super().__init__(lan.root, f"d-{namespace.label}", flags)
        self.namespace = namespace

    @property
    def command(self) -> list[str]:
        return self.namespace.command(
            *(sys.executable, "-m", self.module),
            *("--state-dir", str(self.state), "--share-dir", f"media={self.share}"),
            *("--download-dir", str(self.downloads), "--control", f"unix:{self.socket}"),
            *("--stun-server", "none", "--no-port-mapping", "--log-level", "debug"),
            *("--topic", "lan"),
            *(() if "--mqtt-server" in self.flags else ("--mqtt-server", "none")),
            *(() if "--port" in self.flags else ("--port", "0")),
            *self.flags,
        )

    def start(self) -> Self:
        """Starts it and waits as long as in the laboratory of homes."""
        self.launch()
        wait_for(f"{self.label} to be ready", self._is_ready, within=READY_S, poll=0.05)
        return self

    def finding(self, check: str) -> tuple[str, str]:
        """The state and the text that `hdpctl doctor` has for it; empty when it says nothing."""
        found = self.rpc("daemon.doctor")["findings"]
        fitting = (each for each in found if each["check"].startswith(check))
        return next(((each["state"], each["text"]) for each in fitting), ("", ""))

    def sessions(self) -> list[dict[str, Any]]:
        peers: list[dict[str, Any]] = self.rpc("peers.list")["peers"]
        return [each for each in peers if each["state"] == "connected"]


class Lan(Internet):
    """The laboratory without its core's services."""

    machines: list[Machine]

    def _start_services(self) -> None:
        self.machines = []

    def cable(
        self, first: Namespace, second: Namespace, name: str, addresses: tuple[str, str]
    ) -> None:
        """An interface of that name in both, with an address each."""
        self.wire(first, name, second, name)
        for namespace, address in zip((first, second), addresses, strict=True):
            if address:
                namespace.ip(f"addr add {address} dev {name}")

    def machine(self, namespace: Namespace, *flags: str) -> Machine:
        made = Machine(self, namespace, flags)
        self.machines.append(made)
        return made

    def broker(self, namespace: Namespace, port: int, *settings: str) -> None:
        """A broker for whoever reaches that machine."""
        config = self.root / f"mosquitto-{namespace.label}-{port}.conf"
        lines = [f"listener {port} 0.0.0.0", *settings, "user root"]
        if not any(line.startswith("allow_anonymous") for line in settings):
            lines.append("allow_anonymous true")
        config.write_text("\n".join(lines) + "\n")
        namespace.spawn("mosquitto", "-c", str(config))

    def close(self) -> None:
        for each in self.machines:
            if each.process is not None and each.process.poll() is None:
                each.kill()
            if not self.quiet and each.log_path.exists():
                print(f"--- {each.label}\n{each.log()[-4000:]}")
        super().close()


def containers(namespace: Namespace, count: int, first: int = 17) -> None:
    """Bridges as a container runtime makes them, each with one container's end on it."""
    for number in range(first, first + count):
        bridge = f"br-{number:012x}"
        namespace.ip(f"link add {bridge} type bridge")
        namespace.ip(f"addr add 172.{number}.0.1/16 dev {bridge}")
        namespace.ip(f"link set {bridge} up")
        namespace.ip(f"link add veth{number} type veth peer name c{number}")
        namespace.ip(f"link set veth{number} master {bridge} up")
        namespace.ip(f"link set c{number} up")
