"""The limits of upload and download: from the configuration, its schedule, and set at run time.

What is set at run time is kept in state.db and wins over the configuration until it is reset.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec
from msgspec.structs import asdict

from hdpd.config.limits import (
    KEYS,
    Limits,
    LimitsConfig,
    Span,
    Value,
    format_days,
    format_rate,
    format_time,
)
from hdpd.database import Database
from hdpd.rates.schedule import InForce, in_force, next_change
from hdpd.rates.status import LimitsChanged, LimitsStatus, SpanStatus
from hdpd.rates.throttle import Throttle

log = logging.getLogger(__name__)

Emit = Callable[[LimitsChanged], None]

UPLOAD_SLICE_S = 0.02
MIN_UPLOAD_SLICE = 512  # at 10 kB/s four peers with 88 small reads each all hear something in 20 s

DOWNLOAD_SLICE_S = 0.1
MIN_DOWNLOAD_SLICE = 4096  # what is asked for at once, with some 200 bytes around it

CLOCK_S = 60.0
"""How often the clock is looked at while there is a schedule: it may be set, or sleep."""

MIN_WAIT_S = 1.0  # in the hour that autumn repeats a change may seem to be in the past

_SETTING = "limits"  # in the table of settings: a JSON object of what was set at run time


class TransferLimits:
    """Keeps both throttles at the rates that hold at the moment; made in the event loop."""

    def __init__(
        self,
        database: Database,
        config: LimitsConfig,
        emit: Emit,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.upload = Throttle(UPLOAD_SLICE_S, MIN_UPLOAD_SLICE)
        self.download = Throttle(DOWNLOAD_SLICE_S, MIN_DOWNLOAD_SLICE)
        self._database = database
        self._config = config
        self._emit = emit
        self._clock = clock
        self._set: dict[str, Value] = {}
        self._in_force = in_force(LimitsConfig(), {}, self._local_time())
        self._timer: asyncio.TimerHandle | None = None
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Takes up what was set before."""
        row = await self._database.read(
            lambda t: t.one("SELECT value FROM setting WHERE key = ?", (_SETTING,))
        )
        if row is not None:
            stored = msgspec.json.decode(row[0], type=dict[str, int | bool | None])
            self._set = {key: value for key, value in stored.items() if key in KEYS}
        self._apply()

    def close(self) -> None:
        """Ends the timers; what waits for its part waits for ever."""
        if self._timer is not None:
            self._timer.cancel()
        self.upload.close()
        self.download.close()

    async def configure(self, config: LimitsConfig) -> None:
        """Takes over what a new configuration says; what was set at run time stays."""
        self._config = config
        self._apply()
        self._tell()

    async def set(self, changes: Mapping[str, Value], *, reset: bool) -> None:
        """Sets some of the limits from now on, over restarts; with `reset` what was set before is
        forgotten first.
        """
        async with self._changing:
            new = {**({} if reset else self._set), **changes}
            encoded = msgspec.json.encode(new)
            await self._database.write(
                lambda t: t.execute(
                    "INSERT OR REPLACE INTO setting (key, value) VALUES (?, ?)", (_SETTING, encoded)
                )
            )
            self._set = new
        self._apply()
        self._tell()

    def status(self) -> LimitsStatus:
        """What holds at the moment, and why."""
        schedule = self._config.schedule
        change = next_change(schedule, self._local_time())
        return LimitsStatus(
            in_force=self._in_force.limits,
            reasons=self._in_force.reasons,
            set=dict(self._set),
            base=self._config.base,
            schedule=tuple(
                _span_status(span, number == self._in_force.span)
                for number, span in enumerate(schedule)
            ),
            next_change=change.timestamp() if change else None,
        )

    def _apply(self) -> None:
        """Lets the limits of this moment hold, until the clock says otherwise."""
        now = self._local_time()
        before, self._in_force = self._in_force, in_force(self._config, self._set, now)
        limits = self._in_force.limits
        if limits != before.limits:
            log.info("limits: %s", _described(self._in_force))
            self.upload.set_rates(limits.upload, limits.upload_per_peer, lan=limits.lan)
            self.download.set_rates(limits.download, limits.download_per_peer, lan=limits.lan)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (change := next_change(self._config.schedule, now)) is not None:
            wait = min(max(change.timestamp() - self._clock(), MIN_WAIT_S), CLOCK_S)
            self._timer = asyncio.get_running_loop().call_later(wait, self._look_at_clock)

    def _local_time(self) -> datetime:
        return datetime.fromtimestamp(self._clock())  # noqa: DTZ006 # what the clock on the wall says

    def _look_at_clock(self) -> None:
        before = self._in_force
        self._apply()
        if self._in_force != before:
            self._tell()

    def _tell(self) -> None:
        self._emit(LimitsChanged(self.status()))


def _span_status(span: Span, holds: bool) -> SpanStatus:
    return SpanStatus(
        days=format_days(span.days),
        begins=format_time(span.start),
        ends=format_time(span.end),
        limits=dict(span.changes),
        holds=holds,
    )


def _described(holding: InForce) -> str:
    limits: Limits = holding.limits
    rates = [
        f"{key.replace('_', ' ')} {format_rate(value)}"
        for key, value in asdict(limits).items()
        if key != "lan" and value is not None
    ]
    if not rates:
        return "none"
    return ", ".join([*rates, "also on the local network" if limits.lan else "but not on the LAN"])
