"""Limits: how they are written, which hold when, and what is set at run time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.config import Limits, LimitsConfig, Span, load
from hdpd.config.limits import (
    DAY_MINUTES,
    MAX_RATE,
    MIN_RATE,
    format_days,
    format_rate,
    format_time,
    parse_days,
    parse_rate,
    parse_time,
)
from hdpd.config.toml import to_toml
from hdpd.database import Database
from hdpd.errors import ConfigError
from hdpd.rates.limits import TransferLimits
from hdpd.rates.schedule import current_span, in_force, next_change
from hdpd.rates.status import LimitsChanged, LimitsStatus, SpanStatus

RATES = {
    "2MB/s": 2_000_000,
    "500 kB/s": 500_000,
    "500KB/s": 500_000,
    "16Mbit/s": 2_000_000,
    "1.5 MiB/s": 1_572_864,
    "1GB/s": 10**9,
    " 10000B/s ": 10_000,
    "none": None,
}


@pytest.mark.parametrize("text", RATES)
def test_rates(text: str) -> None:
    assert parse_rate(text) == RATES[text]


@pytest.mark.parametrize(
    "text",
    ["", "2", "2MB", "2mb/s", "2Mb/s", "-2MB/s", "2e3MB/s", "nan", "None", "2MB/s/s", "٣MB/s"],
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate, such as 2MB/s"):
        parse_rate(text)


@pytest.mark.parametrize("value", ["1kB/s", "0B/s", 9999, 0, -1, "2000GB/s", 10**30])
def test_rates_out_of_bounds(value: str | int) -> None:
    with pytest.raises(ValueError, match="out of bounds: a rate is from 10kB/s"):
        parse_rate(value)


@given(st.none() | st.integers(MIN_RATE, MAX_RATE))
def test_a_rate_is_read_as_it_was_written(rate: int | None) -> None:
    assert parse_rate(format_rate(rate)) == rate


@given(st.integers(0, DAY_MINUTES), st.frozensets(st.integers(0, 6), min_size=1))
def test_times_and_days_are_read_as_they_were_written(minutes: int, days: frozenset[int]) -> None:
    assert parse_time(format_time(minutes)) == minutes
    assert parse_days(format_days(days)) == days


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_rate, parse_time, parse_days):
        with suppress(ValueError):
            parse(text)


def test_days_go_over_the_end_of_the_week() -> None:
    assert parse_days("fri-mon, WED") == {4, 5, 6, 0, 2}


# The configuration.

FILE = """
[limits]
upload = "2MB/s"
download_per_peer = 250000
lan = true
[[limits.schedule]]
days = "mon-fri"
from = "08:00"
to = "18:00"
upload = "none"
[[limits.schedule]]
from = "23:30"
to = "06:00"
download = "16Mbit/s"
lan = false
"""
WORK = Span(frozenset(range(5)), 8 * 60, 18 * 60, (("upload", None),))
NIGHT = Span(frozenset(range(7)), 23 * 60 + 30, 6 * 60, (("download", 2_000_000), ("lan", False)))
CONFIG = LimitsConfig(Limits(upload=2_000_000, download_per_peer=250_000, lan=True), (WORK, NIGHT))


def load_file(directory: Path, text: str) -> LimitsConfig:
    file = directory / "test.toml"
    file.write_text(text)
    return load(["--config", str(file)], {"HOME": str(directory)}).limits


def test_the_file(tmp_path: Path) -> None:
    assert load_file(tmp_path, FILE) == CONFIG
    assert load_file(tmp_path, "") == LimitsConfig()


def test_the_printed_configuration_has_them(tmp_path: Path) -> None:
    (tmp_path / "first.toml").write_text(FILE)
    printed = to_toml(load(["--config", str(tmp_path / "first.toml")], {"HOME": str(tmp_path)}))
    assert load_file(tmp_path, printed) == load_file(tmp_path, FILE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[limits]\nupload = '2'", "limits.upload: '2' is not a rate, such as 2MB/s"),
        ("[limits]\ndownload = 5", "limits.download: 5 is out of bounds"),
        ("[limits]\nupload = true", "limits.upload: expected"),
        ("[limits]\nup = 1", ":2: unknown key 'limits.up'; did you mean 'limits.upload'?"),
        ("[limits]\nlan = 'no'", "limits.lan: expected bool, got str"),
        ("[[limits.schedule]]\nfor = 'x'", ":2: unknown key 'limits.schedule.for'; did you mean"),
        ("[[limits.schedule]]\ndays = 'x'", "limits.schedule[0].days: 'x' are not days, such as"),
        ("[[limits.schedule]]\nfrom = '8'", "limits.schedule[0].from: '8' is not a time"),
        ("[[limits.schedule]]\nto = '25:00'", "limits.schedule[0].to: '25:00' is not a time"),
        ("[[limits.schedule]]\nto = '12:60'", "limits.schedule[0].to: '12:60' is not a time"),
        ("[[limits.schedule]]\nfrom = '24:00'", "write 00:00 of the next day"),
        ("[[limits.schedule]]\nto = '00:00'", "limits.schedule[0]: it begins and ends at 00:00"),
        (
            "[[limits.schedule]]\n[[limits.schedule]]\nupload = 'x'",
            "limits.schedule[1].upload: 'x'",
        ),
        ("[[limits.schedule]]\n" * 65, "limits.schedule: there are more than 64"),
    ],
)
def test_mistakes_name_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_file(tmp_path, text)
    assert caught.value.message.startswith(f"{tmp_path}/test.toml:")
    assert message in caught.value.message
    assert "\n" not in caught.value.message


# The schedule. 2026-06-01 is a Monday.


def moment(day: int, time: str) -> datetime:
    return datetime(2026, 6, day) + timedelta(minutes=parse_time(time))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("day", "time", "span"),
    [
        (1, "07:59", None),
        (1, "08:00", 0),
        (1, "17:59", 0),
        (1, "18:00", None),
        (6, "12:00", None),
        (6, "23:30", 1),
        (7, "05:59", 1),
        (7, "06:00", None),
        (8, "00:00", 1),
    ],
)
def test_when_a_span_holds(day: int, time: str, span: int | None) -> None:
    assert current_span(CONFIG.schedule, moment(day, time)) == span


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    friday_night = Span(frozenset({4}), 22 * 60, 8 * 60, ())
    assert current_span([friday_night], moment(5, "23:00")) == 0
    assert current_span([friday_night], moment(6, "07:00")) == 0
    assert current_span([friday_night], moment(5, "07:00")) is None
    assert current_span([friday_night], moment(6, "23:00")) is None


def test_the_first_span_that_matches_counts() -> None:
    always = Span(frozenset(range(7)), 0, DAY_MINUTES, (("upload", 10_000),))
    assert current_span([WORK, always], moment(1, "12:00")) == 0
    assert current_span([WORK, always], moment(1, "19:00")) == 1


@pytest.mark.parametrize(
    ("day", "time", "then"),
    [
        (1, "00:00", (1, "06:00")),
        (1, "08:00", (1, "18:00")),
        (1, "18:00", (1, "23:30")),
        (5, "23:30", (6, "06:00")),
        (6, "06:00", (6, "23:30")),
    ],
)
def test_when_the_schedule_changes_next(day: int, time: str, then: tuple[int, str]) -> None:
    assert next_change(CONFIG.schedule, moment(day, time)) == moment(*then)


def test_a_schedule_that_never_changes() -> None:
    assert next_change([], moment(1, "00:00")) is None
    always = Span(frozenset(range(7)), 0, DAY_MINUTES, ())
    assert next_change([always], moment(1, "12:00")) is None


def test_a_weekly_hour_comes_again() -> None:
    hour = Span(frozenset({0}), 8 * 60, 9 * 60, ())
    assert next_change([hour], moment(1, "09:00")) == moment(8, "08:00")


SPANS = st.builds(
    Span,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, DAY_MINUTES - 1),
    st.integers(0, DAY_MINUTES),
    st.just(()),
).filter(lambda span: span.start != span.end)


@given(st.lists(SPANS, max_size=4), st.integers(0, 7 * DAY_MINUTES))
def test_nothing_changes_before_the_next_change(schedule: list[Span], minute: int) -> None:
    now = moment(1, "00:00") + timedelta(minutes=minute)
    end = next_change(schedule, now)
    limit = end or now + timedelta(days=8)
    before = current_span(schedule, now)
    step = now
    while step < limit:
        assert current_span(schedule, step) == before
        step += timedelta(minutes=1 if limit - step < timedelta(hours=1) else 13)
    if end is not None:
        assert current_span(schedule, end) != before


def test_what_is_set_wins_over_the_schedule_and_that_over_the_base() -> None:
    held = in_force(CONFIG, {"download_per_peer": None}, moment(1, "12:00"))
    assert held.limits == Limits(None, None, None, None, lan=True)
    assert held.reasons == {
        "upload": "schedule",
        "download": "base",
        "upload_per_peer": "base",
        "download_per_peer": "set",
        "lan": "base",
    }
    held = in_force(CONFIG, {"upload": 50_000}, moment(1, "12:00"))
    assert (held.limits.upload, held.reasons["upload"]) == (50_000, "set")


# While hdpd runs.


class World:
    """Limits over a database, with a clock that is moved by hand."""

    def __init__(self, database: Database) -> None:
        self.now = moment(1, "12:00").timestamp()
        self.database = database
        self.events: list[LimitsStatus] = []

    def emit(self, event: LimitsChanged) -> None:
        self.events.append(event.limits)

    @asynccontextmanager
    async def limits(self, config: LimitsConfig) -> AsyncIterator[TransferLimits]:
        limits = TransferLimits(self.database, config, self.emit, lambda: self.now)
        await limits.start()
        try:
            yield limits
        finally:
            limits.close()


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[World]:
    database = Database(tmp_path / "state.db", "state")
    await database.open()
    try:
        yield World(database)
    finally:
        await database.close()


class Near:
    """A peer on the local network."""

    peer_id: Any = None
    on_lan = True


class Far(Near):
    on_lan = False


async def test_what_is_set_holds_over_a_restart_until_it_is_reset(tmp_path: Path) -> None:
    config = LimitsConfig(Limits(upload=20_000))
    async with opened(tmp_path) as world:
        async with world.limits(config) as limits:
            assert limits.upload.limits(Far())
            assert not limits.download.limits(Far())
            await limits.set({"upload": 30_000, "download": 40_000}, reset=False)
            await limits.set({"lan": True}, reset=False)
        async with world.limits(config) as limits:
            shown = limits.status()
            assert shown.set == {"upload": 30_000, "download": 40_000, "lan": True}
            assert shown.in_force.upload == 30_000
            assert limits.download.limits(Near())
            assert world.events[-1] == shown
            await limits.set({"download": None}, reset=True)
            shown = limits.status()
            assert shown.set == {"download": None}
            assert (shown.in_force.upload, shown.reasons["upload"]) == (20_000, "base")
            assert not limits.download.limits(Far())


async def test_the_local_network_is_exempt_by_default(tmp_path: Path) -> None:
    async with (
        opened(tmp_path) as world,
        world.limits(LimitsConfig(Limits(upload=20_000))) as limits,
    ):
        assert not limits.upload.limits(Near())
        await limits.set({"lan": True}, reset=False)
        assert limits.upload.limits(Near())


async def test_the_schedule_follows_the_clock(tmp_path: Path) -> None:
    async with opened(tmp_path) as world, world.limits(CONFIG) as limits:
        shown = limits.status()
        assert shown.in_force.upload is None
        assert [span.holds for span in shown.schedule] == [True, False]
        assert shown.schedule[0] == SpanStatus(
            days="mon,tue,wed,thu,fri",
            begins="08:00",
            ends="18:00",
            limits={"upload": None},
            holds=True,
        )
        assert shown.next_change == moment(1, "18:00").timestamp()
        assert shown.next_change
        world.now = shown.next_change
        limits._look_at_clock()
        shown = limits.status()
        assert (shown.in_force.upload, shown.reasons["upload"]) == (2_000_000, "base")
        assert world.events == [shown]
        limits._look_at_clock()
        assert len(world.events) == 1


async def test_nothing_looks_at_the_clock_without_a_schedule(tmp_path: Path) -> None:
    async with (
        opened(tmp_path) as world,
        world.limits(LimitsConfig(Limits(upload=20_000))) as limits,
    ):
        assert limits._timer is None
        await limits.configure(CONFIG)
        assert limits._timer is not None
        assert limits.status().base == world.events[-1].base
        await limits.configure(LimitsConfig())
        assert limits._timer is None
