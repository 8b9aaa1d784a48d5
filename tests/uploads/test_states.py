"""The table of a peer's states at the upload slots: it is complete, and nothing is a dead end."""

from __future__ import annotations

import pytest

from hdpd import machine
from hdpd.identity.keys import PeerId
from hdpd.uploads.receiver import Receiver
from hdpd.uploads.states import HOLDING, QUEUED, TRANSITIONS, Event, State, after


def reachable(state: State) -> set[State]:
    found = {state}
    while more := {to for (at, _), to in TRANSITIONS.items() if at in found} - found:
        found |= more
    return found


@pytest.mark.parametrize("state", State)
def test_each_state_is_reached_and_can_end(state: State) -> None:
    assert reachable(State.OUTSIDE) == set(State)
    assert reachable(state) == set(State)
    assert after(state, Event.GONE) is State.OUTSIDE


@pytest.mark.parametrize(("state", "event"), TRANSITIONS)
def test_a_slot_and_a_place_come_and_go_by_their_events_only(state: State, event: Event) -> None:
    to = TRANSITIONS[state, event]
    if event is Event.GONE:
        return
    if event is Event.GRANT:
        assert to in HOLDING
    else:
        assert (to in HOLDING) == (state in HOLDING and event is not Event.FREE)
    if event is Event.QUEUE:
        assert to in QUEUED
    else:
        leaves = event in {Event.LEAVE, Event.GRANT}
        assert (to in QUEUED) == (state in QUEUED and not leaves)


def test_what_cannot_happen_changes_nothing() -> None:
    receiver = Receiver(PeerId(bytes(32)), "here")
    receiver.happens(Event.QUEUE, 1.0)
    receiver.waiting[1] = 5
    with pytest.raises(machine.WrongTransition, match="OVER happened to a peer that is WAITING"):
        receiver.happens(Event.OVER, 2.0)
    assert receiver.state is State.WAITING
    assert list(receiver.reads()) == [1]


def test_it_has_what_its_state_says() -> None:
    receiver = Receiver(PeerId(bytes(32)), "here")
    for event in (Event.QUEUE, Event.GRANT, Event.OVER, Event.QUEUE, Event.GRANT, Event.FREE):
        receiver.happens(event, 1.0)
        assert (receiver.lease is not None) == (receiver.state in HOLDING)
        if receiver.lease is not None:
            is_over = receiver.state is not State.SERVED
            assert (receiver.lease.draining_since is not None) == is_over
    assert receiver.is_forgotten
