"""Maps with room for so much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.recent import Recent

KEYS = st.integers(0, 5)


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from(["put", "pop", "get"]), KEYS)))
def test_holds_the_latest_in_the_order_in_which_they_were_put(
    limit: int, steps: list[tuple[str, int]]
) -> None:
    recent = Recent[int, int](limit)
    expected: list[tuple[int, int]] = []  # the oldest first
    for number, (step, key) in enumerate(steps):
        known = dict(expected)
        if step == "get":
            assert recent.get(key) == known.get(key)
            continue
        expected = [entry for entry in expected if entry[0] != key]
        if step == "pop":
            assert recent.pop(key) == known.get(key)
        else:
            expected.append((key, number))
            gone = expected.pop(0) if len(expected) > limit else None
            assert recent.put(key, number) == gone
        assert list(recent.items()) == expected
        assert list(reversed(recent)) == [key for key, _ in reversed(expected)]
        assert len(recent) == len(expected) <= limit


def test_the_oldest_can_be_taken_out() -> None:
    recent = Recent[str, int](3)
    recent.put("a", 1)
    recent.put("b", 2)
    recent.put("a", 3)
    assert recent.pop_oldest() == ("b", 2)
    assert recent.pop_oldest() == ("a", 3)
    with pytest.raises(KeyError):
        recent.pop_oldest()


def test_cleared_it_has_all_its_room() -> None:
    recent = Recent[int, None](2)
    recent.put(1, None)
    recent.put(2, None)
    recent.clear()
    assert not recent
    assert recent.put(3, None) is None
