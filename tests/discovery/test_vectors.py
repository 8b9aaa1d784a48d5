"""The published examples, against which any implementation can be checked, this one too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hdpd.discovery.advert import open_slots
from hdpd.discovery.records import Candidate, PunchPart, Record, open_record, seal
from hdpd.errors import InviteExpired, InviteInvalid, ProtocolError, TopicInvalid
from hdpd.identity.invites import Invite, parse
from hdpd.identity.keys import Identity, PeerId
from hdpd.identity.names import name_of
from hdpd.identity.topics import Topic, derive_master, new_name, normalise
from hdpd.punching.packets import PacketCodec, PunchKeys
from hdpd.wire.codec import encode

VECTORS = Path(__file__).parents[1] / "vectors"


def load(name: str) -> dict[str, Any]:
    vectors: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return vectors


def topic_of(vector: dict[str, Any]) -> Topic:
    return Topic.from_master(vector["name"], bytes.fromhex(vector["master"]))


@pytest.mark.parametrize("vector", load("name")["peers"], ids=lambda vector: vector["name"])
def test_names(vector: dict[str, str]) -> None:
    identity = Identity.from_seed(bytes.fromhex(vector["seed"]))
    assert identity.peer_id.raw.hex() == vector["public_key"]
    assert identity.peer_id.text == vector["peer_id"]
    assert identity.exchange_public.hex() == vector["exchange_public"]
    assert name_of(PeerId.parse(vector["peer_id"])) == vector["name"]


@pytest.mark.parametrize("vector", load("topic")["topics"], ids=lambda vector: vector["name"])
def test_topics(vector: dict[str, str]) -> None:
    assert normalise(vector["input"]) == vector["name"]
    assert derive_master(vector["name"]).hex() == vector["master"]
    topic = topic_of(vector)
    for key in ("public_id", "announcement_key", "proof_key", "knock_key", "mdns_key"):
        assert getattr(topic, key).hex() == vector[key]


def test_topics_that_are_none() -> None:
    for text in load("topic")["invalid"]:
        with pytest.raises(TopicInvalid):
            normalise(text)


def test_generated_topic_names() -> None:
    for vector in load("topic")["generated"]:
        assert new_name(bytes.fromhex(vector["secret"])) == vector["name"]


@pytest.mark.parametrize("vector", load("record")["records"], ids=lambda vector: vector["about"])
def test_records(vector: dict[str, Any]) -> None:
    topic = topic_of(vector["topic"])
    identity = Identity.from_seed(bytes.fromhex(vector["seed"]))
    record = Record(
        purpose="announce",
        topic_id=topic.public_id,
        peer_id=identity.peer_id,
        exchange_public=identity.exchange_public,
        candidates=tuple(Candidate(*candidate) for candidate in vector["candidates"]),
        seq=vector["seq"],
        time=vector["time"],
        wants_answer=vector["answer"],
    )
    sealed = bytes.fromhex(vector["sealed"])
    assert encode(record.to_wire()).hex() == vector["body"]
    assert seal(record, identity, topic, bytes.fromhex(vector["nonce"])) == sealed
    assert open_record(sealed, topic, vector["time"]) == record


@pytest.mark.parametrize("vector", load("record")["invalid"], ids=lambda vector: vector["about"])
def test_records_that_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        open_record(bytes.fromhex(vector["sealed"]), topic_of(vector["topic"]), vector["now"])


@pytest.mark.parametrize("vector", load("mdns")["adverts"], ids=lambda vector: vector["about"])
def test_adverts(vector: dict[str, Any]) -> None:
    entries = {key.encode(): bytes.fromhex(value) for key, value in vector["txt"].items()}
    found = open_slots(entries, [topic_of(topic) for topic in vector["topics"]])
    assert {
        peer_id.text: [topic_id.hex() for topic_id in topic_ids]
        for peer_id, topic_ids in found.items()
    } == vector["found"]


@pytest.mark.parametrize("vector", load("invite")["codes"], ids=lambda vector: vector["about"])
def test_invites(vector: dict[str, Any]) -> None:
    invite = Invite(
        peer_id=PeerId.parse(vector["peer_id"]),
        secret=bytes.fromhex(vector["secret"]),
        addresses=tuple((host, port) for host, port in vector["addresses"]),
        expires=vector["expires"],
    )
    assert invite.encode() == vector["code"]
    assert invite.topic_name == vector["topic_name"]
    assert parse(vector["code"], vector["expires"] - 1) == invite
    with pytest.raises(InviteExpired):
        parse(vector["code"], vector["expires"])


@pytest.mark.parametrize("vector", load("invite")["invalid"], ids=lambda vector: vector["about"])
def test_invites_that_are_mistyped(vector: dict[str, Any]) -> None:
    with pytest.raises(InviteInvalid):
        parse(vector["code"], 0)


def test_a_punch_request() -> None:
    vector = load("punch")
    topic = topic_of(vector["topic"])
    author = Identity.from_seed(bytes.fromhex(vector["seed"]))
    target = Identity.from_seed(bytes.fromhex(vector["target_seed"]))
    nonces = bytes.fromhex(vector["nonce"]), bytes.fromhex(vector["answers"])
    record = Record(
        purpose="punch",
        topic_id=topic.public_id,
        peer_id=author.peer_id,
        exchange_public=author.exchange_public,
        candidates=tuple(Candidate(*candidate) for candidate in vector["candidates"]),
        seq=vector["seq"],
        time=vector["time"],
        punch=PunchPart(target.peer_id, *nonces, vector["nat"]),
    )
    sealed = bytes.fromhex(vector["sealed"])
    assert encode(record.to_wire()).hex() == vector["body"]
    assert seal(record, author, topic, bytes.fromhex(vector["seal_nonce"])) == sealed
    assert open_record(sealed, topic, vector["time"]) == record


def test_punch_packets() -> None:
    vector = load("punch")
    topic_id = topic_of(vector["topic"]).public_id
    author = Identity.from_seed(bytes.fromhex(vector["seed"]))
    target = Identity.from_seed(bytes.fromhex(vector["target_seed"]))
    nonces = bytes.fromhex(vector["nonce"]), bytes.fromhex(vector["answers"])
    keys = PunchKeys.derive(author, target.peer_id, target.exchange_public, topic_id, nonces)
    assert (keys.tag.hex(), keys.key.hex()) == (vector["tag"], vector["key"])
    codec = PacketCodec(keys)
    assert codec.ping(bytes.fromhex(vector["ping_nonce"])).hex() == vector["ping"]
    assert codec.pong(bytes.fromhex(vector["pong_nonce"])).hex() == vector["pong"]
