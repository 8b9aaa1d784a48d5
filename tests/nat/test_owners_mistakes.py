"""Clocks that are wrong, and one key on two machines: the owners are told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.nat.conftest import needs_laboratory
from tests.nat.lan import Lan, Machine
from tests.nat.said import said
from tests.waiting import wait_for

pytestmark = [needs_laboratory, pytest.mark.root]
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
BROKER = ("--mqtt-server", "mqtt://192.168.1.20:1883")


@pytest.fixture
def lan() -> Iterator[Lan]:
    with Lan() as made:
        yield made


def two(lan: Lan, *flags: str) -> tuple[Machine, Machine]:
    one, two = lan.namespace("one"), lan.namespace("two")
    lan.cable(one, two, "eth0", ("192.168.1.10/24", "192.168.1.20/24"))
    lan.broker(two, 1883)
    return lan.machine(one, *BROKER, *flags), lan.machine(two, *BROKER, *flags)


@pytest.mark.skipif(not FAKETIME.exists(), reason="needs faketime (apt install faketime)")
def test_a_clock_that_is_a_day_off_is_told_to_both_owners(lan: Lan) -> None:
    first, second = two(lan, "--no-mdns")
    clock = lan.root / "clock"
    clock.write_text("-26h")
    second.environment |= {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    first.start()
    second.start()
    wait_for("the first one's doctor", lambda: "behind" in first.finding("clocks")[1])
    wait_for("the second one's doctor", lambda: "ahead of" in second.finding("clocks")[1])
    assert "the clock of" in first.log()
    for machine, other, side in ((first, second, "behind"), (second, first, "ahead of")):
        says = machine.fails("why", other.name)
        assert f"the clock of {other.name} is 26.0 hours {side} the clock here" in says
        assert "timedatectl" in says
    clock.write_text("+0")
    wait_for("the two to be connected", first.sessions, within=30)
    for machine, other in ((first, second), (second, first)):
        wait_for("doctor to be content", partial(has_no_clocks, machine))
        assert "clock" not in said(machine, other.name).all


def has_no_clocks(machine: Machine) -> bool:
    return "clocks" not in said(machine).doctor


def told_of_twin(machine: Machine) -> bool:
    return machine.finding("identity")[0] == "failed"


@pytest.mark.parametrize("flags", [("--no-mdns",), ()])
def test_one_key_on_two_machines_is_told_to_both_owners(lan: Lan, flags: tuple[str, ...]) -> None:
    """By a broker, and by mDNS."""
    first, second = two(lan, *flags)
    first.start()
    first.stop()
    shutil.copy(first.state / "identity.key", second.state / "identity.key")
    second.start()
    assert second.finding("identity") == ("", "")
    first.start()
    for machine in (first, second):
        wait_for("doctor to say so", partial(told_of_twin, machine), within=60)
        assert "another machine" in machine.finding("identity")[1]
