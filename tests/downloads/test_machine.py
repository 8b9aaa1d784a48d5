"""Ten thousand lives of a download: it arrives equal to its source or not, and never hangs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hdpd.downloads.certainty import Certainty
from hdpd.downloads.ranges import FileRanges
from hdpd.downloads.states import TRANSITIONS, Event, State
from hdpd.errors import HdpdError
from tests.downloads import machine
from tests.downloads.machine import run

RUNS = 10_000
ENOUGH = 1500  # in which each of the mistakes below shows


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**60))
def test_any_life_ends_well(seed: int) -> None:
    run(seed)


def test_many_lives_end_well() -> None:
    ended = {run(seed) for seed in range(RUNS)}
    assert ended == {"arrived", "arrived in the end", "cancelled"}


def keep_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Certainty, "kept", lambda _self, ranges: ranges)


def hear_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is forgotten at once, as if the sync that told of it had not been asked."""

    def to_record(self: Certainty, ranges: FileRanges) -> int | None:
        self.trouble = None
        return ranges.prefix if ranges.prefix > ranges.recorded else None

    def fail(_self: Certainty, _error: HdpdError) -> bool:
        return False

    monkeypatch.setattr(Certainty, "to_record", to_record)
    monkeypatch.setattr(Certainty, "fail", fail)


def take_any_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "is_the_one", lambda *_: True)


def never_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TRANSITIONS, (State.HELD, Event.RELEASE))
    monkeypatch.delitem(TRANSITIONS, (State.HELD, Event.RESUME))


@pytest.mark.parametrize(
    "mistake", [keep_what_failed, hear_nothing, take_any_partial, never_release]
)
def test_a_mistake_would_show(
    monkeypatch: pytest.MonkeyPatch, mistake: Callable[[pytest.MonkeyPatch], None]
) -> None:
    mistake(monkeypatch)
    with pytest.raises(AssertionError, match=r"a wrong byte|waits for nothing"):
        list(map(run, range(ENOUGH)))
