"""The hello: both sides prove who they are and which topics they know. Pure.

TLS has proved the server's key. The client now proves its own by a signature, and each side shows
which topics it knows by MACs that are bound to this very connection; why that holds against theft,
replay, reflection and relay is argued in docs/protocol.md.

T is SHA-256 of the CBOR array [label, asker's key, answerer's key, asker's nonce, answerer's nonce,
SHA-256 of the server's certificate]. A proof is the first 16 bytes of HMAC-SHA-256 under a topic's
proof key over the prover's role and T; there are always 64, in random order, the unused ones
random. The request `topics` repeats the proofs later with fresh nonces and its own label.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable

from msgspec import Struct

from hdpd.errors import AuthenticationFailed, NoCommonTopic
from hdpd.identity import contexts
from hdpd.identity.keys import Identity, PeerId, verify
from hdpd.identity.topics import Topic
from hdpd.link.paths import Role
from hdpd.wire import fields
from hdpd.wire.codec import encode
from hdpd.wire.fields import Message
from hdpd.wire.messages import NONCE_BYTES, PROOF_BYTES, PROOFS, VERSION, Hello, Topics

RandomBytes = Callable[[int], bytes]
MAX_TOPICS = PROOFS  # more than that could not be proved in one hello


class Transcript(Struct, frozen=True):
    """What both sides agree that they are talking about."""

    label: str
    asker: PeerId
    answerer: PeerId
    asker_nonce: bytes
    answerer_nonce: bytes
    certificate_hash: bytes

    def digest(self) -> bytes:
        return hashlib.sha256(
            encode(
                [
                    self.label,
                    self.asker.raw,
                    self.answerer.raw,
                    self.asker_nonce,
                    self.answerer_nonce,
                    self.certificate_hash,
                ]
            )
        ).digest()


def proof(topic: Topic, role: Role, digest: bytes) -> bytes:
    """What shows knowledge of `topic` for one role in one transcript."""
    return hmac.digest(topic.proof_key, role.encode() + digest, "sha256")[:PROOF_BYTES]


def make_proofs(
    topics: Iterable[Topic], role: Role, digest: bytes, random_bytes: RandomBytes
) -> bytes:
    """64 proofs in random order, those beyond the topics random."""
    proofs = [proof(topic, role, digest) for topic in topics]
    if len(proofs) > PROOFS:
        raise ValueError(f"{len(proofs)} topics do not fit into {PROOFS} proofs")
    while len(proofs) < PROOFS:
        proofs.append(random_bytes(PROOF_BYTES))
    proofs.sort(key=lambda _: random_bytes(8))
    return b"".join(proofs)


def proved_topics(
    proofs: bytes, topics: Iterable[Topic], role: Role, digest: bytes
) -> frozenset[bytes]:
    """The public ids of those of our topics that the other side, in `role`, has proved."""
    shown = {proofs[at : at + PROOF_BYTES] for at in range(0, len(proofs), PROOF_BYTES)}
    # Looked up by hash and not in constant time: each MAC is bound to fresh nonces, used once.
    return frozenset(t.public_id for t in topics if proof(t, role, digest) in shown)


def _proofs_field(message: Message) -> bytes:
    return fields.byte_string(message, "proofs", PROOFS * PROOF_BYTES)


class Asker:
    """The side that opens the stream, for `hello` (the QUIC client) and `topics` (either).

    `answerer` must be the key of the peer at the other end: for the client's hello it is the key
    in the server's certificate after it was found to be the expected one.
    """

    def __init__(
        self,
        identity: Identity,
        answerer: PeerId,
        certificate_hash: bytes,
        topics: tuple[Topic, ...],
        random_bytes: RandomBytes,
        *,
        first: bool,
    ) -> None:
        self._identity = identity
        self._answerer = answerer
        self._certificate_hash = certificate_hash
        self._topics = topics
        self._random_bytes = random_bytes
        self._first = first
        self._digest = b""
        self.nonce = random_bytes(NONCE_BYTES)
        self.peer_nonce = b""

    def request(self, *, bulk: bool = False) -> Message:
        if self._first:
            return Hello(VERSION, self.nonce, bulk).to_wire()
        return Topics(self.nonce).to_wire()

    def prove(self, answer: Message) -> Message:
        """Our proofs, given the other side's nonce."""
        self.peer_nonce = fields.byte_string(answer, "nonce", NONCE_BYTES)
        self._digest = Transcript(
            contexts.HELLO_TRANSCRIPT if self._first else contexts.TOPICS_TRANSCRIPT,
            self._identity.peer_id,
            self._answerer,
            self.nonce,
            self.peer_nonce,
            self._certificate_hash,
        ).digest()
        message: Message = {
            "proofs": make_proofs(self._topics, "client", self._digest, self._random_bytes)
        }
        if self._first:
            message["key"] = self._identity.peer_id.raw
            message["signature"] = self._identity.sign(
                contexts.HELLO_CLIENT_SIGNATURE, self._digest
            )
        return message

    def common_topics(self, answer: Message) -> frozenset[bytes]:
        """The topics that the other side has proved to know as well."""
        return proved_topics(_proofs_field(answer), self._topics, "server", self._digest)


class Answerer:
    """The side that was asked. For `hello`, `peer_id` is None until the client has proved it."""

    def __init__(
        self,
        identity: Identity,
        asker: PeerId | None,
        certificate_hash: bytes,
        topics: tuple[Topic, ...],
        random_bytes: RandomBytes,
    ) -> None:
        self._identity = identity
        self._certificate_hash = certificate_hash
        self._topics = topics
        self._random_bytes = random_bytes
        self._first = asker is None
        self.peer_id = asker
        self.nonce = random_bytes(NONCE_BYTES)
        self.peer_nonce = b""

    def challenge(self, request: Hello | Topics) -> Message:
        """Our nonce, for the asker's proofs to be made with."""
        self.peer_nonce = request.nonce
        return {"nonce": self.nonce}

    def check(self, message: Message) -> tuple[Message, frozenset[bytes]]:
        """Our answer, and the topics in common.

        Raises:
            AuthenticationFailed: the asker is not the holder of the key that it names.
            NoCommonTopic: for `hello`; the asker must learn nothing but that.
        """
        asker = self.peer_id or PeerId(fields.byte_string(message, "key", 32))
        digest = Transcript(
            contexts.HELLO_TRANSCRIPT if self._first else contexts.TOPICS_TRANSCRIPT,
            asker,
            self._identity.peer_id,
            self.peer_nonce,
            self.nonce,
            self._certificate_hash,
        ).digest()
        if self._first:
            signature = fields.byte_string(message, "signature", 64)
            if asker == self._identity.peer_id:
                raise AuthenticationFailed("the other end claims our own key")
            if not verify(asker, contexts.HELLO_CLIENT_SIGNATURE, digest, signature):
                raise AuthenticationFailed("the signature of the hello is wrong")
        common = proved_topics(_proofs_field(message), self._topics, "client", digest)
        if self._first and not common:
            raise NoCommonTopic
        self.peer_id = asker
        # True proofs only for what the asker knows anyway: it learns nothing about other topics.
        shared = [topic for topic in self._topics if topic.public_id in common]
        return {"proofs": make_proofs(shared, "server", digest, self._random_bytes)}, common
