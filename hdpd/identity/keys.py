"""The identity key: peer ids, signatures with contexts, the X25519 key and the TLS certificate.

Everything about an identity follows from one 32-byte seed, so that the same seed gives the same
peer id, name, exchange key and certificate for ever.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from msgspec import Struct

from hdpd.errors import ProtocolError
from hdpd.identity import contexts

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
PEER_ID_CHARS: Final = 52

# Peers pin the key and never look at dates; these only keep a strict TLS stack content on a
# machine whose clock stands at the epoch or anywhere else. 9999-12-31 is RFC 5280's "no expiry".
_NOT_BEFORE: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)

# The y of all points of edwards25519 whose order divides 8, also as p + y; the sign of x is the
# highest bit.
_P: Final = 2**255 - 19
_OF_ORDER_8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER: Final = frozenset({0, 1, _P - 1, _P, _P + 1, _OF_ORDER_8, _P - _OF_ORDER_8})
_WITHOUT_SIGN: Final = 2**255 - 1


class PeerId(Struct, frozen=True, order=True):
    """A peer's Ed25519 public key (RFC 8032), 32 bytes; the order is that of the bytes."""

    raw: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.raw, bytes) or len(self.raw) != KEY_BYTES:
            raise ProtocolError(f"a peer id is {KEY_BYTES} bytes")

    @classmethod
    def parse(cls, text: str) -> PeerId:
        """The id written as `text`; raises ProtocolError unless it is exactly what `text` gives."""
        if len(text) == PEER_ID_CHARS and text.isascii():
            try:
                peer_id = cls(base64.b32decode(text.upper() + "===="))
            except ValueError:
                pass
            else:
                if peer_id.text == text:
                    return peer_id
        raise ProtocolError(
            f"a peer id is {PEER_ID_CHARS} characters of lower-case base32 (a-z, 2-7)"
        )

    @property
    def text(self) -> str:
        """Lower-case base32 without padding, 52 characters."""
        return base64.b32encode(self.raw).decode().rstrip("=").lower()

    @property
    def short(self) -> str:
        """The first 8 characters, for people who tell apart two peers of the same name."""
        return self.text[:8]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, repr=False)
class Certificate:
    """A self-signed certificate of the identity key, with that key; PEM as PKCS #8."""

    der: bytes
    cert_pem: bytes
    key_pem: bytes


class Identity:
    """The secret half of a peer: signs, exchanges keys and certifies itself."""

    __slots__ = ("_key", "exchange_key", "exchange_public", "peer_id", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise ValueError(f"an identity seed is {KEY_BYTES} bytes, not {len(seed)}")
        self.seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.peer_id = PeerId(self._key.public_key().public_bytes_raw())
        self.exchange_key = X25519PrivateKey.from_private_bytes(
            derive_key(seed, contexts.EXCHANGE_KEY)
        )
        self.exchange_public = self.exchange_key.public_key().public_bytes_raw()

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """The identity of a 32-byte random seed; raises ValueError for any other length."""
        return cls(seed)

    def __repr__(self) -> str:
        return f"Identity({self.peer_id.short}…)"

    def sign(self, context: bytes, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature over context, a NUL byte and message."""
        return self._key.sign(context + b"\0" + message)

    def certificate(self) -> Certificate:
        """The self-signed X.509 certificate; it tells nothing but the key and never changes."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hdp")])
        digest = hashlib.sha256(contexts.CERTIFICATE_SERIAL + b"\0" + self.peer_id.raw).digest()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            # RFC 5280, 4.1.2.2: positive, at most 20 octets.
            .serial_number(int.from_bytes(digest[:16]) | 1)
            .not_valid_before(_NOT_BEFORE)
            .not_valid_after(_NOT_AFTER)
            .sign(self._key, None)
        )
        return Certificate(
            der=certificate.public_bytes(Encoding.DER),
            cert_pem=certificate.public_bytes(Encoding.PEM),
            key_pem=self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )


def derive_key(secret: bytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    """HKDF-SHA-256 (RFC 5869) without a salt: `length` bytes for the purpose named by `info`."""
    return HKDF(hashes.SHA256(), length, salt=None, info=info).derive(secret)


def verify(peer_id: PeerId, context: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is that peer's `sign(context, message)`; never raises."""
    if _is_of_small_order(peer_id.raw):
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(peer_id.raw)
        key.verify(signature, context + b"\0" + message)
    except (InvalidSignature, ValueError):
        return False
    return True


def peer_id_of_certificate(der: bytes) -> PeerId:
    """The peer whose key a DER certificate holds; raises ProtocolError for any other thing.

    Only the key is looked at: that its owner is at the other end is what TLS has proved.
    """
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise ProtocolError("the peer's TLS certificate cannot be read") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ProtocolError("the peer's TLS certificate does not hold an Ed25519 key")
    raw = key.public_bytes_raw()
    if _is_of_small_order(raw):
        raise ProtocolError("the peer's key is of small order: anybody can sign for it")
    return PeerId(raw)


def _is_of_small_order(key: bytes) -> bool:
    """Whether signatures prove nothing, as anybody can make them (RFC 8032, 8.1 and 5.1.7)."""
    return int.from_bytes(key, "little") & _WITHOUT_SIGN in _SMALL_ORDER
