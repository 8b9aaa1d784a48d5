"""The laboratory is what it claims to be: each NAT behaves as its name says."""

from __future__ import annotations

import sys

import pytest

from tests.nat.conftest import needs_laboratory, quick
from tests.nat.lab import STUN, Host, Internet

# Prints the port that each server saw, or nothing; from one socket.
_ASK = """
import socket, sys
from aioice import stun
opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
opened.bind(("", 5000))
opened.settimeout(0.5)
for server in sys.argv[1:]:
    opened.sendto(bytes(stun.Message(stun.Method.BINDING, stun.Class.REQUEST)), (server, 3478))
    try:
        answer = stun.parse_message(opened.recv(999))
    except TimeoutError:
        continue
    print(*answer.attributes["XOR-MAPPED-ADDRESS"])
"""


def seen(host: Host) -> list[tuple[str, int]]:
    """What the two STUN servers see of one socket of a host."""
    lines = host.machine.run(sys.executable, "-c", _ASK, *STUN).splitlines()
    return [(address, int(port)) for address, port in map(str.split, lines)]


@needs_laboratory
@pytest.mark.parametrize(
    ("kind", "same_port"),
    [
        ("public", True),
        pytest.param("easy", True, marks=quick),
        ("carrier", True),
        pytest.param("hard", False, marks=quick),
        ("hard-carrier", False),
    ],
)
def test_a_nat_maps_as_its_name_says(internet: Internet, kind: str, same_port: bool) -> None:
    site = internet.site(kind)
    (first, one), (second, two) = seen(site.host())
    assert first == second == site.public
    assert (one == two) == same_port


@needs_laboratory
def test_homes_change(internet: Internet) -> None:
    home, blocked = internet.site("easy"), internet.site("no-udp")
    host = home.host()
    assert seen(host)[0] == (home.public, 5000)
    home.forget_mappings()
    assert seen(host)[0][1] != 5000
    before = home.public
    assert home.change_address() != before
    assert seen(host)[0][0] == home.public
    home.unplug()
    assert seen(host) == []
    home.plug_in()
    assert seen(host)[0][0] == home.public
    assert seen(blocked.host()) == []


@needs_laboratory
def test_neighbours_share_the_address_of_their_carrier(internet: Internet) -> None:
    one = internet.site("carrier")
    other = internet.site("carrier", neighbour=one)
    assert one.wan != other.wan
    assert seen(one.host())[0][0] == seen(other.host())[0][0] == one.public
