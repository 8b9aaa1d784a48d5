"""One owner of what becomes of an event that cannot happen."""

from __future__ import annotations

import logging
from enum import Enum, auto

import pytest

from hdpd import machine
from hdpd.identity.keys import PeerId
from hdpd.log import record_fields
from hdpd.uploads.slots import Slots
from hdpd.uploads.states import Event, State


class Light(Enum):
    RED = auto()
    GREEN = auto()


class Hand(Enum):
    SWITCH = auto()
    BREAK = auto()


TABLE = {
    (Light.RED, Hand.SWITCH): Light.GREEN,
    (Light.GREEN, Hand.SWITCH): Light.RED,
    (Light.GREEN, Hand.BREAK): None,
}


def test_what_is_in_the_table_follows() -> None:
    assert machine.after(TABLE, "a light", Light.RED, Hand.SWITCH) is Light.GREEN
    assert machine.after(TABLE, "a light", Light.GREEN, Hand.BREAK) is None


def test_what_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(machine.WrongTransition, match=r"^BREAK happened to a light that is RED$"):
        machine.after(TABLE, "a light", Light.RED, Hand.BREAK)


def test_every_test_is_strict() -> None:
    with pytest.raises(machine.WrongTransition, match="so it is"):
        machine.refuse(machine.WrongTransition("so it is"), "one")


def test_in_service_it_is_logged_with_whom_it_happened_to(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine, "STRICT", False)
    machine.refuse(machine.WrongTransition("so it is"), "one", download="d1")
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "one: so it is"
    assert record_fields(record) == [("DOWNLOAD", "d1")]


def test_in_service_the_slots_go_on_as_if_it_had_not_happened(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slots, peer = Slots(1), PeerId(bytes(32))
    slots.ask(peer, 1, 10, 0.0)
    receiver = slots._receivers[peer]
    with pytest.raises(machine.WrongTransition):
        slots._happens(receiver, Event.LEAVE, 1.0)
    monkeypatch.setattr(machine, "STRICT", False)
    slots._happens(receiver, Event.LEAVE, 1.0)
    assert receiver.state is State.SERVED
    assert slots.holders == [peer]
    assert "LEAVE happened to a peer that is SERVED" in caplog.text
