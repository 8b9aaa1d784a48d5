"""Natural order: by numbers where there are numbers, and the same for whoever sorts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.natural import natural


@pytest.mark.parametrize(
    "names",
    [
        ["Episode 1", "Episode 2", "Episode 3", "Episode 10", "Episode 11"],
        ["Disc 2", "Disc 10", "Disc 100"],
        ["S1E2", "S1E10", "S2E1", "S10E1"],
        ["v1.2.9", "v1.2.10", "v1.10.0"],
        ["2", "10", "a2", "a10", "aa"],
        ["0", "1", "9" * 8, "1" * 9, "9" * 9, "1" * 10, "1" * 200],
        ["1a", "01b", "1c"],
        ["track 1", "track 1 live", "track 2"],
    ],
)
def test_numbers_count_as_such(names: list[str]) -> None:
    assert sorted([*names[1:], names[0]], key=natural) == names


@given(st.lists(st.text("01239a .", max_size=12)))
def test_the_order_is_that_of_numbers_and_texts(names: list[str]) -> None:
    def parts(name: str) -> list[tuple[bool, int, str]]:
        # Between a number and a text, a digit decides.
        return [
            (found[0].isdigit(), int(found[0]), "") if found[0].isdigit() else (False, 0, found[0])
            for found in re.finditer("[0-9]+|[^0-9]", name)
        ]

    def compared(name: str) -> list[tuple[str, int]]:
        return [("5" if is_number else text, number) for is_number, number, text in parts(name)]

    assert [compared(name) for name in sorted(names, key=natural)] == sorted(map(compared, names))


@given(st.text("ab1\u0663", max_size=5))
def test_a_name_without_numbers_is_its_own_key(name: str) -> None:
    assert (natural(name) == name) is not bool(re.search("[0-9]", name))
