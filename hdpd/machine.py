"""States as a table of transitions, and what becomes of an event that is not in it. Pure.

The tables stand where what they are about is: downloads, peers, and peers at the upload slots.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from hdpd.log import fields

log = logging.getLogger(__name__)

STRICT = False
"""Whether what cannot happen raises, as in tests; in service it is logged and changes nothing."""

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)
T = TypeVar("T")


class WrongTransition(Exception):
    """Something happened that cannot happen in that state: a mistake of ours."""


def after(table: Mapping[tuple[S, E], T], what: str, state: S, event: E) -> T:
    """What `table` has for `event` in `state`; `what` has the states, "a peer" for example.

    Raises:
        WrongTransition: it has nothing.
    """
    try:
        return table[state, event]
    except KeyError:
        raise WrongTransition(f"{event.name} happened to {what} that is {state.name}") from None


def refuse(
    error: WrongTransition, which: str, *, peer: str | tuple[str, ...] = (), download: str = ""
) -> None:
    """To be called where `error` was caught and nothing has changed. `which` is for people to read,
    `peer` and `download` are the fields of the record.

    Raises:
        WrongTransition: the error, where STRICT.
    """
    if STRICT:
        raise error
    about = fields(peer=peer, download=download)
    log.error("%s: %s", which, error, stack_info=True, extra=about)
