"""The table of the benchmarks, and what their figures are made of; nothing is measured here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.limits import Sample, window_rates, worst_percent
from tests.bench.machine import version_in
from tests.bench.report import Line, Row, figure, table
from tests.bench.usage import Usage


def test_the_table() -> None:
    lines: list[Line] = [
        Row("one file", 363.4, "MB/s", 250, "qh3"),
        "scp is left out: sshd is not installed",
        Row("cost of a scan", 12.34, "%", -10, ""),
        Row("rsync's daemon", 14527.2, "files/s", None, "plain text"),
    ]
    assert table(lines).splitlines() == [
        "| what | measured | goal | met | |",
        "|---|---|---|---|---|",
        "| one file | 363 MB/s | at least 250 | yes | qh3 |",
        "| cost of a scan | 12.3 % | at most 10 | no |  |",
        "| rsync's daemon | 14527 files/s |  |  | plain text |",
        "",
        "- scp is left out: sshd is not installed",
    ]


def test_a_table_of_which_nothing_could_be_measured() -> None:
    assert table(["lines are left out: needs root"]) == "- lines are left out: needs root"
    assert table([]) == ""


@pytest.mark.parametrize(
    ("value", "goal", "met"),
    [(250, 250, "yes"), (249, 250, "no"), (2, -2, "yes"), (2.1, -2, "no"), (-60, -10, "yes")],
)
def test_goals_are_lower_limits_or_negated_upper_ones(value: float, goal: float, met: str) -> None:
    assert Row("", value, "", goal, "").met == met


@pytest.mark.parametrize(
    ("value", "text"), [(0.0447, "0.0447"), (1.5, "1.5"), (99.94, "99.9"), (1234.5, "1234")]
)
def test_figures(value: float, text: str) -> None:
    assert figure(value) == text


def usage(cores: float, sender: float, receiver: float, stolen: float = 0.0) -> Usage:
    return Usage(cores, 0.02, stolen, sender, receiver, 1.0, 1.0)


@pytest.mark.parametrize(
    ("measured", "limit"),
    [
        (usage(0.94, 0.95, 0.5), "the cores together"),
        (usage(0.8, 0.6, 0.5, stolen=0.15), "the cores together"),
        (usage(0.7, 0.95, 0.3), "the sender's thread"),
        (usage(0.7, 0.3, 0.95), "the receiver's thread"),
        (usage(0.5, 0.4, 0.4), "waiting, no processor"),
    ],
)
def test_what_limits(measured: Usage, limit: str) -> None:
    assert measured.limit == limit


def test_usage_in_words() -> None:
    assert str(usage(0.94, 0.64, 0.48, stolen=0.01)) == (
        "busy: cores 94% (others 2%), sender's loop 64%, receiver's loop 48%, "
        "taken by the host 1%; limit: the cores together"
    )


def test_windows_begin_at_every_sample_that_has_a_whole_one_after_it() -> None:
    samples = [Sample(at / 2, 100 * at) for at in range(9)]  # 200 a second, for four seconds
    assert window_rates(samples, 3) == [200, 200, 200]
    assert window_rates(samples, 5) == []


def test_a_window_that_got_too_much_is_as_bad_as_one_that_got_too_little() -> None:
    samples = [Sample(0, 0), Sample(1, 104), Sample(2, 198)]
    rates = window_rates(samples, 1)
    assert rates == [104, 94]
    assert worst_percent(rates, 100) == pytest.approx(6)


@given(
    steps=st.lists(st.tuples(st.floats(0.01, 2), st.integers(0, 1000)), max_size=40),
    window=st.floats(0.1, 10),
)
def test_no_window_is_shorter_than_it_should_be(
    steps: list[tuple[float, int]], window: float
) -> None:
    samples = [Sample(0, 0)]
    for seconds, size in steps:
        samples.append(Sample(samples[-1].at + seconds, samples[-1].received + size))
    rates = window_rates(samples, window)
    assert len(rates) == sum(samples[-1].at - each.at >= window for each in samples)
    assert all(0 <= rate <= 1000 * len(steps) / window for rate in rates)


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ("rsync  version 3.2.7  protocol version 31\n", "3.2.7"),
        ("OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19", "9.2p1"),
        ("nginx version: nginx/1.22.1\n", "1.22.1"),
        ('syncthing v1.19.2-ds1 "Fermium Flea" (go1.19.8)', "1.19.2"),
        ("", "of an unknown version"),
    ],
)
def test_versions(told: str, version: str) -> None:
    assert version_in(told) == version
