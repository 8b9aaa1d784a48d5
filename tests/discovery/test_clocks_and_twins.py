"""Clocks that are wrong, and keys that are used twice, are noticed."""

from __future__ import annotations

import os

import pytest

from hdpd.discovery.clocks import KEPT_S, Clocks
from hdpd.discovery.records import NONCE_BYTES, Candidate, Record, open_record, seal
from hdpd.discovery.twin import KEPT_S as TWIN_KEPT
from hdpd.discovery.twin import Twin
from hdpd.doctor.network import Standing, network
from hdpd.errors import ClockWrong
from hdpd.identity.keys import Identity
from hdpd.identity.topics import Topic

ANNA, BERT = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2))
PARTY = Topic.from_master("party", bytes(32))
NOW = 1_800_000_000
HOUR = 3600.0


def record(who: Identity, time: int, seq: int = 1) -> Record:
    candidates = (Candidate("192.0.2.7", 3031, "local"),)
    return Record(
        "announce", PARTY.public_id, who.peer_id, who.exchange_public, candidates, seq, time
    )


def sealed(who: Identity, time: int) -> bytes:
    return seal(record(who, time), who, PARTY, os.urandom(NONCE_BYTES))


def test_a_record_of_another_day_says_whose_clock_it_was_and_how_far() -> None:
    with pytest.raises(ClockWrong) as refused:
        open_record(sealed(ANNA, NOW - 26 * 3600), PARTY, NOW)
    assert refused.value.peer_id == ANNA.peer_id.raw
    assert refused.value.seconds == -26 * 3600


def test_a_wrong_clock_is_news_once() -> None:
    clocks = Clocks()
    assert not clocks.heard(ANNA.peer_id, 5.0, 0.0)
    assert clocks.heard(BERT.peer_id, -26 * HOUR, 0.0)
    assert not clocks.heard(BERT.peer_id, -26 * HOUR, 1.0)
    wrong, heard = clocks.wrong(2.0)
    assert [(each.peer_id, each.seconds) for each in wrong] == [(BERT.peer_id, -26 * HOUR)]
    assert heard == 2
    assert clocks.wrong(KEPT_S + 2) == ([], 0)
    clocks.heard(BERT.peer_id, 0.0, 3.0)
    assert clocks.wrong(4.0) == ([], 2)


def test_doctor_says_whose_clock_is_wrong() -> None:
    one = Standing(clocks=[("CheerfulOtter", -26 * HOUR)], peers_heard=1)
    (found,) = network(one)
    assert (found.check, found.state) == ("clocks", "warning")
    assert "CheerfulOtter is 26.0 hours behind" in found.text
    all_others = Standing(clocks=[("A", 26 * HOUR), ("B", 25.9 * HOUR)], peers_heard=2)
    (found,) = network(all_others)
    assert found.state == "failed"
    assert "this machine's clock is wrong" in str(found.advice)


def test_a_record_of_ours_that_we_have_not_made_is_of_another_machine() -> None:
    twin = Twin(NOW)
    own, later = sealed(ANNA, NOW + 100), NOW + 100
    twin.made(own)
    assert not twin.heard(record(ANNA, later), own, later)
    other = sealed(ANNA, later)
    assert twin.heard(record(ANNA, later), other, later)
    assert not twin.heard(record(ANNA, later), sealed(ANNA, later), later + 1)  # known already
    assert str(twin.place(later + 2)).endswith("192.0.2.7")
    assert str(twin.place(later + 601)).endswith("192.0.2.7, 10 minutes ago")
    assert twin.place(later + TWIN_KEPT + 2) is None


def test_a_record_of_ours_from_before_the_start_is_no_other_machine() -> None:
    twin = Twin(NOW)
    assert not twin.heard(record(ANNA, NOW - 5), sealed(ANNA, NOW - 5), NOW + 1)
    assert twin.place(NOW + 2) is None
