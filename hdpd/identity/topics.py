"""Topics: the name people meet at, and the keys that only those who know it can derive."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from hdpd.errors import TopicInvalid
from hdpd.identity import contexts
from hdpd.identity.keys import derive_key

MAX_NAME_BYTES: Final = 256
SECRET_BYTES: Final = 16

# About 0.2 s and 64 MiB on a small server: as dear as a NAS can bear for each topic, because all
# that protects a topic is what guessing its name costs.
_SCRYPT_N: Final = 2**16
_SCRYPT_R: Final = 8
_SCRYPT_P: Final = 1
_SCRYPT_MAX_MEMORY_BYTES: Final = 128 * 2**20

# With scrypt at 0.2 s a guess, 2**60 guesses are beyond anybody; 20 bits more for better hardware
# and for an estimate that flatters.
_UNGUESSABLE_BITS: Final = 80.0
# A word of a large dictionary, in any language: one of 2**14.
_WORD_BITS: Final = 14.0
_SIGN_BITS: Final = 3.0
# Keyboard patterns and repetitions use few; 16 random characters hardly ever do.
_MIN_DIFFERENT_CHARS: Final = 8

_TOKEN: Final = re.compile(r"[^\W\d_]+|\d+|.", re.DOTALL)
_GENERATED: Final = re.compile(r"(?:[a-z2-7]{5}-){4}[a-z2-7]{6}")


def normalise(name: str) -> str:
    """The one form of a topic's name: NFC, no surrounding white space, case kept.

    Raises TopicInvalid when nothing is left, when it is longer than 256 bytes of UTF-8, or when
    it holds control characters, which nobody can see, type or read out.
    """
    # Before NFC and of the raw text, so that a huge string costs nothing.
    if len(name) > 4 * MAX_NAME_BYTES:
        raise TopicInvalid(
            f"a topic name is at most {MAX_NAME_BYTES} bytes long; choose a shorter one"
        )
    text = unicodedata.normalize("NFC", name).strip()
    if not text:
        raise TopicInvalid("a topic needs a name; this one is empty")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise TopicInvalid(
            "a topic name cannot hold control characters such as line breaks or tabs"
        )
    if len(text.encode()) > MAX_NAME_BYTES:
        raise TopicInvalid(
            f"a topic name is at most {MAX_NAME_BYTES} bytes long; choose a shorter one"
        )
    return text


def derive_master(name: str) -> bytes:
    """The 32-byte master key of a normalised name, by scrypt (RFC 7914).

    Takes about 0.2 s and 64 MiB and holds no lock meanwhile: call it in a thread, one at a time,
    and keep the result.
    """
    return hashlib.scrypt(
        name.encode(),
        salt=contexts.TOPIC_SALT,
        n=_SCRYPT_N,
        r=_SCRYPT_R,
        p=_SCRYPT_P,
        maxmem=_SCRYPT_MAX_MEMORY_BYTES,
        dklen=32,
    )


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic with its keys. Only `public_id` may be shown to those who do not know the name."""

    name: str = field(repr=False)
    public_id: bytes
    announcement_key: bytes = field(repr=False)
    proof_key: bytes = field(repr=False)
    knock_key: bytes = field(repr=False)
    mdns_key: bytes = field(repr=False)

    @classmethod
    def from_master(cls, name: str, master: bytes) -> Topic:
        """The topic of a normalised name and the master key that `derive_master` gave for it."""
        return cls(
            name=name,
            public_id=derive_key(master, contexts.TOPIC_PUBLIC_ID),
            announcement_key=derive_key(master, contexts.TOPIC_ANNOUNCEMENT_KEY),
            proof_key=derive_key(master, contexts.TOPIC_PROOF_KEY),
            knock_key=derive_key(master, contexts.TOPIC_KNOCK_KEY),
            mdns_key=derive_key(master, contexts.TOPIC_MDNS_KEY),
        )


def new_name(random_bytes: bytes) -> str:
    """An unguessable name of 16 random bytes: 26 characters of base32 in groups of five."""
    if len(random_bytes) != SECRET_BYTES:
        raise ValueError(f"a topic secret is {SECRET_BYTES} bytes, not {len(random_bytes)}")
    text = base64.b32encode(random_bytes).decode().rstrip("=").lower()
    return "-".join((text[0:5], text[5:10], text[10:15], text[15:20], text[20:]))


def is_guessable(name: str) -> bool:
    """Whether a name is worth a warning: an attacker might find it by trying likely ones.

    An estimate, on the side of warning: each different word counts as one of a dictionary,
    however long it is; digits and signs count for themselves.
    """
    if len(set(name)) < _MIN_DIFFERENT_CHARS:
        return True
    if _GENERATED.fullmatch(name):
        return False
    tokens = _TOKEN.findall(name.casefold())
    words = {token for token in tokens if len(token) > 2}
    short = [token for token in tokens if len(token) <= 2]
    return sum(map(_token_bits, [*words, *short])) < _UNGUESSABLE_BITS


def _token_bits(token: str) -> float:
    if token.isdigit():
        return min(len(token), 2 * len(set(token))) * math.log2(10)
    if token.isalpha():
        return min(len(token) * math.log2(26), _WORD_BITS)
    return 0.0 if token.isspace() else _SIGN_BITS
