"""The announcement schedule: two friends are quick, a crowd stays quiet."""

from __future__ import annotations

import heapq
import math
import random

import pytest

from hdpd.discovery.rates import AnnouncementSchedule


def schedule(number: float = 0.5) -> AnnouncementSchedule:
    return AnnouncementSchedule(lambda: number)


def test_nothing_is_due_before_there_is_a_reason() -> None:
    assert schedule().due == math.inf


def test_joining_announces_at_once_and_asks_for_answers_once() -> None:
    plan = schedule()
    plan.joined(100)
    assert plan.due == 100
    assert plan.announced(100) is True
    assert plan.announced(700) is False


@pytest.mark.parametrize(("number", "period"), [(0.0, 480), (0.5, 600), (1.0, 720)])
def test_it_repeats_every_ten_minutes_or_so(number: float, period: float) -> None:
    plan = schedule(number)
    plan.announced(1000)
    assert plan.due == pytest.approx(1000 + period)


def test_addresses_that_change_together_are_announced_together() -> None:
    plan = schedule()
    plan.announced(0)
    plan.addresses_changed(100)
    plan.addresses_changed(100.5)
    assert plan.due == 101


def test_among_two_the_answer_comes_at_once() -> None:
    plan = schedule(0.99)
    plan.announced(0)
    plan.newcomer_asked(50, peers=1)
    assert plan.due < 50.2


def test_in_a_crowd_the_answer_takes_its_time() -> None:
    plan = schedule(0.5)
    plan.announced(0)
    plan.newcomer_asked(500, peers=1000)
    assert plan.due == 550
    plan.newcomer_asked(501, peers=1000)
    assert plan.due == 550


def test_a_newcomer_never_delays_what_is_due_sooner() -> None:
    plan = schedule()
    plan.joined(10)
    plan.newcomer_asked(10, peers=4000)
    assert plan.due == 10


def test_a_thousand_peers_that_join_within_a_minute_make_no_storm() -> None:
    """Everybody hears everybody, and every newcomer asks for answers."""
    randomness = random.Random(7)
    plans = [AnnouncementSchedule(randomness.random) for _ in range(1000)]
    heard: list[set[int]] = [set() for _ in plans]
    agenda: list[tuple[float, int]] = []
    for number, plan in enumerate(plans):
        plan.joined(randomness.uniform(0, 60))
        heapq.heappush(agenda, (plan.due, number))
    sent: list[float] = []
    online: set[int] = set()
    while agenda and agenda[0][0] < 400:
        now, number = heapq.heappop(agenda)
        if plans[number].due > now:
            heapq.heappush(agenda, (plans[number].due, number))
            continue
        online.add(number)
        wants_answer = plans[number].announced(now)
        sent.append(now)
        heapq.heappush(agenda, (plans[number].due, number))
        for other in online - {number}:
            heard[other].add(number)
            if wants_answer:
                before = plans[other].due
                plans[other].newcomer_asked(now, len(heard[other]))
                if plans[other].due < before:
                    heapq.heappush(agenda, (plans[other].due, other))
    busiest = max(sum(second <= time < second + 10 for time in sent) / 10 for second in range(400))
    assert busiest < 50
    assert len(sent) < 4 * len(plans)
