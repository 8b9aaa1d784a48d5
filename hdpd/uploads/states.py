"""What a peer has of the upload slots, and what leads from one state to the next. Pure.

              QUEUE             GRANT               OVER
    OUTSIDE ────────► WAITING ─────────► SERVED ──────────► DRAINING ───┐
      ▲ ▲ ▲    LEAVE   │   ▲               │ ▲               │ │  ▲     │
      │ │ └────────────┘   │ FREE          │ │ GRANT   QUEUE │ │  │     │
      │ │                  │               │ │               ▼ │  │LEAVE│
      │ │                  └───────────────┼─┴────────── RETURNING      │
      │ └──────────────────────────────────┘ FREE                       │
      └─────────────────────────────────────────────────────────────────┘ FREE
                                               GONE: from every state to OUTSIDE

A transition that is not in `TRANSITIONS` is a mistake of ours.

Clients see SERVED, DRAINING and RETURNING as `active`, WAITING and RETURNING as `waiting`. The fast
lane is beside all that: a peer may have reads in it in every state.
"""

from __future__ import annotations

from enum import Enum, auto

from hdpd import machine


class State(Enum):
    """Each with what ends it; none waits for nothing."""

    OUTSIDE = auto()
    """No slot, and no place in the line. It is forgotten once it has no reads in the fast lane."""
    WAITING = auto()
    """Its turn, which comes as those before it have had theirs; or it wants nothing any more."""
    SERVED = auto()
    """Its turn is over when others wait, in time or bytes; or it asks for nothing for a while."""
    DRAINING = auto()
    """Its turn is over: the reads in flight end, for which they have some minutes."""
    RETURNING = auto()
    """Likewise, and it waits for its next turn."""


class Event(Enum):
    """What may happen to a peer."""

    QUEUE = auto()
    """A read of it has to wait."""
    LEAVE = auto()
    """The last of its reads that waited has ended."""
    GRANT = auto()
    """It is its turn."""
    OVER = auto()
    """Its turn is over, because others wait."""
    FREE = auto()
    """Its slot is free for others: nothing is in flight any more, or nobody reads it."""
    GONE = auto()
    """It is not connected any more, or the owner has cancelled it."""


_S, _E = State, Event

TRANSITIONS: dict[tuple[State, Event], State] = {
    (_S.OUTSIDE, _E.QUEUE): _S.WAITING,
    (_S.WAITING, _E.LEAVE): _S.OUTSIDE,
    (_S.WAITING, _E.GRANT): _S.SERVED,
    (_S.SERVED, _E.OVER): _S.DRAINING,
    (_S.SERVED, _E.FREE): _S.OUTSIDE,
    (_S.DRAINING, _E.QUEUE): _S.RETURNING,
    (_S.DRAINING, _E.FREE): _S.OUTSIDE,
    (_S.RETURNING, _E.LEAVE): _S.DRAINING,
    (_S.RETURNING, _E.GRANT): _S.SERVED,
    (_S.RETURNING, _E.FREE): _S.WAITING,
    **{(state, _E.GONE): _S.OUTSIDE for state in _S},
}

HOLDING = frozenset({_S.SERVED, _S.DRAINING, _S.RETURNING})
"""It has a slot."""

QUEUED = frozenset({_S.WAITING, _S.RETURNING})
"""It has a place in the line."""


def after(state: State, event: Event) -> State:
    """The state after `event`.

    Raises:
        machine.WrongTransition: that is not in the table.
    """
    return machine.after(TRANSITIONS, "a peer", state, event)
