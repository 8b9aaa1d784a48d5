"""When shares are scanned: scripts of events and the scans that follow."""

from __future__ import annotations

import math

import pytest

from hdpd.shares.scan_times import DAY_S, HOUR_S, LONGEST_REST_S, LONGEST_S, QUIET_S, Schedule


def watched(interval: float | None = None, unwatched: int = 0) -> Schedule:
    """A schedule at the time 0, after its first scan, of everything."""
    schedule = Schedule(interval, None, 0)
    assert schedule.due(0) == "all"
    schedule.begin("all")
    schedule.end("all", 0, 0, unwatched)
    return schedule


def test_the_first_scan_reads_all_unless_that_was_done_lately() -> None:
    assert Schedule(None, None, 100).due(100) == "all"
    assert Schedule(None, DAY_S + 1, 100).due(100) == "all"
    assert Schedule(None, HOUR_S, 100).due(100) == "changed"
    assert Schedule(math.inf, HOUR_S, 100).due(100) == "changed"


def test_a_share_that_is_watched_is_left_alone() -> None:
    schedule = watched()
    assert schedule.wait(1) == math.inf
    assert schedule.due(365 * DAY_S) is None


def test_what_is_not_watched_is_looked_through_hourly_and_read_daily() -> None:
    schedule = watched(unwatched=1)
    scans = []
    now = 0.0
    while now < 2 * DAY_S:
        now += schedule.wait(now)
        reach = schedule.due(now)
        assert reach is not None
        scans.append(reach)
        schedule.begin(reach)
        schedule.end(reach, now, now, 1)
    assert len(scans) == 48
    assert [number for number, reach in enumerate(scans, 1) if reach == "all"] == [24, 48]


@pytest.mark.parametrize("unwatched", [0, 5])
def test_the_configuration_sets_the_interval(unwatched: int) -> None:
    assert watched(900, unwatched).wait(100) == 800
    assert watched(math.inf, unwatched).wait(100) == math.inf


def test_scans_by_the_clock_take_a_small_part_of_the_time() -> None:
    schedule = watched(60)
    schedule.begin("changed")
    schedule.end("changed", 100, 200, 0)
    assert schedule.wait(200) == 2000


def test_changes_that_come_together_are_one_scan_and_none_waits_long() -> None:
    schedule = watched()
    now = 10.0
    while schedule.due(now) is None:
        schedule.changed(now)
        now += QUIET_S / 2
    assert schedule.due(now) == "named"
    assert now - 10 <= LONGEST_S + QUIET_S
    schedule.begin("named")
    assert schedule.due(now) is None
    schedule.changed(now)
    assert schedule.wait(now) == QUIET_S
    assert schedule.due(now + QUIET_S) == "named"


def test_unending_changes_leave_most_of_the_time() -> None:
    schedule = watched()
    now, spent = 0.0, 0.0
    while now < 3 * HOUR_S:
        schedule.changed(now)
        if schedule.due(now) == "named":
            schedule.begin("named")
            schedule.end("named", now, now + 0.5, 0)
            spent += 0.5
        now += 0.5
    assert 0.03 < spent / now < 0.08
    # After some quiet the next one is prompt again.
    schedule.begin("named")
    now += 600
    schedule.changed(now)
    assert schedule.wait(now) == QUIET_S


def test_a_change_waits_at_most_so_long_whatever_the_last_scan_cost() -> None:
    schedule = watched()
    schedule.begin("named")
    schedule.end("named", 0, 1000, 0)
    schedule.changed(1001)
    assert schedule.wait(1001) == LONGEST_REST_S


def test_missed_changes_and_wishes() -> None:
    schedule = watched()
    schedule.changed(10)
    schedule.distrust()
    assert schedule.due(10) == "changed"
    schedule.ask()
    assert schedule.due(10) == "all"
    schedule.begin("all")
    assert schedule.due(11) is None  # it sees to the others, too
    schedule.ask()
    assert schedule.due(11) == "all"


@pytest.mark.parametrize(("took", "rest"), [(0, 60), (10, 200), (180, HOUR_S), (10_000, HOUR_S)])
def test_a_scan_that_failed_is_tried_again_after_a_while(took: float, rest: float) -> None:
    schedule = watched(math.inf)
    schedule.distrust()
    schedule.begin("changed")
    schedule.fail(100 - took, 100)
    assert schedule.due(101) is None
    assert schedule.wait(100) == rest
    assert schedule.due(100 + rest) == "changed"


def test_new_directories_that_could_not_be_watched_count() -> None:
    schedule = watched()
    schedule.begin("named")
    schedule.end("named", 0, 1, 3)
    assert schedule.unwatched == 3
    assert schedule.wait(1) < HOUR_S
