"""Records: fixed size, for one topic only, and a reason for each way in which one can be wrong."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hdpd.discovery.records import (
    MAX_CANDIDATES,
    RECORD_BYTES,
    Candidate,
    LatestRecords,
    Record,
    open_record,
    seal,
)
from hdpd.errors import ProtocolError
from hdpd.identity.contexts import HELLO_CLIENT_SIGNATURE, RECORD_SIGNATURE
from hdpd.identity.keys import Identity, PeerId
from hdpd.identity.topics import Topic
from hdpd.wire.codec import encode

NOW = 1_700_000_000.0
DAY = 24 * 3600
ANNA = Identity.from_seed(b"a" * 32)
PARTY = Topic.from_master("party", b"p" * 32)
CHOIR = Topic.from_master("choir", b"c" * 32)
NONCE = bytes(12)

hosts = st.one_of(
    st.ip_addresses(v=4, network="198.51.100.0/24"), st.ip_addresses(v=6, network="2001:db8::/32")
)
candidates = st.builds(
    Candidate,
    host=hosts.map(str),
    port=st.integers(1, 65535),
    kind=st.sampled_from(["local", "stun", "observed", "mapped"]),
)


def record(**changes: object) -> Record:
    plain = Record(
        purpose="announce",
        topic_id=PARTY.public_id,
        peer_id=ANNA.peer_id,
        exchange_public=ANNA.exchange_public,
        candidates=(Candidate("192.0.2.7", 3031, "stun"), Candidate("2001:db8::7", 3031, "local")),
        seq=1,
        time=int(NOW),
    )
    return replace(plain, **changes)


def seal_body(
    body: bytes, *, context: bytes = RECORD_SIGNATURE, signer: Identity = ANNA, padding: int = 0
) -> bytes:
    """A record for the party topic with a body that `seal` would not make."""
    plain = signer.sign(context, body) + len(body).to_bytes(2) + body
    plain += bytes([padding]) * (RECORD_BYTES - 28 - len(plain))
    return NONCE + ChaCha20Poly1305(PARTY.announcement_key).encrypt(NONCE, plain, PARTY.public_id)


@given(
    st.lists(candidates, max_size=MAX_CANDIDATES, unique=True).map(tuple),
    st.integers(0, 2**63 - 1),
    st.booleans(),
)
def test_a_record_reads_back_and_has_the_one_size(
    addresses: tuple[Candidate, ...], seq: int, wants_answer: bool
) -> None:
    sent = record(candidates=addresses, seq=seq, wants_answer=wants_answer)
    blob = seal(sent, ANNA, PARTY, NONCE)
    assert len(blob) == RECORD_BYTES
    assert open_record(blob, PARTY, NOW) == sent


def test_the_largest_record_leaves_room_for_later_fields() -> None:
    largest = Candidate("2001:db8:1111:1111:1111:1111:1111:1111", 65535, "mapped")
    full = record(candidates=(largest,) * MAX_CANDIDATES, seq=2**63 - 1, time=2**63 - 1)
    assert len(encode(full.to_wire())) <= RECORD_BYTES - 28 - 66 - 100


def test_fields_of_later_versions_are_ignored() -> None:
    later = encode(record().to_wire() | {"shoe size": 43})
    assert open_record(seal_body(later), PARTY, NOW) == record()


def test_a_candidate_with_a_zone_stays_at_home() -> None:
    local = Candidate("fe80::1%2", 3031, "local")
    blob = seal(record(candidates=(local,)), ANNA, PARTY, NONCE)
    assert open_record(blob, PARTY, NOW).candidates == ()


@pytest.mark.parametrize(
    "blob", [b"", bytes(RECORD_BYTES), b"x" * (RECORD_BYTES - 1), b"x" * 100_000]
)
def test_garbage_is_refused(blob: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"bytes|decrypted"):
        open_record(blob, PARTY, NOW)


def test_another_topic_cannot_decrypt_it() -> None:
    with pytest.raises(ProtocolError, match="decrypted"):
        open_record(seal(record(), ANNA, PARTY, NONCE), CHOIR, NOW)


def test_a_member_cannot_carry_a_record_over_to_another_topic() -> None:
    carried = seal(record(topic_id=CHOIR.public_id), ANNA, PARTY, NONCE)
    with pytest.raises(ProtocolError, match="another topic"):
        open_record(carried, PARTY, NOW)


def test_a_member_cannot_speak_for_another_peer() -> None:
    blob = seal(record(), Identity.from_seed(b"m" * 32), PARTY, NONCE)
    with pytest.raises(ProtocolError, match="signature"):
        open_record(blob, PARTY, NOW)


def test_a_signature_made_for_something_else_is_worthless() -> None:
    blob = seal_body(encode(record().to_wire()), context=HELLO_CLIENT_SIGNATURE)
    with pytest.raises(ProtocolError, match="signature"):
        open_record(blob, PARTY, NOW)


@pytest.mark.parametrize("difference", [-DAY, 0, DAY])
def test_clocks_may_differ_by_a_day(difference: int) -> None:
    assert open_record(seal(record(), ANNA, PARTY, NONCE), PARTY, NOW + difference) == record()


@pytest.mark.parametrize("difference", [-DAY - 1, DAY + 1])
def test_clocks_that_differ_by_more_count_only_where_they_matter(difference: int) -> None:
    blob = seal(record(), ANNA, PARTY, NONCE)
    with pytest.raises(ProtocolError, match="old"):
        open_record(blob, PARTY, NOW + difference)
    assert open_record(blob, PARTY, NOW + difference, check_time=False) == record()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"purpose": "nonsense"}, "purpose"),
        ({"seq": -1}, "seq"),
        ({"seq": 2**63}, "seq"),
        ({"seq": True}, "seq"),
        ({"time": "noon"}, "time"),
        ({"answer": 1}, "answer"),
        ({"peer": b"short"}, "peer"),
        ({"exchange": None}, "exchange"),
        ({"topic": "party"}, "topic"),
        ({"candidates": [b""] * 13}, "candidates"),
        ({"candidates": {}}, "candidates"),
        ({"candidates": ["192.0.2.1:3031"]}, "candidate"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        open_record(seal_body(encode(record().to_wire() | change)), PARTY, NOW)


def test_padding_hides_nothing() -> None:
    with pytest.raises(ProtocolError, match="padding"):
        open_record(seal_body(encode(record().to_wire()), padding=1), PARTY, NOW)


@given(st.binary(max_size=500))
def test_a_member_who_sends_garbage_gets_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        open_record(seal_body(body), PARTY, NOW)


@pytest.mark.parametrize(
    ("host", "port", "kind"),
    [
        ("224.0.0.251", 1, "local"),
        ("ff02::fb", 1, "local"),
        ("0.0.0.0", 1, "local"),
        ("0.1.2.3", 1, "local"),
        ("::", 1, "local"),
        ("255.255.255.255", 1, "local"),
        ("240.0.0.1", 1, "local"),
        ("127.0.0.1", 1, "stun"),
        ("::1", 1, "observed"),
        ("192.0.2.1", 0, "stun"),
        ("192.0.2.1", 65536, "stun"),
        ("192.0.2.1", True, "stun"),
        ("192.0.2.01", 1, "stun"),
        ("::ffff:192.0.2.1", 1, "stun"),
        ("2001:DB8::1", 1, "stun"),
        ("fe80::1", 1, "local"),
        ("2001:db8::1%2", 1, "local"),
        ("192.0.2.1%2", 1, "local"),
        ("example.org", 1, "stun"),
        ("192.0.2.1", 1, "guess"),
    ],
)
def test_candidates_that_cannot_be_are_refused(host: str, port: int, kind: str) -> None:
    with pytest.raises(ProtocolError):
        Candidate(host, port, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.0.1", "fe80::1%eth0", "100.64.0.1"])
def test_local_candidates_may_be_of_any_local_kind(host: str) -> None:
    assert Candidate(host, 3031, "local").host == host


def test_a_bad_candidate_does_not_hide_the_good_ones() -> None:
    good = Candidate("192.0.2.7", 3031, "stun")
    broadcast = b"\x00\x0b\xd7\xff\xff\xff\xff"
    unknown_kind = b"\x63\x0b\xd7\xc0\x00\x02\x07"
    wire = record().to_wire() | {"candidates": [broadcast, unknown_kind, b"", good.to_wire()]}
    assert open_record(seal_body(encode(wire)), PARTY, NOW).candidates == (good,)


def test_mapped_ipv4_becomes_ipv4() -> None:
    mapped = b"\x01\x0b\xd7" + bytes(10) + b"\xff\xff\xc0\x00\x02\x07"
    assert Candidate.from_wire(mapped) == Candidate("192.0.2.7", 3031, "stun")


def test_only_a_higher_seq_is_news() -> None:
    latest = LatestRecords()
    assert [latest.accept(record(seq=seq), NOW) for seq in (5, 5, 4, 6, 1)] == [
        True,
        False,
        False,
        True,
        False,
    ]


def test_peers_and_topics_are_counted_apart() -> None:
    latest = LatestRecords()
    assert latest.accept(record(seq=5), NOW)
    assert latest.accept(record(seq=1, topic_id=CHOIR.public_id), NOW)
    assert latest.accept(record(seq=1, peer_id=PeerId(b"x" * 32)), NOW)
    assert (latest.count(PARTY.public_id), latest.count(CHOIR.public_id)) == (2, 1)
    latest.forget_topic(PARTY.public_id)
    assert latest.count(PARTY.public_id) == 0


def test_made_up_peers_push_out_the_longest_silent_one_only() -> None:
    latest = LatestRecords()
    for number in range(LatestRecords.MAX_PEERS_PER_TOPIC):
        latest.accept(record(peer_id=PeerId(number.to_bytes(32))), NOW)
    latest.accept(record(peer_id=PeerId(bytes(32)), seq=2), NOW)
    latest.accept(record(peer_id=PeerId(b"x" * 32)), NOW)
    assert latest.count(PARTY.public_id) == LatestRecords.MAX_PEERS_PER_TOPIC
    assert not latest.accept(record(peer_id=PeerId(bytes(32))), NOW)
    assert latest.accept(record(peer_id=PeerId((1).to_bytes(32))), NOW)


def test_peers_are_forgotten_when_no_old_record_of_them_can_be_replayed() -> None:
    latest = LatestRecords()
    latest.accept(record(), NOW)
    latest.accept(record(peer_id=PeerId(b"x" * 32)), NOW + 2 * DAY + 1)
    assert latest.count(PARTY.public_id) == 1
