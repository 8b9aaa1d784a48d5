"""The `[limits]` tables of the files become one `LimitsConfig`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from hdpd.config.kinds import Given, Tables, Toml
from hdpd.config.limits import (
    DAY_MINUTES,
    KEYS,
    MAX_SPANS,
    Limits,
    LimitsConfig,
    Span,
    Value,
    format_days,
    format_rate,
    format_time,
    parse_days,
    parse_rate,
    parse_time,
)
from hdpd.errors import ConfigError


class ScheduleSettings(msgspec.Struct, frozen=True):
    """One `[[limits.schedule]]` table."""

    days: str = "daily"
    start: str = msgspec.field(default="00:00", name="from")
    end: str = msgspec.field(default="24:00", name="to")
    upload: str | int | None = None
    download: str | int | None = None
    upload_per_peer: str | int | None = None
    download_per_peer: str | int | None = None
    lan: bool | None = None


class LimitSettings(msgspec.Struct, frozen=True):
    """The `[limits]` table: how fast is sent and received."""

    upload: str | int | None = None
    download: str | int | None = None
    upload_per_peer: str | int | None = None
    download_per_peer: str | int | None = None
    lan: bool | None = None
    schedule: list[ScheduleSettings] | None = None


class LimitTables(Tables[LimitSettings, LimitsConfig]):
    """The `[limits]` tables: each key, and the whole schedule, is from the last file with it."""

    toml = LimitSettings
    tables: Mapping[str, type[msgspec.Struct]] = {"": LimitSettings, ".schedule": ScheduleSettings}

    def read(self, given: Sequence[Given[LimitSettings]]) -> LimitsConfig:
        told: dict[str, tuple[str, str | int | bool]] = {}
        spans: list[Span] = []
        for each in given:
            told |= {key: (each.where, value) for key, value in _told(each.value)}
        base = {key: _value(f"{where}.{key}", value) for key, (where, value) in told.items()}
        schedules = [each for each in given if each.value.schedule is not None]
        for each in schedules[-1:]:
            spans = _spans(f"{each.where}.schedule", each.value.schedule or [])
        return LimitsConfig(Limits(**base), tuple(spans))  # type: ignore[arg-type]  # by its keys

    def show_tables(self, value: LimitsConfig) -> Iterator[tuple[str, Mapping[str, Toml]]]:
        yield "[limits]", {key: _shown(getattr(value.base, key)) for key in KEYS}
        for span in value.schedule:
            times = {
                "days": format_days(span.days),
                "from": format_time(span.start),
                "to": format_time(span.end),
            }
            yield "[[limits.schedule]]", {**times, **{k: _shown(v) for k, v in span.changes}}


def _spans(where: str, tables: list[ScheduleSettings]) -> list[Span]:
    if len(tables) > MAX_SPANS:
        raise ConfigError(f"{where}: there are more than {MAX_SPANS} of it")
    return [_span(f"{where}[{n}]", table) for n, table in enumerate(tables)]


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
    changes = ((key, _value(f"{where}.{key}", value)) for key, value in _told(table))
    return Span(days, start, end, tuple(changes))


def _told(
    table: LimitSettings | ScheduleSettings,
) -> Iterator[tuple[str, str | int | bool]]:
    """What the table says, by its keys."""
    for key in KEYS:
        if (value := getattr(table, key)) is not None:
            yield key, value


def _value(where: str, value: str | int | bool) -> Value:
    if isinstance(value, bool):
        return value
    try:
        return parse_rate(value)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _shown(value: Value) -> str | bool:
    return value if isinstance(value, bool) else format_rate(value)
