"""Records: signed, sealed statements of where a peer can be reached at one topic. Pure.

A sealed record is always RECORD_BYTES long: a 12-byte nonce, then ChaCha20-Poly1305 (RFC 8439)
under the topic's announcement key, with the topic's public id as associated data, of

    signature (64 bytes) ‖ length of the body (2, big-endian) ‖ body (CBOR) ‖ zero bytes

The Ed25519 signature, with the record context, is over the body. A record belongs to one topic:
the body names it, so a member of two topics cannot carry a record over from one to the other.

A record is an announcement to all members, or a punch request to one of them; from outside they
look the same.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from msgspec import Struct

from hdpd.errors import ClockWrong, ProtocolError
from hdpd.identity.addresses import check_port, parse_ip
from hdpd.identity.contexts import RECORD_SIGNATURE
from hdpd.identity.keys import KEY_BYTES, SIGNATURE_BYTES, Identity, PeerId, verify
from hdpd.identity.topics import Topic
from hdpd.recent import Recent
from hdpd.wire import fields
from hdpd.wire.codec import decode_map, encode

CandidateKind = Literal["local", "stun", "observed", "mapped"]
Purpose = Literal["announce", "punch"]
# What a peer's NAT does to each new destination; see hdpd/nat/report.py.
NatKind = Literal["unknown", "none", "easy", "hard"]

# Twelve IPv6 candidates leave 100 bytes for fields of later versions; far below any broker's limit.
RECORD_BYTES: Final = 640
NONCE_BYTES: Final = 12
MAX_CANDIDATES: Final = 12
MAX_PUNCH_CANDIDATES: Final = 8  # leaves room for the other fields of a punch request
PUNCH_NONCE_BYTES: Final = 16
# Clocks of real machines are wrong by hours (time zones set as UTC), hardly by more.
MAX_CLOCK_DIFFERENCE_S: Final = 24 * 3600

_TAG_BYTES: Final = 16
_PLAIN_BYTES: Final = RECORD_BYTES - NONCE_BYTES - _TAG_BYTES
_HEADER_BYTES: Final = SIGNATURE_BYTES + 2
_KINDS: Final[tuple[CandidateKind, ...]] = get_args(CandidateKind)
_NAT_KINDS: Final[tuple[NatKind, ...]] = get_args(NatKind)


class Candidate(Struct, frozen=True):
    """A UDP address where a peer may be reached, and how that was found out.

    `host` is an IPv4 or IPv6 literal in shortest form. A zone (`fe80::1%2`) goes with link-local
    IPv6 addresses and only with them; such a candidate is for this machine alone and is never put
    into a record. Loopback addresses are `local`. Raises ProtocolError for anything else.
    """

    host: str
    port: int
    kind: CandidateKind

    def __post_init__(self) -> None:
        literal, percent, zone = self.host.partition("%")
        address = parse_ip(literal)
        check_port(self.port)
        if self.kind not in _KINDS:
            raise ProtocolError(f"{self.kind!r} is no kind of candidate")
        if str(address) != literal:
            raise ProtocolError(f"{self.host} is not written in its shortest form")
        if address.is_loopback and self.kind != "local":
            raise ProtocolError("a loopback address is only ever local")
        if (address.version == 6 and address.is_link_local) != bool(percent and zone):
            raise ProtocolError(f"{self.host}: link-local addresses, and only they, have a zone")

    @property
    def has_zone(self) -> bool:
        """Whether the address has a meaning on this machine only."""
        return "%" in self.host

    def to_wire(self) -> bytes:
        """Kind (1 byte), port (2, big-endian), address (4 or 16)."""
        kind = bytes([_KINDS.index(self.kind)])
        return kind + self.port.to_bytes(2) + parse_ip(self.host).packed

    @classmethod
    def from_wire(cls, data: bytes) -> Candidate:
        """The only way in; raises ProtocolError."""
        if len(data) not in (7, 19) or data[0] >= len(_KINDS):
            raise ProtocolError("a candidate is not of a known kind and size")
        return cls(str(parse_ip(data[3:])), int.from_bytes(data[1:3]), _KINDS[data[0]])


class PunchPart(Struct, frozen=True):
    """What a punch request says beside who asks and where that is.

    It is for `target` only. `nonce` is new for each punch; `answers` is the target's own nonce, as
    far as it has told one, and proves that this request is not an old one.
    """

    target: PeerId
    nonce: bytes
    answers: bytes | None
    nat: NatKind

    def to_wire(self) -> fields.Message:
        return {
            "target": self.target.raw,
            "nonce": self.nonce,
            "answers": self.answers,
            "nat": self.nat,
        }

    @classmethod
    def from_wire(cls, message: fields.Message) -> PunchPart:
        """The only way in; a kind of NAT that this version does not know counts as unknown."""
        answers = message.get("answers")
        nat = fields.text(message, "nat", 32)
        return cls(
            target=PeerId(fields.byte_string(message, "target", KEY_BYTES)),
            nonce=fields.byte_string(message, "nonce", PUNCH_NONCE_BYTES),
            answers=None
            if answers is None
            else fields.byte_string(message, "answers", PUNCH_NONCE_BYTES),
            nat=next((kind for kind in _NAT_KINDS if kind == nat), "unknown"),
        )


class Record(Struct, frozen=True):
    """What a peer says of itself at one topic.

    `seq` rises with each record of a peer, over restarts too. `time` is its clock, in seconds since
    the epoch. `wants_answer` asks those who read it to announce themselves: the sender is new here
    and has heard nobody yet. `punch` is there when the purpose is "punch", and only then.
    """

    purpose: Purpose
    topic_id: bytes
    peer_id: PeerId
    exchange_public: bytes
    candidates: tuple[Candidate, ...]
    seq: int
    time: int
    wants_answer: bool = False
    punch: PunchPart | None = None

    def __post_init__(self) -> None:
        if len(self.candidates) > (MAX_CANDIDATES if self.punch is None else MAX_PUNCH_CANDIDATES):
            raise ProtocolError(f"a record holds at most {MAX_CANDIDATES} candidates")

    def to_wire(self) -> fields.Message:
        """The body as a map; candidates with a zone are left out."""
        return {
            "purpose": self.purpose,
            "topic": self.topic_id,
            "peer": self.peer_id.raw,
            "exchange": self.exchange_public,
            "candidates": [each.to_wire() for each in self.candidates if not each.has_zone],
            "seq": self.seq,
            "time": self.time,
            **({"answer": self.wants_answer} if self.punch is None else self.punch.to_wire()),
        }

    @classmethod
    def from_wire(cls, message: fields.Message) -> Record:
        """The only way in; candidates of unknown kinds or bad addresses are left out."""
        text = fields.text(message, "purpose", 32)
        purpose = next((known for known in get_args(Purpose) if known == text), None)
        if purpose is None:
            raise ProtocolError("a record has a purpose that this version does not know")
        is_punch = purpose == "punch"
        return cls(
            purpose=purpose,
            topic_id=fields.byte_string(message, "topic", KEY_BYTES),
            peer_id=PeerId(fields.byte_string(message, "peer", KEY_BYTES)),
            exchange_public=fields.byte_string(message, "exchange", KEY_BYTES),
            candidates=_candidates_from_wire(fields.array(message, "candidates", MAX_CANDIDATES)),
            seq=fields.integer(message, "seq"),
            time=fields.integer(message, "time"),
            wants_answer=not is_punch and fields.boolean(message, "answer"),
            punch=PunchPart.from_wire(message) if is_punch else None,
        )


def _candidates_from_wire(items: list[Any]) -> tuple[Candidate, ...]:
    candidates: dict[Candidate, None] = {}
    for item in items:
        if type(item) is not bytes:
            raise ProtocolError("a candidate is not a byte string")
        try:
            candidates[Candidate.from_wire(item)] = None
        except ProtocolError:
            # One address that makes no sense here must not hide the good ones beside it.
            continue
    return tuple(candidates)


def seal(record: Record, identity: Identity, topic: Topic, nonce: bytes) -> bytes:
    """The RECORD_BYTES bytes for the topic; `nonce` is 12 random bytes, never used twice."""
    body = encode(record.to_wire())
    plain = identity.sign(RECORD_SIGNATURE, body) + len(body).to_bytes(2) + body
    padded = plain.ljust(_PLAIN_BYTES, b"\0")
    sealed = ChaCha20Poly1305(topic.announcement_key).encrypt(nonce, padded, topic.public_id)
    return nonce + sealed


def open_record(blob: bytes, topic: Topic, now: float, *, check_time: bool = True) -> Record:
    """The record in `blob`, decrypted, verified and of that topic.

    Raises ProtocolError, naming the defect. `now` is in seconds since the epoch; with `check_time`
    a record whose clock differs from it by more than a day is refused, with ClockWrong.
    """
    if len(blob) != RECORD_BYTES:
        raise ProtocolError(f"a sealed record has {RECORD_BYTES} bytes, not {len(blob)}")
    cipher = ChaCha20Poly1305(topic.announcement_key)
    try:
        plain = cipher.decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], topic.public_id)
    except InvalidTag as error:
        raise ProtocolError("a record cannot be decrypted with the topic's key") from error
    signature = plain[:SIGNATURE_BYTES]
    end = _HEADER_BYTES + int.from_bytes(plain[SIGNATURE_BYTES:_HEADER_BYTES])
    if any(plain[end:]):
        raise ProtocolError("the padding of a record is not zero")
    body = plain[_HEADER_BYTES:end]
    record = Record.from_wire(decode_map(body))
    if not verify(record.peer_id, RECORD_SIGNATURE, body, signature):
        raise ProtocolError("the signature of a record is wrong")
    if record.topic_id != topic.public_id:
        raise ProtocolError("a record was made for another topic")
    if check_time and abs(record.time - now) > MAX_CLOCK_DIFFERENCE_S:
        raise ClockWrong(
            "a record is too old, or one of the clocks is wrong by over a day",
            record.peer_id.raw,
            record.time - now,
        )
    return record


class LatestRecords:
    """Keeps the highest `seq` of each peer at each topic, so that old records cannot come back.

    Costs about 200 bytes a peer. A topic holds MAX_PEERS_PER_TOPIC; then the peer not heard for
    longest is forgotten, and one of its records of the last day could be replayed: a member can
    bring that about with made-up keys, and gains that addresses are tried which are out of date.
    """

    MAX_PEERS_PER_TOPIC: Final = 4096

    def __init__(self) -> None:
        self._topics: dict[bytes, Recent[PeerId, tuple[int, float]]] = {}

    def accept(self, record: Record, now: float) -> bool:
        """Whether `record` is newer than any before it from that peer; remembers it when it is."""
        peers = self._topics.setdefault(record.topic_id, Recent(self.MAX_PEERS_PER_TOPIC))
        while peers and next(iter(peers.values()))[1] < now - 2 * MAX_CLOCK_DIFFERENCE_S:
            peers.pop_oldest()
        known = peers.get(record.peer_id)
        if known is not None and known[0] >= record.seq:
            return False
        peers.put(record.peer_id, (record.seq, now))
        return True

    def count(self, topic_id: bytes) -> int:
        """How many peers were heard at the topic in the last two days."""
        return len(self._topics.get(topic_id, ()))

    def forget_topic(self, topic_id: bytes) -> None:
        """Frees what is kept for a topic that was left."""
        self._topics.pop(topic_id, None)
