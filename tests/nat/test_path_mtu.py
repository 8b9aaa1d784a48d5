"""Paths that carry less, or more, than the interfaces at their ends say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.nat.conftest import needs_laboratory
from tests.nat.lab import Namespace, program_path
from tests.nat.lan import Lan, Machine
from tests.nat.said import said
from tests.waiting import wait_for

pytestmark = [
    needs_laboratory,
    pytest.mark.root,
    pytest.mark.skipif(program_path("ethtool") is None, reason="needs ethtool"),
]
ENGINES = ("qh3", "aioquic")
FILE_BYTES = 4_000_000


@pytest.fixture
def lan() -> Iterator[Lan]:
    with Lan() as made:
        yield made


class Bridged:
    """Two machines of one subnet, and a bridge between them that drops what is too large."""

    def __init__(self, lan: Lan, mtu: int = 1500) -> None:
        self.one, self.two = lan.namespace("one"), lan.namespace("two")
        self.middle = lan.namespace("middle")
        for number, machine in enumerate((self.one, self.two), start=1):
            lan.wire(machine, "eth0", self.middle, f"p{number}")
            machine.ip(f"link set eth0 mtu {mtu}")
            self.middle.ip(f"link set p{number} mtu {mtu}")
            machine.ip(f"addr add 10.2.0.{number}/24 dev eth0")
        self.middle.ip("link add br0 type bridge")
        for port in ("p1", "p2"):
            self.middle.ip(f"link set {port} master br0")
        self.middle.ip("link set br0 up")
        for machine, devices in (
            (self.one, "eth0"),
            (self.two, "eth0"),
            (self.middle, "p1 p2 br0"),
        ):
            for device in devices.split():
                _without_offloads(machine, device)

    def carries(self, size: int) -> None:
        """What is larger is lost without a word."""
        self.middle.nft(f"""
            table bridge narrow {{
                chain forward {{
                    type filter hook forward priority 0
                    ip length > {size} counter drop
                    ip6 length > {size - 40} counter drop
                }}
            }}
        """)


def _without_offloads(machine: Namespace, device: str) -> None:
    """Batches of datagrams would count as one large packet."""
    off = [part for name in ("gso", "tso", "gro") for part in (name, "off")]
    machine.run("ethtool", "-K", device, *off, "tx-udp-segmentation", "off", check=False)


def pair(lan: Lan, way: Bridged, engine: str) -> tuple[Machine, Machine]:
    first = lan.machine(way.one, "--quic-engine", engine)
    (first.share / "file.bin").write_bytes(bytes(FILE_BYTES))
    second = lan.machine(way.two, "--quic-engine", engine)
    first.start()
    second.start()
    wait_for("the two to be connected", second.sessions)
    return first, second


def fetch(second: Machine) -> None:
    name = second.sessions()[0]["name"]
    second.rpc("downloads.add", peer=name, path="media/file.bin")


def is_done(machine: Machine) -> bool:
    return all(each["state"] == "done" for each in machine.rpc("downloads.list")["downloads"])


def assert_content(first: Machine, second: Machine) -> None:
    """What is said of a path that is narrow: that all is well."""
    for machine, other in ((first, second), (second, first)):
        says = said(machine, other.name)
        assert (says.why, says.doctor) == (f"{other.name} is on the same network", {})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("carried", [1420, 1280])
def test_a_tunnel_that_carries_less_than_the_interfaces_say(
    lan: Lan, engine: str, carried: int
) -> None:
    way = Bridged(lan)
    way.carries(carried)
    first, second = pair(lan, way, engine)
    fetch(second)
    wait_for("the file", lambda: is_done(second), within=60)
    assert_content(first, second)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_path_that_becomes_narrow_while_data_is_sent(lan: Lan, engine: str) -> None:
    way = Bridged(lan)
    first, second = pair(lan, way, engine)
    fetch(second)
    wait_for("the file", lambda: is_done(second), within=60)
    way.carries(1420)
    (first.share / "file.bin").write_bytes(bytes(reversed(range(256))) * (FILE_BYTES // 256))
    name = second.sessions()[0]["name"]
    second.rpc("downloads.add", peer=name, path="media/file.bin", to="again")
    wait_for("the file", lambda: is_done(second), within=90)
    assert_content(first, second)


def test_jumbo_frames_are_used_where_all_between_carries_them(lan: Lan) -> None:
    way = Bridged(lan, mtu=9000)
    first, _ = pair(lan, way, "aioquic")
    wait_for("large datagrams", lambda: "are 8972 bytes" in first.log())
