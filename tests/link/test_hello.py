"""The hello as pure scripts: what each side accepts, and every way to cheat that is known."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.errors import AuthenticationFailed, HdpdError, NoCommonTopic, ProtocolError
from hdpd.identity import contexts
from hdpd.identity.keys import Identity, PeerId
from hdpd.identity.topics import Topic
from hdpd.link.hello import (
    MAX_TOPICS,
    Answerer,
    Asker,
    Transcript,
    make_proofs,
    proof,
    proved_topics,
)
from hdpd.wire.codec import encode
from hdpd.wire.messages import PROOF_BYTES, PROOFS, Hello, Topics, parse_request
from tests.link.helpers import identity, topic

ALICE, BOB, MALLORY = identity(1), identity(2), identity(3)
CERTIFICATE = b"C" * 32
PARTY, OTHER = topic("party"), topic("other")

Message = dict[str, Any]


def asker(
    me: Identity = ALICE,
    to: PeerId = BOB.peer_id,
    topics: tuple[Topic, ...] = (PARTY,),
    certificate: bytes = CERTIFICATE,
    *,
    first: bool = True,
) -> Asker:
    return Asker(me, to, certificate, topics, secrets.token_bytes, first=first)


def answerer(
    me: Identity = BOB,
    topics: tuple[Topic, ...] = (PARTY,),
    certificate: bytes = CERTIFICATE,
    knows: PeerId | None = None,
) -> Answerer:
    return Answerer(me, knows, certificate, topics, secrets.token_bytes)


def request(message: Message) -> Hello | Topics:
    parsed = parse_request(message)
    assert isinstance(parsed, Hello | Topics)
    return parsed


def run(a: Asker, b: Answerer) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """The whole exchange: what either side takes as common."""
    proofs = a.prove(b.challenge(request(a.request())))
    answer, common = b.check(proofs)
    return a.common_topics(answer), common


def test_both_sides_learn_what_is_common_and_who_asked() -> None:
    a = asker(topics=(PARTY, topic("mine")))
    b = answerer(topics=(topic("yours"), PARTY))
    assert run(a, b) == (frozenset({PARTY.public_id}),) * 2
    assert b.peer_id == ALICE.peer_id


@given(st.sets(st.integers(0, 12)), st.sets(st.integers(0, 12)))
def test_common_is_the_intersection(mine: set[int], yours: set[int]) -> None:
    a = asker(topics=tuple(topic(f"t{n}") for n in mine), first=False)
    b = answerer(topics=tuple(topic(f"t{n}") for n in yours), knows=ALICE.peer_id)
    both = frozenset(topic(f"t{n}").public_id for n in mine & yours)
    assert run(a, b) == (both, both)


def test_the_transcript_is_as_published() -> None:
    """Hash, proofs and signature by hand, from docs/protocol.md."""
    a, b = asker(), answerer()
    message = a.prove(b.challenge(request(a.request())))
    array = ["hdp/1", ALICE.peer_id.raw, BOB.peer_id.raw, a.nonce, b.nonce, CERTIFICATE]
    digest = hashlib.sha256(encode(array)).digest()
    mac = hmac.digest(PARTY.proof_key, b"client" + digest, "sha256")[:16]
    proofs = message["proofs"]
    assert mac in {proofs[at : at + 16] for at in range(0, len(proofs), 16)}
    assert message["signature"] == ALICE.sign(b"hdp/1 hello client", digest)
    assert message["key"] == ALICE.peer_id.raw


@pytest.mark.parametrize("count", [0, 1, 5, 64])
def test_neither_number_nor_choice_of_topics_shows(count: int) -> None:
    topics = [topic(f"t{number}") for number in range(count)]
    made = make_proofs(topics, "client", b"d" * 32, secrets.token_bytes)
    assert len(made) == PROOFS * PROOF_BYTES
    shown = [made[at : at + PROOF_BYTES] for at in range(0, len(made), PROOF_BYTES)]
    assert len(set(shown)) == PROOFS
    assert {proof(each, "client", b"d" * 32) for each in topics} <= set(shown)


def test_proofs_are_in_random_order() -> None:
    places = set()
    for _ in range(60):
        made = make_proofs([PARTY], "client", b"d" * 32, secrets.token_bytes)
        places.add(made.index(proof(PARTY, "client", b"d" * 32)))
    assert len(places) > 10


def test_more_than_64_topics_do_not_fit() -> None:
    topics = [topic(f"t{number}") for number in range(MAX_TOPICS + 1)]
    with pytest.raises(ValueError, match="64"):
        make_proofs(topics, "client", b"d" * 32, secrets.token_bytes)


def test_64_topics_on_either_side() -> None:
    topics = tuple(topic(f"t{number}") for number in range(MAX_TOPICS))
    common = frozenset(each.public_id for each in topics)
    assert run(asker(topics=topics), answerer(topics=topics)) == (common, common)


def test_the_answer_shows_nothing_of_topics_that_the_asker_does_not_know() -> None:
    a, b = asker(topics=(PARTY,)), answerer(topics=(PARTY, OTHER))
    proofs = a.prove(b.challenge(request(a.request())))
    answer, _ = b.check(proofs)
    digest = a._digest
    assert proved_topics(answer["proofs"], [PARTY], "server", digest)
    assert not proved_topics(answer["proofs"], [OTHER], "server", digest)


# Cheating clients.


@pytest.mark.parametrize("topics", [(), (OTHER,), tuple(topic(f"s{n}") for n in range(5))])
def test_no_common_topic_is_one_error_whatever_we_have(topics: tuple[Topic, ...]) -> None:
    a, b = asker(), answerer(topics=topics)
    proofs = a.prove(b.challenge(request(a.request())))
    with pytest.raises(NoCommonTopic):
        b.check(proofs)
    assert b.peer_id is None


def test_a_signature_by_another_key() -> None:
    a, b = asker(me=MALLORY), answerer()
    message = a.prove(b.challenge(request(a.request())))
    message["key"] = ALICE.peer_id.raw
    with pytest.raises(AuthenticationFailed):
        b.check(message)


def test_a_signature_for_another_purpose() -> None:
    a, b = asker(), answerer()
    message = a.prove(b.challenge(request(a.request())))
    message["signature"] = ALICE.sign(contexts.RECORD_SIGNATURE, a._digest)
    with pytest.raises(AuthenticationFailed):
        b.check(message)


def test_messages_replayed_on_another_connection() -> None:
    """The other connection has a fresh nonce of the server, so neither signature nor proofs fit."""
    a = asker()
    first, second = answerer(), answerer()
    hello = request(a.request())
    recorded = a.prove(first.challenge(hello))
    first.check(recorded)
    second.challenge(hello)
    with pytest.raises(AuthenticationFailed):
        second.check(recorded)


def test_proofs_replayed_under_a_fresh_signature() -> None:
    """Somebody without the topic signs for itself and brings the proofs of another."""
    victim, thief = asker(), asker(me=MALLORY, topics=())
    b = answerer()
    recorded = victim.prove(b.challenge(request(victim.request())))
    message = thief.prove(b.challenge(request(thief.request())))
    message["proofs"] = recorded["proofs"]
    with pytest.raises(NoCommonTopic):
        b.check(message)


def test_our_own_key_at_the_other_end() -> None:
    a, b = asker(me=BOB, to=BOB.peer_id), answerer()
    message = a.prove(b.challenge(request(a.request())))
    with pytest.raises(AuthenticationFailed):
        b.check(message)


def test_a_relay_through_a_third_peer() -> None:
    """Alice dials Mallory, who passes everything on to Bob as if Alice had dialled Bob.

    Mallory's end of the TLS connection with Alice has Mallory's certificate, as Alice expects.
    """
    a = asker(to=MALLORY.peer_id, certificate=b"M" * 32)
    b = answerer()
    message = a.prove(b.challenge(request(a.request())))
    with pytest.raises(AuthenticationFailed):
        b.check(message)


def test_a_relay_that_signs_for_itself_gets_no_proofs_accepted() -> None:
    """As above, but Mallory, who does not know the topic, puts its own key and signature in."""
    a = asker(to=MALLORY.peer_id, certificate=b"M" * 32)
    b = answerer()
    mallory = asker(me=MALLORY, topics=())
    mallory.nonce = a.nonce
    challenge = b.challenge(request(a.request()))
    message = mallory.prove(challenge)
    message["proofs"] = a.prove(challenge)["proofs"]
    with pytest.raises(NoCommonTopic):
        b.check(message)


# Cheating servers.


def test_reflected_proofs_prove_nothing() -> None:
    a, b = asker(), answerer()
    message = a.prove(b.challenge(request(a.request())))
    assert a.common_topics({"proofs": message["proofs"]}) == frozenset()


def test_answers_of_another_connection_prove_nothing() -> None:
    a, b = asker(), answerer()
    answer, _ = b.check(a.prove(b.challenge(request(a.request()))))
    again = asker()
    again.prove({"nonce": b.nonce})
    assert again.common_topics(answer) == frozenset()


def test_a_server_without_the_topic_proves_nothing() -> None:
    a = asker()
    a.prove({"nonce": bytes(32)})
    assert a.common_topics({"proofs": bytes(PROOFS * PROOF_BYTES)}) == frozenset()


def test_proofs_of_a_hello_are_none_in_a_later_exchange() -> None:
    """Same nonces, same peers: the labels differ."""
    a, later = asker(), asker(first=False)
    later.nonce = a.nonce
    b = answerer()
    challenge = b.challenge(request(a.request()))
    message = a.prove(challenge)
    late = answerer(knows=ALICE.peer_id)
    late.nonce = b.nonce
    late.challenge(request(later.request()))
    _, common = late.check(message)
    assert common == frozenset()


def test_proofs_in_one_direction_are_none_in_the_other() -> None:
    """Both ask for `topics` at once: what Alice proves as asker cannot be sent back to her."""
    by_alice = asker(first=False)
    to_alice = Answerer(ALICE, BOB.peer_id, CERTIFICATE, (PARTY,), secrets.token_bytes)
    thief = asker(me=BOB, to=ALICE.peer_id, topics=(), first=False)
    challenge = to_alice.challenge(request(thief.request()))
    mine = by_alice.prove({"nonce": challenge["nonce"]})
    _, common = to_alice.check(mine)
    assert common == frozenset()


def test_without_a_common_topic_a_later_exchange_is_no_error() -> None:
    a = asker(topics=(), first=False)
    b = answerer(knows=ALICE.peer_id)
    assert run(a, b) == (frozenset(), frozenset())


# Nonsense.


def without(key: str) -> Callable[[Message], Message]:
    return lambda message: {k: v for k, v in message.items() if k != key}


def with_field(key: str, value: object) -> Callable[[Message], Message]:
    return lambda message: {**message, key: value}


@pytest.mark.parametrize(
    "spoil",
    [
        without("key"),
        without("signature"),
        without("proofs"),
        with_field("key", bytes(31)),
        with_field("key", "text"),
        with_field("key", None),
        with_field("signature", bytes(63)),
        with_field("proofs", bytes(PROOFS * PROOF_BYTES + 16)),
        with_field("proofs", bytes(16)),
        with_field("proofs", [bytes(16)] * PROOFS),
        with_field("key", bytes(32)),  # a point of small order
    ],
)
def test_a_malformed_hello_is_refused_with_an_error_of_ours(
    spoil: Callable[[Message], Message],
) -> None:
    a, b = asker(), answerer()
    message = a.prove(b.challenge(request(a.request())))
    with pytest.raises(HdpdError):
        b.check(spoil(message))
    assert b.peer_id is None


@pytest.mark.parametrize("answer", [{}, {"nonce": b""}, {"nonce": 5}, {"error": "x"}])
def test_a_malformed_challenge_is_refused(answer: Message) -> None:
    with pytest.raises(ProtocolError):
        asker().prove(answer)


@pytest.mark.parametrize("answer", [{}, {"proofs": b""}, {"proofs": "x" * 1024}])
def test_a_malformed_answer_is_refused(answer: Message) -> None:
    a = asker()
    a.prove({"nonce": bytes(32)})
    with pytest.raises(ProtocolError):
        a.common_topics(answer)


def test_every_part_of_the_transcript_counts() -> None:
    base = Transcript("hdp/1", ALICE.peer_id, BOB.peer_id, b"a" * 32, b"b" * 32, CERTIFICATE)
    others = [
        Transcript("hdp/2", base.asker, base.answerer, b"a" * 32, b"b" * 32, CERTIFICATE),
        Transcript("hdp/1", MALLORY.peer_id, base.answerer, b"a" * 32, b"b" * 32, CERTIFICATE),
        Transcript("hdp/1", base.asker, MALLORY.peer_id, b"a" * 32, b"b" * 32, CERTIFICATE),
        Transcript("hdp/1", base.asker, base.answerer, b"b" * 32, b"b" * 32, CERTIFICATE),
        Transcript("hdp/1", base.asker, base.answerer, b"a" * 32, b"a" * 32, CERTIFICATE),
        Transcript("hdp/1", base.asker, base.answerer, b"a" * 32, b"b" * 32, b"D" * 32),
        Transcript("hdp/1", base.answerer, base.asker, b"a" * 32, b"b" * 32, CERTIFICATE),
    ]
    assert len({each.digest() for each in [base, *others]}) == len(others) + 1
