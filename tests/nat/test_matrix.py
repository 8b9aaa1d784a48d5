"""Pairs of homes: some of the matrix, and homes that have more in common than the internet."""

from __future__ import annotations

import pytest

from tests.nat.conftest import needs_laboratory, needs_miniupnpd, quick
from tests.nat.lab import Internet
from tests.nat.matrix import DIRECT_S, Expected, Matrix, oracle

pytestmark = needs_laboratory


@pytest.mark.parametrize(
    ("first", "second", "how"),
    [
        pytest.param("easy", "easy", "punched", marks=quick),
        pytest.param("hard", "easy", "punched", marks=quick),
        ("carrier", "hard", "punched"),
        ("ipv6", "dual", "ipv6"),
        pytest.param("hard", "hard-mapped", "mapped", marks=needs_miniupnpd),
    ],
)
def test_a_pair_connects(internet: Internet, first: str, second: str, how: str) -> None:
    cell = Matrix(internet).run(first, second)
    assert cell.fault is None
    assert cell.how == how


@pytest.mark.parametrize("kind", ["easy", "hard", "no-udp"])
def test_two_on_one_lan_take_the_lan(internet: Internet, kind: str) -> None:
    home = internet.site(kind)
    cell = Matrix(internet).run_homes(home, home, Expected(True, DIRECT_S))
    assert cell.fault is None
    assert cell.how == "lan"


@needs_miniupnpd
def test_neighbours_behind_one_carrier_meet_inside(internet: Internet) -> None:
    one = internet.site("carrier-pmp")
    other = internet.site("carrier-pmp", neighbour=one)
    cell = Matrix(internet).run_homes(one, other, Expected(True, DIRECT_S))
    assert cell.fault is None
    assert cell.how == "mapped"


def test_the_oracle_knows_both_sides() -> None:
    assert oracle("hard", "hard") == oracle("hard-carrier", "hard")
    assert not oracle("hard", "hard").connects
    assert not oracle("ipv6", "public").connects
    assert oracle("easy", "hard").within > oracle("hard-mapped", "hard").within
    for first, second in (("easy", "hard"), ("upnp", "hard"), ("dual", "ipv6")):
        assert oracle(first, second) == oracle(second, first)
