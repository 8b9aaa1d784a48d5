"""Who has to go when all places at the control port are taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hdpd.control.places import Place, Places


class Port:
    """A control port with few places; `gone` are the connections that had to go, by name."""

    def __init__(self, most: int, share: int) -> None:
        self.places = Places(most, share)
        self.gone: list[str] = []

    def connect(self, name: str, host: str, port: int) -> Place:
        place = Place((host, port), lambda: self.gone.append(name))
        self.places.take(place)
        return place


def test_an_address_has_its_share_and_its_oldest_goes() -> None:
    port = Port(10, 2)
    for number in range(4):
        port.connect(f"m{number}", "192.168.1.66", number)
    port.connect("anna", "192.168.1.5", 1)
    assert port.gone == ["m0", "m1"]
    assert port.places.ended == 2


def test_of_the_address_with_the_most_one_goes_when_all_places_are_taken() -> None:
    port = Port(4, 3)
    for number in range(3):
        port.connect(f"m{number}", "192.168.1.66", number)
    port.connect("anna", "192.168.1.5", 1)
    port.connect("bert", "192.168.1.6", 1)
    assert port.gone == ["m0"]


def test_who_has_shown_a_token_stays_and_is_in_no_share() -> None:
    port = Port(4, 2)
    for number in range(3):
        port.connect(f"owner{number}", "192.168.1.5", number).is_known = True
    for number in range(5):
        port.connect(f"m{number}", "192.168.1.5", 100 + number)
    assert port.gone == ["m0", "m1", "m2", "m3"]
    assert len(port.places) == 4


def test_addresses_of_one_network_are_one() -> None:
    port = Port(10, 2)
    for number in range(3):
        port.connect(f"m{number}", f"2001:db8::{number}", 1)
    assert port.gone == ["m0"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["connect", "know", "close"]), st.integers(0, 5)), max_size=80
    )
)
def test_there_are_never_more_than_there_are_places(events: list[tuple[str, int]]) -> None:
    port = Port(6, 3)
    open_: list[Place] = []
    for number, (kind, which) in enumerate(events):
        if kind == "connect":
            open_.append(port.connect(str(number), f"192.168.1.{which}", number))
        elif open_:
            place = open_[which % len(open_)]
            if kind == "know":
                place.is_known = True
            else:
                port.places.free(place)
                open_.remove(place)
        assert len(port.places) <= 6
