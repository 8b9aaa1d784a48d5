"""The table of watches does what a dictionary in order of use does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hdpd.shares import watchtable
from hdpd.shares.watchtable import WatchTable

STEPS = st.lists(st.tuples(st.sampled_from("aud"), st.integers(1, 12), st.integers(1, 99)))


@given(STEPS)
def test_it_is_a_dictionary_in_order_of_use(steps: list[tuple[str, int, int]]) -> None:
    table = WatchTable()
    expected: dict[int, int] = {}
    limit, watchtable._MIN_GONE = watchtable._MIN_GONE, 3
    try:
        for step, watch, id_ in steps:
            known = expected.get(watch)
            if step == "a":
                assert table.add(watch, id_) == expected.setdefault(watch, id_)
            elif step == "u":
                assert table.use(watch) == known
                if known is not None:
                    expected[watch] = expected.pop(watch)
            else:
                table.drop(watch)
                expected.pop(watch, None)
            assert len(table) == len(expected)
            assert table.least_used(99) == list(expected)
    finally:
        watchtable._MIN_GONE = limit


def test_what_is_gone_leaves_no_room_behind() -> None:
    table = WatchTable()
    for watch in range(1, 100_000):
        table.add(watch, watch)
        table.drop(watch - 5)
    assert len(table) == 5
    assert len(table._watches) < 2 * watchtable._MIN_GONE + 5
    assert table.least_used(2) == [99_995, 99_996]
