"""Every context string under which a key or a topic secret is used, in one place.

A signature, hash or derived key made for one purpose can never be taken for one of another
purpose, because each begins with its own string from this file. None holds a NUL byte, which is
what ends a context inside a signed message. Two equal strings here would be a security bug; a
test compares them all.
"""

from __future__ import annotations

from typing import Final

# Ed25519 signatures by the identity key.
HELLO_CLIENT_SIGNATURE: Final = b"hdp/1 hello client"
RECORD_SIGNATURE: Final = b"hdp/1 record"

# HKDF info strings, from the identity seed.
EXCHANGE_KEY: Final = b"hdp/1 exchange key"
PCP_NONCE: Final = b"hdp/1 pcp nonce"

# scrypt salt, and HKDF info strings from the topic's master key.
TOPIC_SALT: Final = b"hdp/1 topic"
TOPIC_PUBLIC_ID: Final = b"hdp/1 topic public id"
TOPIC_ANNOUNCEMENT_KEY: Final = b"hdp/1 topic announcement key"
TOPIC_PROOF_KEY: Final = b"hdp/1 topic proof key"
TOPIC_KNOCK_KEY: Final = b"hdp/1 topic knock key"
TOPIC_MDNS_KEY: Final = b"hdp/1 topic mdns key"

# SHA-256 prefixes.
NAME_HASH: Final = b"hdp/1 name"
CERTIFICATE_SERIAL: Final = b"hdp/1 certificate serial"
INVITE_CHECKSUM: Final = b"hdp/1 invite"

# Message prefixes under keys that have other uses, or that say who speaks.
KNOCK: Final = b"hdp/1 knock"
HELLO_TRANSCRIPT: Final = "hdp/1"
TOPICS_TRANSCRIPT: Final = "hdp/1 topics"

# HKDF info strings, from the nonces of a hello.
PATH_KEY: Final = b"hdp/1 path key"
PATH_TAG: Final = b"hdp/1 path tag"

# HKDF info prefixes, from the X25519 secret of two peers.
PUNCH_KEY: Final = b"hdp/1 punch key"
PUNCH_TAG: Final = b"hdp/1 punch tag"

# Associated data of an mDNS slot, beside the key that is for mDNS only.
MDNS_SLOT: Final = b"hdp/1 mdns slot"
