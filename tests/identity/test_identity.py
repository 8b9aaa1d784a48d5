"""Keys: what is signed under one context counts under no other, and ids have one spelling."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from hdpd.errors import ProtocolError
from hdpd.identity import contexts
from hdpd.identity import keys as key_module
from hdpd.identity.keys import Identity, PeerId, peer_id_of_certificate, verify

ANNA = Identity.from_seed(b"a" * 32)
BERT = Identity.from_seed(b"b" * 32)

keys = st.binary(min_size=32, max_size=32)


@given(keys)
def test_the_text_of_a_peer_id_reads_back(raw: bytes) -> None:
    peer_id = PeerId(raw)
    assert len(peer_id.text) == 52
    assert PeerId.parse(str(peer_id)) == peer_id
    assert peer_id.text.startswith(peer_id.short)


@given(st.one_of(st.text(max_size=60), keys.map(lambda raw: PeerId(raw).text[:-1] + "b")))
def test_other_text_is_a_peer_id_only_in_its_one_spelling(text: str) -> None:
    try:
        peer_id = PeerId.parse(text)
    except ProtocolError:
        return
    assert peer_id.text == text


@pytest.mark.parametrize("change", [str.upper, lambda text: text + "====", lambda text: " " + text])
def test_a_peer_id_in_another_spelling_is_refused(change: Callable[[str], str]) -> None:
    with pytest.raises(ProtocolError):
        PeerId.parse(change(ANNA.peer_id.text))


@pytest.mark.parametrize("raw", [b"", b"x" * 31, b"x" * 33, "x" * 32])
def test_a_peer_id_has_32_bytes(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        PeerId(raw)


def test_peer_ids_are_ordered_by_their_bytes() -> None:
    assert PeerId(b"\x00" * 32) < PeerId(b"\x00" * 31 + b"\x01") < PeerId(b"\xff" * 32)


def test_a_signature_holds_for_its_signer_context_and_message_only() -> None:
    signature = ANNA.sign(contexts.RECORD_SIGNATURE, b"message")
    assert verify(ANNA.peer_id, contexts.RECORD_SIGNATURE, b"message", signature)
    assert not verify(BERT.peer_id, contexts.RECORD_SIGNATURE, b"message", signature)
    assert not verify(ANNA.peer_id, contexts.HELLO_CLIENT_SIGNATURE, b"message", signature)
    assert not verify(ANNA.peer_id, contexts.RECORD_SIGNATURE, b"massage", signature)


@given(keys, st.binary(max_size=80))
def test_verifying_never_raises(raw: bytes, signature: bytes) -> None:
    assert not verify(PeerId(raw), b"context", b"message", signature)


def test_no_two_contexts_are_equal_and_none_holds_the_separator() -> None:
    values = [value for name, value in vars(contexts).items() if name.isupper()]
    encoded = [value if isinstance(value, bytes) else value.encode() for value in values]
    assert len(set(encoded)) == len(encoded) > 10
    assert not any(b"\0" in value for value in encoded)


def test_both_sides_of_an_exchange_agree() -> None:
    anna = ANNA.exchange_key.exchange(X25519PublicKey.from_public_bytes(BERT.exchange_public))
    bert = BERT.exchange_key.exchange(X25519PublicKey.from_public_bytes(ANNA.exchange_public))
    assert anna == bert


def test_the_certificate_names_the_key_and_nothing_else() -> None:
    certificate = ANNA.certificate()
    assert peer_id_of_certificate(certificate.der) == ANNA.peer_id
    assert ANNA.certificate() == certificate
    parsed = x509.load_pem_x509_certificate(certificate.cert_pem)
    assert parsed.subject.rfc4514_string() == "CN=hdp"
    assert parsed.not_valid_before_utc.year <= 2020
    assert parsed.not_valid_after_utc.year == 9999
    parsed.verify_directly_issued_by(parsed)


def test_certificates_of_other_kinds_are_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    elliptic = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now)
        .not_valid_after(now)
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(ProtocolError, match="Ed25519"):
        peer_id_of_certificate(elliptic.public_bytes(Encoding.DER))


@given(st.binary(max_size=300))
def test_garbage_is_no_certificate(der: bytes) -> None:
    with pytest.raises(ProtocolError):
        peer_id_of_certificate(der)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(st.integers(0, 250), st.integers(1, 255))
def test_a_damaged_certificate_raises_nothing_else(position: int, flip: int) -> None:
    der = bytearray(ANNA.certificate().der)
    der[position % len(der)] ^= flip
    with contextlib.suppress(ProtocolError):
        peer_id_of_certificate(bytes(der))


def test_secrets_do_not_show() -> None:
    assert ANNA.seed.hex() not in repr(ANNA)
    assert repr(ANNA.seed) not in repr(ANNA)
    assert "PRIVATE" not in repr(ANNA.certificate())


def test_a_seed_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32"):
        Identity.from_seed(b"short")


@pytest.mark.parametrize("sign", [0, 1 << 255])
@pytest.mark.parametrize("y", sorted(key_module._SMALL_ORDER))
def test_a_key_for_which_anybody_can_sign_proves_nothing(y: int, sign: int) -> None:
    raw = (y | sign).to_bytes(32, "little")
    # R and s of 0: right for one message in eight at least, where nobody looks at the order.
    forged = (1).to_bytes(32, "little") + bytes(32)
    assert not any(verify(PeerId(raw), b"hdp", b"%d" % n, forged) for n in range(64))


def test_those_keys_are_all_points_whose_order_divides_8() -> None:
    """By doubling them as in RFC 8032, 5.1.4, in affine coordinates."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p

    def double(point: tuple[int, int]) -> tuple[int, int]:
        x, y = point
        k = d * x * x * y * y
        return 2 * x * y * pow(1 + k, -1, p) % p, (y * y + x * x) * pow(1 - k, -1, p) % p

    def point(y: int) -> tuple[int, int]:
        square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        x = pow(square, (p + 3) // 8, p)
        return (x if (x * x - square) % p == 0 else x * pow(2, (p - 1) // 4, p) % p), y

    for y in key_module._SMALL_ORDER:
        assert double(double(double(point(y % p)))) == (0, 1)
    assert len({y % p for y in key_module._SMALL_ORDER}) == 5  # of orders 1, 2, 4 and twice 8
