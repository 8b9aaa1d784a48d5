"""What a download is doing, and what leads from one state to the next. Pure.

    taken up              START                 FINISH
    ───────► READY ─────────────────► RUNNING ──────────► DONE ──────────┐
      RETRY ▲  ▲ ▲ ▲    RETURN         │ │ │ │   FAIL                    │
            │  │ │ └──────────── STOPPING◄┘ │ └────────► FAILED ─────────┤
            │  │ │         STOP  ▲│PAUSE   │HOLD           │             │
            │  │ │ RELEASE RESUME│▼        ▼               │             │ REMOVE
            │  │ └──────────── HELD  PAUSING ◄── PAUSE     │             │
            │  │ RESUME         │       │ RETURN, HOLD     │             │
            │  └─────────── PAUSED ◄────┘                  │             ▼
            └──────────────────────────────────────────────┘          REMOVED ──► forgotten
                                                                         ▲  PURGED
          REMOVE: from RUNNING, STOPPING, PAUSING to REMOVING ── any end ┘
          REMOVE: from READY, PAUSED, HELD at once

FINISH and FAIL end STOPPING and PAUSING as they end RUNNING: what came is there. A transition that
is not in `TRANSITIONS` is a mistake of ours.

The words that clients see: READY is `queued`, or `waiting_for_peer`; RUNNING is `downloading`, or
`remote_queued`; PAUSING, PAUSED and HELD are `paused`, HELD with its reason.
"""

from __future__ import annotations

from enum import Enum, auto

from hdpd import machine


class State(Enum):
    """Each with what ends it; none waits for nothing."""

    READY = auto()
    """Its turn: its peer is connected, nothing before it runs, and its time has come."""
    RUNNING = auto()
    """Its runner returns, which every wait of it has an end for; or the owner or the queue."""
    STOPPING = auto()
    """Its runner, which was told to return, does; then it is READY."""
    PAUSING = auto()
    """Likewise; then it is PAUSED."""
    REMOVING = auto()
    """Likewise; then it is REMOVED."""
    PAUSED = auto()
    """Its owner."""
    HELD = auto()
    """What it waits for is looked at again and again: room, or its disk; or its owner."""
    DONE = auto()
    """Its owner, or its age."""
    FAILED = auto()
    """Its owner, or its age."""
    REMOVED = auto()
    """What is left of it is removed, again and again until its disk lets it."""


class Event(Enum):
    """What may happen to a download."""

    START = auto()
    """A runner begins."""
    STOP = auto()
    """Its turn is over: another one comes first, or its peer is gone."""
    PAUSE = auto()
    RESUME = auto()
    REMOVE = auto()
    """Its owner cancels it, or clears it from the list."""
    RETRY = auto()
    RETURN = auto()
    """Its runner ended before it did, and may begin again; its task was killed, for example."""
    HOLD = auto()
    """Its runner ended because of a disk, which is to be waited for."""
    RELEASE = auto()
    """What it waited for is there."""
    FINISH = auto()
    FAIL = auto()
    PURGED = auto()
    """Nothing is left of it."""


_S, _E = State, Event

TRANSITIONS: dict[tuple[State, Event], State | None] = {
    (_S.READY, _E.START): _S.RUNNING,
    (_S.READY, _E.PAUSE): _S.PAUSED,
    (_S.READY, _E.REMOVE): _S.REMOVED,
    (_S.RUNNING, _E.STOP): _S.STOPPING,
    (_S.RUNNING, _E.PAUSE): _S.PAUSING,
    (_S.RUNNING, _E.REMOVE): _S.REMOVING,
    (_S.RUNNING, _E.RETURN): _S.READY,
    (_S.RUNNING, _E.HOLD): _S.HELD,
    (_S.RUNNING, _E.FINISH): _S.DONE,
    (_S.RUNNING, _E.FAIL): _S.FAILED,
    (_S.STOPPING, _E.PAUSE): _S.PAUSING,
    (_S.STOPPING, _E.REMOVE): _S.REMOVING,
    (_S.STOPPING, _E.RETURN): _S.READY,
    (_S.STOPPING, _E.HOLD): _S.HELD,
    (_S.STOPPING, _E.FINISH): _S.DONE,
    (_S.STOPPING, _E.FAIL): _S.FAILED,
    (_S.PAUSING, _E.RESUME): _S.STOPPING,
    (_S.PAUSING, _E.REMOVE): _S.REMOVING,
    (_S.PAUSING, _E.RETURN): _S.PAUSED,
    (_S.PAUSING, _E.HOLD): _S.PAUSED,
    (_S.PAUSING, _E.FINISH): _S.DONE,
    (_S.PAUSING, _E.FAIL): _S.FAILED,
    (_S.REMOVING, _E.RETURN): _S.REMOVED,
    (_S.REMOVING, _E.HOLD): _S.REMOVED,
    (_S.REMOVING, _E.FINISH): _S.REMOVED,
    (_S.REMOVING, _E.FAIL): _S.REMOVED,
    (_S.PAUSED, _E.RESUME): _S.READY,
    (_S.PAUSED, _E.REMOVE): _S.REMOVED,
    (_S.HELD, _E.PAUSE): _S.PAUSED,
    (_S.HELD, _E.RESUME): _S.READY,
    (_S.HELD, _E.RELEASE): _S.READY,
    (_S.HELD, _E.REMOVE): _S.REMOVED,
    (_S.DONE, _E.REMOVE): _S.REMOVED,
    (_S.FAILED, _E.RETRY): _S.READY,
    (_S.FAILED, _E.REMOVE): _S.REMOVED,
    (_S.REMOVED, _E.PURGED): None,
}

STARTED = frozenset({_S.RUNNING, _S.STOPPING, _S.PAUSING, _S.REMOVING})
"""There is a runner."""

UNFINISHED = frozenset({_S.READY, _S.RUNNING, _S.STOPPING, _S.PAUSING, _S.PAUSED, _S.HELD})
"""It has a place in the queue."""

STORED = {
    _S.READY: "queued",
    _S.RUNNING: "queued",
    _S.STOPPING: "queued",
    _S.PAUSING: "paused",
    _S.REMOVING: "removed",
    _S.PAUSED: "paused",
    _S.HELD: "queued",
    _S.DONE: "done",
    _S.FAILED: "failed",
    _S.REMOVED: "removed",
}
"""What is left of a state over a restart."""

TAKEN_UP = {
    "queued": _S.READY,
    "paused": _S.PAUSED,
    "done": _S.DONE,
    "failed": _S.FAILED,
    "removed": _S.REMOVED,
}
"""The state in which a stored one is taken up."""


def allows(state: State, event: Event) -> bool:
    """Whether `event` may happen in `state`."""
    return (state, event) in TRANSITIONS


def after(state: State, event: Event) -> State | None:
    """The state after `event`; None: it is to be forgotten.

    Raises:
        machine.WrongTransition: that is not in the table.
    """
    return machine.after(TRANSITIONS, "a download", state, event)
