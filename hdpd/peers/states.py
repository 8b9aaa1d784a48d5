"""What stands between us and another peer, and what leads from one state to the next. Pure.

     WAKE: wanted               DUE               SESSION
    ┌──────► WAITING ◄─────────────────► DIALLING ────────► CONNECTED ◄──────► REDIALLING
    │           │  ▲       FAIL             │                 │   ▲  WAKE: silent   │
    │  UNWANTED │  │ WAKE        UNWANTED   │            LOST │   │ SESSION         │ LOST
    │           ▼  │                        │                 │   │ UNWANTED: heard │
    └───────── IDLE ◄───────────────────────┴─────────────────┴───┼─────────────────┘
                ▲   SESSION: from IDLE and WAITING, too ──────────┘
                │ RELEASE                                    HOLD │ from CONNECTED, REDIALLING
                ├─────────────────────────────────────── HELD ◄───┘
                │ UNBLOCK
                └─────────────────────────────────────── BLOCKED ◄─── BLOCK: from every state

Sessions that end because the owner holds or blocks a peer are LOST there and change nothing. A
transition that is not in `TRANSITIONS` is a mistake of ours.

The words that clients see: IDLE, WAITING and HELD are `known`, DIALLING is `connecting`, CONNECTED
and REDIALLING are `connected`, BLOCKED is `blocked`; who is punched with is `connecting`, too.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Literal

from hdpd import machine

Word = Literal["known", "connecting", "connected", "blocked"]


class State(Enum):
    """Each with what ends it; none waits for nothing."""

    IDLE = auto()
    """News of the peer, of the network or of our topics; a session that the peer begins."""
    WAITING = auto()
    """The time of the next attempt, within fifteen minutes; likewise."""
    DIALLING = auto()
    """The end of the attempt, which has a time."""
    CONNECTED = auto()
    """The end of the last session, which notices silence."""
    REDIALLING = auto()
    """Nothing is heard: a session on another path, or the end of the silent one."""
    HELD = auto()
    """The owner hung up: ten minutes, or the owner."""
    BLOCKED = auto()
    """The owner."""


class Event(Enum):
    """What may happen between us and a peer."""

    WAKE = auto()
    """It is to be dialled, now or a little later."""
    DUE = auto()
    """An attempt begins."""
    FAIL = auto()
    """The attempt failed, or was killed; there will be another one."""
    UNWANTED = auto()
    """No attempt is wanted any more."""
    SESSION = auto()
    """A session stands, whoever began it; there may have been another one."""
    LOST = auto()
    """The last session has ended."""
    HOLD = auto()
    """The owner hangs up."""
    RELEASE = auto()
    BLOCK = auto()
    UNBLOCK = auto()


_S, _E = State, Event

TRANSITIONS: dict[tuple[State, Event], State] = {
    (_S.IDLE, _E.WAKE): _S.WAITING,
    (_S.IDLE, _E.SESSION): _S.CONNECTED,
    (_S.WAITING, _E.WAKE): _S.WAITING,
    (_S.WAITING, _E.DUE): _S.DIALLING,
    (_S.WAITING, _E.UNWANTED): _S.IDLE,
    (_S.WAITING, _E.SESSION): _S.CONNECTED,
    (_S.DIALLING, _E.FAIL): _S.WAITING,
    (_S.DIALLING, _E.UNWANTED): _S.IDLE,
    (_S.DIALLING, _E.SESSION): _S.CONNECTED,
    (_S.CONNECTED, _E.WAKE): _S.REDIALLING,
    (_S.CONNECTED, _E.SESSION): _S.CONNECTED,
    (_S.CONNECTED, _E.LOST): _S.IDLE,
    (_S.CONNECTED, _E.HOLD): _S.HELD,
    (_S.REDIALLING, _E.WAKE): _S.REDIALLING,
    (_S.REDIALLING, _E.DUE): _S.REDIALLING,
    (_S.REDIALLING, _E.FAIL): _S.REDIALLING,
    (_S.REDIALLING, _E.UNWANTED): _S.CONNECTED,
    (_S.REDIALLING, _E.SESSION): _S.CONNECTED,
    (_S.REDIALLING, _E.LOST): _S.IDLE,
    (_S.REDIALLING, _E.HOLD): _S.HELD,
    (_S.HELD, _E.LOST): _S.HELD,
    (_S.HELD, _E.RELEASE): _S.IDLE,
    (_S.BLOCKED, _E.LOST): _S.BLOCKED,
    (_S.BLOCKED, _E.UNBLOCK): _S.IDLE,
    **{(state, _E.BLOCK): _S.BLOCKED for state in _S},
}

REFUSED = frozenset({_S.HELD, _S.BLOCKED})
"""Neither dialled nor let in."""

WORDS: dict[State, Word] = {
    _S.IDLE: "known",
    _S.WAITING: "known",
    _S.DIALLING: "connecting",
    _S.CONNECTED: "connected",
    _S.REDIALLING: "connected",
    _S.HELD: "known",
    _S.BLOCKED: "blocked",
}


def after(state: State, event: Event) -> State:
    """The state after `event`.

    Raises:
        machine.WrongTransition: that is not in the table.
    """
    return machine.after(TRANSITIONS, "a peer", state, event)
