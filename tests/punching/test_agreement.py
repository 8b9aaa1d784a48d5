"""Agreeing on a punch, as scripts: who asks whom, when each side begins, and what replays do."""

from __future__ import annotations

import random

from msgspec.structs import replace

from hdpd.discovery.records import PunchPart, Record
from hdpd.identity.keys import Identity, PeerId
from hdpd.punching.agreement import MAX_PEERS, MAX_REPEATS, OFFER_S, REST_S, Agreements, Ask, Begin

TOPIC = b"t" * 32
NOW = 100.0


class Side:
    """One peer: its agreements, and the requests that it makes of them."""

    def __init__(self, number: int) -> None:
        self.identity = Identity.from_seed(bytes([number]) * 32)
        self.peer_id = self.identity.peer_id
        self.agreements = Agreements(random.Random(number).randbytes)
        self.begun: list[Begin] = []

    def propose(self, to: Side, now: float = NOW) -> list[Record]:
        return self.take(self.agreements.propose(to.peer_id, TOPIC, now))

    def receive(self, record: Record, now: float = NOW) -> list[Record]:
        return self.take(self.agreements.receive(record, now))

    def advance(self, now: float) -> list[Record]:
        return self.take(self.agreements.advance(now))

    def take(self, commands: list[Ask | Begin]) -> list[Record]:
        self.begun += [each for each in commands if isinstance(each, Begin)]
        return [
            Record(
                purpose="punch",
                topic_id=ask.topic_id,
                peer_id=self.peer_id,
                exchange_public=self.identity.exchange_public,
                candidates=(),
                seq=1,
                time=0,
                punch=PunchPart(ask.target, ask.nonce, ask.answers, "easy"),
            )
            for ask in commands
            if isinstance(ask, Ask)
        ]


def agreed(a: Side, b: Side) -> bool:
    """Whether both have begun once, with the same nonces."""
    return (
        len(a.begun) == len(b.begun) == 1
        and a.begun[0].nonces == b.begun[0].nonces[::-1]
        and a.begun[0].record.peer_id == b.peer_id
    )


def test_three_requests_make_an_agreement() -> None:
    a, b = Side(1), Side(2)
    [first] = a.propose(b)
    [second] = b.receive(first)
    assert not b.begun  # the first request could be an old one
    [third] = a.receive(second)
    assert len(a.begun) == 1
    assert b.receive(third) == []
    assert agreed(a, b)


def test_both_may_begin_to_ask_at_once() -> None:
    a, b = Side(1), Side(2)
    [from_a], [from_b] = a.propose(b), b.propose(a)
    [answer_of_b], [answer_of_a] = b.receive(from_a), a.receive(from_b)
    assert a.receive(answer_of_b) == b.receive(answer_of_a) == []
    assert agreed(a, b)


def test_each_request_may_be_lost() -> None:
    for lost in range(3):
        a, b = Side(1), Side(2)
        waiting = [(b, record) for record in a.propose(b)]
        sent, now = 0, NOW
        while not agreed(a, b):
            assert now < NOW + OFFER_S, f"request {lost} was lost"
            while waiting:
                to, record = waiting.pop(0)
                other = a if to is b else b
                if sent != lost:
                    waiting += [(other, answer) for answer in to.receive(record, now)]
                sent += 1
            now += 1.1
            waiting += [(b, record) for record in a.advance(now)]
            waiting += [(a, record) for record in b.advance(now)]


def test_a_replayed_request_begins_nothing() -> None:
    a, b = Side(1), Side(2)
    [first] = a.propose(b)
    [second] = b.receive(first)
    [third] = a.receive(second)
    restarted = Side(2)
    restarted.agreements = Agreements(random.Random(99).randbytes)
    for victim in (restarted, b):
        victim.begun.clear()
        later = NOW + 2 * OFFER_S
        for _ in range(5):
            victim.receive(first, later)
            victim.receive(third, later)
        assert victim.begun == []


def test_an_answer_to_somebody_else_begins_nothing() -> None:
    a, b, eve = Side(1), Side(2), Side(3)
    [first] = a.propose(b)
    [from_b] = b.receive(first)
    a.receive(replace(from_b, peer_id=eve.peer_id))
    assert a.begun == []


def test_an_answer_that_comes_too_late_begins_nothing() -> None:
    a, b = Side(1), Side(2)
    [first] = a.propose(b)
    [second] = b.receive(first)
    a.receive(second, NOW + OFFER_S + 1)
    assert a.begun == []


def test_asking_again_soon_says_nothing_new() -> None:
    a, b = Side(1), Side(2)
    assert a.propose(b)
    assert a.propose(b, NOW + 1) == []
    assert a.propose(b, NOW + OFFER_S + 1)


def test_the_next_punch_waits_for_the_last_one() -> None:
    a, b = Side(1), Side(2)
    [first] = a.propose(b)
    [second] = b.receive(first)
    [third] = a.receive(second)
    b.receive(third)
    assert a.propose(b, NOW + REST_S - 1) == []
    assert a.propose(b, NOW + REST_S + 1)


def test_one_peer_cannot_make_us_talk() -> None:
    a, b = Side(1), Side(2)
    [first] = b.propose(a)
    assert first.punch is not None
    answers = sum(
        len(a.receive(replace(first, punch=replace(first.punch, nonce=bytes([n]) * 16)), NOW))
        for n in range(100)
    )
    assert answers == 1
    repeated = [a.receive(first, NOW + 1 + n) for n in range(8)]
    assert sum(map(len, repeated)) <= 1 + MAX_REPEATS


def test_unanswered_requests_are_repeated_a_few_times() -> None:
    a, b = Side(1), Side(2)
    a.propose(b)
    times = [second for second in range(1, 60) if a.advance(NOW + second)]
    assert times == [1, 2, 3]


def test_made_up_peers_push_out_the_oldest_offer_only() -> None:
    a, b = Side(1), Side(2)
    [first] = b.propose(a)
    for number in range(2 * MAX_PEERS):
        a.receive(replace(first, peer_id=PeerId(number.to_bytes(32))))
    assert len(a.agreements._offers) == MAX_PEERS


def test_who_is_forgotten_can_be_asked_at_once() -> None:
    a, b = Side(1), Side(2)
    a.propose(b)
    a.agreements.forget(b.peer_id)
    assert a.propose(b)
