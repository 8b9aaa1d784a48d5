"""How many connections are tried and kept, on lines of different kinds."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from hdpd.downloads.trials import FIRST_PAUSE_S, MAX_CONNECTIONS, REVIEW_S, Trials

KB = 1000
ROUND_TRIP = 0.08

Line = Callable[[int], float]  # bytes/s that so many connections reach


def lossy(connections: int) -> float:
    """Each connection is as slow as its losses make it, up to what the line carries."""
    return min(connections * 250 * KB, 2400 * KB)


def clean(connections: int) -> float:
    return 2400 * KB


def run(
    trials: Trials, line: Line, start: float, seconds: float, *, rtt: float = ROUND_TRIP
) -> list[int]:
    """How many connections there were at each step."""
    seen = []
    for number in range(int(seconds * 2)):
        trials.step(start + number / 2, int(line(trials.connections) / 2), rtt)
        seen.append(trials.connections)
    return seen


def test_on_a_lossy_line_all_are_soon_in_use() -> None:
    trials = Trials()
    seen = run(trials, lossy, 0, 15)
    assert list(dict.fromkeys(seen)) == [1, 3, 8]
    assert trials.connections == MAX_CONNECTIONS


def test_the_slow_start_of_new_ones_is_no_measure_for_the_next_trial() -> None:
    trials = Trials()
    seen: list[int] = []

    def bursting(connections: int) -> float:
        return 2400 * KB if connections == 3 and seen.count(3) < 6 else lossy(connections)

    for number in range(30):
        trials.step(number / 2, int(bursting(trials.connections) / 2), ROUND_TRIP)
        seen.append(trials.connections)
    assert seen == sorted(seen)
    assert seen[-1] == MAX_CONNECTIONS


def test_on_a_clean_line_one_stays_after_a_short_trial() -> None:
    trials = Trials()
    seen = run(trials, clean, 0, 2 * FIRST_PAUSE_S)
    assert seen[-1] == 1
    assert 0 < seen.count(3) < 10
    assert 8 not in seen


def test_trials_in_vain_become_rare() -> None:
    trials = Trials()
    seen = run(trials, clean, 0, 3600)
    began = [n for n, (a, b) in enumerate(itertools.pairwise(seen)) if a < b]
    pauses = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert pauses == sorted(pauses)
    assert len(began) <= 12


def test_when_the_losses_end_they_are_closed() -> None:
    trials = Trials()
    run(trials, lossy, 0, 20)
    seen = run(trials, clean, 20, 4 * REVIEW_S)
    assert trials.connections == 1
    assert max(seen[-20:]) <= 3


def test_while_losses_go_on_they_stay() -> None:
    trials = Trials()
    run(trials, lossy, 0, 20)
    seen = run(trials, lossy, 20, 600)
    assert MAX_CONNECTIONS in seen[-20:]  # the last ones may be a trial with fewer
    assert seen.count(MAX_CONNECTIONS) > 0.9 * len(seen)


def test_no_trial_on_a_local_network_or_while_the_peer_sends_to_others() -> None:
    assert set(run(Trials(), lossy, 0, 60, rtt=0.001)) == {1}
    assert set(run(Trials(), lambda connections: 1 * KB, 0, 60)) == {1}


def test_an_interrupted_trial_tells_nothing() -> None:
    trials = Trials()
    run(trials, lossy, 0, 4)
    assert trials.connections == 3
    trials.interrupt()
    assert trials.connections == 1
    run(trials, lossy, 100, 20)
    assert trials.connections == MAX_CONNECTIONS


def test_a_line_that_is_cut_during_a_trial_tells_nothing() -> None:
    trials = Trials()
    run(trials, lossy, 0, 4)
    run(trials, lambda connections: 0, 4, 20)
    assert trials.connections == 1
    run(trials, lossy, 24, 15)
    assert trials.connections == MAX_CONNECTIONS


def test_what_the_peer_refuses_is_not_tried_again_at_once() -> None:
    trials = Trials()
    run(trials, lossy, 0, 5)
    trials.refused(2, 5.0)
    assert set(run(trials, lossy, 5.5, FIRST_PAUSE_S - 2)) == {2}


@given(st.lists(st.tuples(st.floats(0.1, 3), st.integers(0, 10**8), st.floats(0, 1)), max_size=200))
def test_there_are_never_too_many(steps: list[tuple[float, int, float]]) -> None:
    trials, now = Trials(), 0.0
    for pause, received, round_trip in steps:
        now += pause
        trials.step(now, received, round_trip)
        assert 1 <= trials.connections <= MAX_CONNECTIONS
