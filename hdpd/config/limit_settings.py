"""The `[limits]` tables of the files become one `LimitsConfig`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hdpd.config.file import ScheduleSettings
from hdpd.config.layers import Layers
from hdpd.config.limits import (
    DAY_MINUTES,
    KEYS,
    MAX_SPANS,
    Limits,
    LimitsConfig,
    Span,
    Value,
    parse_days,
    parse_rate,
    parse_time,
)
from hdpd.errors import ConfigError


def from_files(layers: Layers) -> LimitsConfig:
    """The limits, each from the last file that has it; raises ConfigError, naming file and key."""
    base: dict[str, Any] = {}
    for key in KEYS:
        if (found := layers.last(f"limits.{key}")) is not None:
            path, value = found
            base[key] = _value(f"{path}: limits.{key}", value)
    path, tables = layers.last("limits.schedule") or (Path(), [])
    if len(tables) > MAX_SPANS:
        raise ConfigError(f"{path}: limits.schedule: there are more than {MAX_SPANS} of it")
    spans = (_span(f"{path}: limits.schedule[{n}]", table) for n, table in enumerate(tables))
    return LimitsConfig(Limits(**base), tuple(spans))


def _span(where: str, table: ScheduleSettings) -> Span:
    """One `[[limits.schedule]]` table; `where` counts them from 0, as other messages do."""
    part = f"{where}.days"
    try:
        days = parse_days(table.days)
        part = f"{where}.from"
        start = parse_time(table.start)
        part = f"{where}.to"
        end = parse_time(table.end)
    except ValueError as error:
        raise ConfigError(f"{part}: {error}") from None
    if start == DAY_MINUTES:
        raise ConfigError(f"{where}.from: write 00:00 of the next day for 24:00")
    if start == end:
        raise ConfigError(
            f"{where}: it begins and ends at {table.start}; leave both out for all day"
        )
    told = ((key, getattr(table, key)) for key in KEYS)
    changes = ((key, _value(f"{where}.{key}", value)) for key, value in told if value is not None)
    return Span(days, start, end, tuple(changes))


def _value(where: str, value: str | int | bool) -> Value:
    if isinstance(value, bool):
        return value
    try:
        return parse_rate(value)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
