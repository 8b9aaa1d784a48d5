"""The search for the size that a path carries: what is probed, and what counts as proved."""

from __future__ import annotations

import pytest

from hdpd.link.path_size import AGAIN_S, ROUND_S, ROUNDS, SIZES, SMALL, PathSize

BASE = 1200


def play(path: PathSize, carries: int, now: float = 0.0, *, alive: bool = True) -> int:
    """Runs a look to its end on a path that carries so much; returns how many probes it took."""
    probes = 0
    while wanted := path.round(now):
        probes += len(wanted)
        for size in wanted:
            if alive and size <= carries:
                path.answered(size)
        now += ROUND_S
    return probes


@pytest.mark.parametrize("carries", [1252, 1300, 1392, 1472, 8972])
def test_the_largest_size_that_is_carried_is_found(carries: int) -> None:
    path = PathSize(BASE, 8972, 0.0)
    play(path, carries)
    assert path.size == max(each for each in SIZES if each <= carries)


def test_one_round_trip_is_enough_where_all_is_carried() -> None:
    path = PathSize(BASE, 1472, 0.0)
    first = path.round(0.0)
    assert first[-1] == 1472
    path.answered(1472)
    assert path.size == 1472
    assert path.round(ROUND_S) == ()


def test_nothing_above_the_ceiling_is_probed_and_the_ceiling_itself_is() -> None:
    assert PathSize(BASE, 1360, 0.0).round(0.0) == (1252, 1292, 1352, 1360)
    assert PathSize(BASE, BASE, 0.0).round(0.0) == ()


def test_who_answers_nothing_gets_what_every_path_carries() -> None:
    path = PathSize(BASE, 1472, 0.0)
    assert play(path, 0) == ROUNDS * len([each for each in SIZES if each <= 1472])
    assert path.size == BASE


def test_a_size_that_is_carried_no_more_is_given_up_after_three_probes() -> None:
    path = PathSize(BASE, 1472, 0.0)
    play(path, 1472)
    assert path.look(10.0, 1472)
    assert path.round(10.0) == (SMALL, 1472)
    path.answered(SMALL)
    assert path.round(10.2) == (1472,)
    assert path.round(10.4) == (1472,)
    assert not path.given_up
    assert path.round(10.6) == ()
    assert path.given_up
    assert path.size == BASE


def test_a_path_that_is_dead_says_nothing_about_sizes() -> None:
    path = PathSize(BASE, 1472, 0.0)
    play(path, 1472)
    path.look(10.0, 1472)
    play(path, 1472, 10.0, alive=False)
    assert path.size == 1472
    assert not path.given_up


def test_one_lost_probe_is_no_reason() -> None:
    path = PathSize(BASE, 1472, 0.0)
    play(path, 1472)
    path.look(10.0, 1472)
    path.round(10.0)
    path.answered(SMALL)
    path.round(10.2)
    path.answered(1472)
    assert path.round(10.4) == ()
    assert path.size == 1472


def test_larger_sizes_are_tried_again_after_a_while() -> None:
    path = PathSize(BASE, 1472, 0.0)
    play(path, 1300)
    assert not path.look(10.0, BASE)
    assert path.look(AGAIN_S + 1, BASE)
    play(path, 1472, AGAIN_S + 1)
    assert path.size == 1472
