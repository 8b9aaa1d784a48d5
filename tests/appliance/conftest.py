"""Two machines on one bridge, with the packages installed and a first configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.machine import Bridge, Machine, host, make_base, require_root

ROOT = Path(__file__).parent.parent.parent
WORK = ROOT / "build" / "appliance"
PACKAGES = sorted((ROOT / "dist").glob("*.deb"))


def install(machine: Machine, *packages: Path) -> str:
    """Installs packages with apt, as an owner would; no network is needed for it."""
    for package in packages:
        host("cp", str(package), str(machine.root / "root"))
    names = " ".join(f"/root/{package.name}" for package in packages)
    return machine.run(f"DEBIAN_FRONTEND=noninteractive apt-get install --yes {names}")


@pytest.fixture(scope="session")
def network() -> Iterator[Bridge]:
    require_root()
    make_base(WORK / "base")
    bridge = Bridge("hdpd-test")
    yield bridge
    bridge.close()


def booted(name: str, address: str, bridge: Bridge) -> Iterator[Machine]:
    machine = Machine(name, WORK / name, WORK / "base", bridge.name)
    try:
        machine.boot(address)
        assert len(PACKAGES) == 2, "make deb builds hdpd and hdpctl"
        install(machine, *PACKAGES)
        yield machine
    finally:
        machine.kill()


@pytest.fixture(scope="session")
def nas(network: Bridge) -> Iterator[Machine]:
    """The machine that the checks are about; it downloads."""
    yield from booted("hdpd-nas", "192.0.2.1", network)


@pytest.fixture(scope="session")
def friend(network: Bridge) -> Iterator[Machine]:
    """Another one on the same network, which shares."""
    for machine in booted("hdpd-friend", "192.0.2.2", network):
        machine.run(
            "mkdir -p /srv/films && head -c 80M /dev/urandom >/srv/films/long.bin && "
            "head -c 3M /dev/urandom >'/srv/films/Björk live.bin'"
        )
        machine.run(
            "cat >/etc/hdpd/hdpd.toml.d/own.toml <<'END'\n"
            'topics = ["party"]\n[[shares]]\npath = "/srv/films"\nEND\n'
            "systemctl restart hdpd"
        )
        yield machine
