"""Which limits hold at a moment, and why: set at run time, by the schedule, or as the base. Pure.

The schedule goes by the local clock on the wall, which is all it ever looks at: an hour that the
clock skips in spring is skipped here, and one that it repeats in autumn is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import asdict

from hdpd.config.limits import DAY_MINUTES, KEYS, Limits, LimitsConfig, Span, Value

Reason = Literal["base", "schedule", "set"]

WEEK_DAYS = 7


class InForce(Struct, frozen=True):
    """The limits that hold, with the reason for each key, and the span that the clock is in."""

    limits: Limits
    reasons: Mapping[str, Reason]
    span: int | None


def in_force(config: LimitsConfig, overrides: Mapping[str, Value], local: datetime) -> InForce:
    """What holds at `local`, a time without a zone: what was set at run time before the schedule,
    that before the base.
    """
    values = asdict(config.base)
    reasons: dict[str, Reason] = dict.fromkeys(KEYS, "base")
    span = current_span(config.schedule, local)
    if span is not None:
        changes = dict(config.schedule[span].changes)
        values |= changes
        reasons |= dict.fromkeys(changes, "schedule")
    values |= overrides
    reasons |= dict.fromkeys(overrides, "set")
    return InForce(Limits(**values), reasons, span)


def current_span(schedule: Sequence[Span], local: datetime) -> int | None:
    """The number of the first span that the local time is in."""
    today, minute = local.weekday(), local.hour * 60 + local.minute
    for number, span in enumerate(schedule):
        if _holds(span, today, minute):
            return number
    return None


def _holds(span: Span, today: int, minute: int) -> bool:
    if span.start < span.end:
        return today in span.days and span.start <= minute < span.end
    began_today = today in span.days and minute >= span.start
    return began_today or ((today - 1) % WEEK_DAYS in span.days and minute < span.end)


def next_change(schedule: Sequence[Span], local: datetime) -> datetime | None:
    """When, after `local`, another span begins to hold, or none any more; None: never."""
    now = current_span(schedule, local)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    edges = {edge % DAY_MINUTES for span in schedule for edge in (span.start, span.end)}
    # The week comes round after seven days, in the middle of a day as a rule.
    for day in range(WEEK_DAYS + 1):
        for minute in sorted(edges):
            moment = midnight + timedelta(days=day, minutes=minute)
            if moment > local and current_span(schedule, moment) != now:
                return moment
    return None
