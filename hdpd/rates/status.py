"""What the owner is shown of the limits. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from hdpd.config.limits import Limits, Value
from hdpd.rates.schedule import Reason


class SpanStatus(Struct, frozen=True):
    """A time of the week, in words, the limits that are others then, and whether it is now."""

    days: str
    begins: str
    ends: str
    limits: Mapping[str, Value]
    holds: bool


class LimitsStatus(Struct, frozen=True):
    """The limits that hold, each with its reason, and where they come from. `next_change`: when the
    schedule changes something next, in seconds since the epoch.
    """

    in_force: Limits
    reasons: Mapping[str, Reason]
    set: Mapping[str, Value]
    base: Limits
    schedule: tuple[SpanStatus, ...]
    next_change: float | None


class LimitsChanged(Struct, frozen=True):
    """Other limits hold, or were set."""

    limits: LimitsStatus
