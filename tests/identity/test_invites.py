"""Invite codes: they survive chat programs, and a typing mistake is told from expiry."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpd.errors import InviteExpired, InviteInvalid, ProtocolError
from hdpd.identity.invites import Invite, _base32, _checksum, parse
from hdpd.identity.keys import Identity, PeerId
from hdpd.identity.topics import new_name

NOW = 1_700_000_000
INVITE = Invite(
    peer_id=Identity.from_seed(b"a" * 32).peer_id,
    secret=bytes(range(16)),
    addresses=(("192.0.2.7", 3031), ("2001:db8::7", 65535)),
    expires=NOW + 600,
)
CODE = INVITE.encode()

hosts = st.one_of(
    st.ip_addresses(v=4, network="198.51.100.0/24"), st.ip_addresses(v=6, network="2001:db8::/32")
)
invites = st.builds(
    Invite,
    peer_id=st.binary(min_size=32, max_size=32).map(PeerId),
    secret=st.binary(min_size=16, max_size=16),
    addresses=st.lists(st.tuples(hosts.map(str), st.integers(1, 65535)), max_size=4).map(tuple),
    expires=st.integers(NOW + 1, 2**32 - 1),
)


@given(invites)
def test_a_code_reads_back(invite: Invite) -> None:
    assert parse(invite.encode(), NOW) == invite


def test_the_topic_follows_from_the_secret() -> None:
    assert parse(CODE, NOW).topic_name == new_name(INVITE.secret)


def test_codes_are_short_and_plain() -> None:
    assert set(CODE) <= set(string.ascii_lowercase + "1234567")
    assert len(Invite(INVITE.peer_id, INVITE.secret, (), NOW).encode()) == 94
    assert len(Invite(INVITE.peer_id, INVITE.secret, INVITE.addresses[:1] * 4, NOW).encode()) < 140


@pytest.mark.parametrize(
    "mangled",
    [
        CODE.upper(),
        CODE.title(),
        f"  {CODE}\r\n",
        "\n".join(CODE[start : start + 20] for start in range(0, len(CODE), 20)),
        "-".join(CODE[start : start + 4] for start in range(0, len(CODE), 4)),
        "\u00ad".join(CODE),
        CODE[:50] + "\u200b\u2011\u2013" + CODE[50:],
    ],
)
def test_what_chat_programs_do_to_a_code_does_not_matter(mangled: str) -> None:
    assert parse(mangled, NOW) == INVITE


@given(st.integers(0, len(CODE) - 1), st.characters(codec="utf-8"))
def test_any_changed_character_is_noticed(position: int, character: str) -> None:
    if character.lower() == CODE[position]:
        return
    with pytest.raises(InviteInvalid):
        parse(CODE[:position] + character + CODE[position + 1 :], NOW + 10**9)


def test_every_changed_letter_is_called_mistyped() -> None:
    for position in range(4, len(CODE)):
        for letter in string.ascii_lowercase + string.digits:
            if letter != CODE[position]:
                with pytest.raises(InviteInvalid, match="mistyped"):
                    parse(CODE[:position] + letter + CODE[position + 1 :], NOW)


@given(st.integers(4, len(CODE) - 1))
def test_a_cut_code_is_called_incomplete(length: int) -> None:
    with pytest.raises(InviteInvalid, match="incomplete"):
        parse(CODE[:length], NOW)


@pytest.mark.parametrize("text", ["", "hello", "hdp2" + CODE[4:], "x" * 5000])
def test_other_text_is_no_code(text: str) -> None:
    with pytest.raises(InviteInvalid):
        parse(text, NOW)


@given(st.text(max_size=200), st.booleans())
def test_no_text_raises_anything_else(text: str, prefixed: bool) -> None:
    with pytest.raises(InviteInvalid):
        parse("hdp1" + text if prefixed else text, NOW)


def test_an_old_code_has_expired_and_is_not_mistyped() -> None:
    parse(CODE, INVITE.expires - 1)
    with pytest.raises(InviteExpired):
        parse(CODE, INVITE.expires)


@pytest.mark.parametrize(
    "address",
    [
        b"\x04\xe0\x00\x00\xfb\x14\xe9",  # multicast
        b"\x04\xff\xff\xff\xff\x0b\xd7",  # broadcast
        b"\x04\x00\x00\x00\x00\x0b\xd7",  # unspecified
        b"\x04\xc0\x00\x02\x07\x00\x00",  # port 0
        b"\x04\xc0\x00\x02",  # cut short
        b"\x05\xc0\x00\x02\x07\x0b\xd7",  # no such kind
        b"\x04\xc0\x00\x02\x07\x0b\xd7" * 5,  # too many
    ],
)
def test_a_wellmade_code_with_bad_addresses_is_refused(address: bytes) -> None:
    body = INVITE.peer_id.raw + INVITE.secret + INVITE.expires.to_bytes(4) + address
    with pytest.raises(InviteInvalid, match="cannot be used"):
        parse("hdp1" + _base32(body + _checksum(body)), NOW)


@pytest.mark.parametrize(
    "address", [("example.org", 1), ("192.0.2.1", 0), ("192.0.2.1", 65536), ("fe80::1%eth0", 1)]
)
def test_an_invite_is_made_with_real_addresses_only(address: tuple[str, int]) -> None:
    with pytest.raises(ProtocolError):
        Invite(INVITE.peer_id, INVITE.secret, (address,), NOW)


def test_the_secret_does_not_show() -> None:
    assert repr(INVITE.secret) not in repr(INVITE)
