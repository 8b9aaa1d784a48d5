"""The table of a download's states: it is complete, and nothing in it is a dead end."""

from __future__ import annotations

import pytest

from hdpd import machine
from hdpd.downloads.states import (
    STARTED,
    STORED,
    TAKEN_UP,
    TRANSITIONS,
    UNFINISHED,
    Event,
    State,
    after,
    allows,
)

ENDS_RUNNER = {Event.RETURN, Event.HOLD, Event.FINISH, Event.FAIL}


def reachable(state: State) -> set[State | None]:
    found: set[State | None] = {state}
    while True:
        more = {to for (at, _), to in TRANSITIONS.items() if at in found} - found
        if not more:
            return found
        found |= more


@pytest.mark.parametrize("state", State)
def test_each_state_can_end_and_is_reached(state: State) -> None:
    assert None in reachable(state)
    assert state in reachable(State.READY)
    assert State.DONE in reachable(state) or state in (State.REMOVING, State.REMOVED)


@pytest.mark.parametrize("state", State)
def test_a_runner_may_end_in_any_way_wherever_there_is_one(state: State) -> None:
    assert {e for e in ENDS_RUNNER if allows(state, e)} == (
        ENDS_RUNNER if state in STARTED else set()
    )
    for event in ENDS_RUNNER if state in STARTED else ():
        assert after(state, event) not in STARTED


@pytest.mark.parametrize("state", State)
def test_the_owner_can_always_remove_it_and_pause_what_is_unfinished(state: State) -> None:
    assert allows(state, Event.REMOVE) == (state not in (State.REMOVING, State.REMOVED))
    if state in UNFINISHED:
        assert allows(state, Event.PAUSE) or state in (State.PAUSED, State.PAUSING)
        assert allows(state, Event.RESUME) or state not in (
            State.PAUSED,
            State.PAUSING,
            State.HELD,
        )


@pytest.mark.parametrize("state", State)
def test_what_is_stored_is_taken_up_as_what_it_comes_to(state: State) -> None:
    again = TAKEN_UP[STORED[state]]
    assert again not in STARTED
    assert again in reachable(state)


def test_what_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(machine.WrongTransition, match="START happened to a download that is DONE"):
        after(State.DONE, Event.START)
