"""Which addresses one household, or one person, has."""

from __future__ import annotations

import pytest

from hdpd.identity.addresses import household_of, source_of


@pytest.mark.parametrize(
    ("host", "household", "source"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.7"),  # for documents: in no internet
        ("9.9.9.7", "9.9.9.7", "9.9.9.0/24"),
        ("192.168.1.7", "192.168.1.7", "192.168.1.7"),
        ("100.64.1.7", "100.64.1.7", "100.64.1.7"),  # behind a carrier's NAT
        ("127.0.0.2", "127.0.0.2", "127.0.0.2"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64", "2001:db8:1:2::/64"),
        ("fe80::7%eth0", "fe80::/64", "fe80::/64"),
    ],
)
def test_a_household_and_a_source(host: str, household: str, source: str) -> None:
    assert (household_of(host), source_of(host)) == (household, source)


def test_what_is_no_address_is_a_household_of_its_own() -> None:
    assert household_of("") == ""
