"""The punch and its pacing as scripts: what is sent when, and what forged packets change."""

from __future__ import annotations

import random

from hdpd.discovery.records import Candidate, NatKind
from hdpd.identity.keys import Identity
from hdpd.punching.birthday import PROBES, SOCKETS, Opener, Prober, part_of, public_ipv4
from hdpd.punching.pacing import (
    HEARD_S,
    MAX_BIRTHDAY_RUNS,
    MAX_HOSTS,
    MAX_PACKETS_PER_S,
    MAX_STRANGER_PACKETS_PER_S,
    Pacer,
)
from hdpd.punching.packets import PacketCodec, PunchKeys
from hdpd.punching.punch import (
    BASE,
    HELD_S,
    MAX_WAYS,
    ORDINARY_S,
    SETTLE_S,
    TICK_S,
    Punch,
    Send,
    Way,
)

A, B = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2))
LAN = Candidate("192.168.1.2", 3031, "local")
STUN = Candidate("198.51.100.2", 40000, "stun")


def keys(own: Identity, peer: Identity) -> PunchKeys:
    nonces = (b"a" * 16, b"b" * 16) if own is A else (b"b" * 16, b"a" * 16)
    return PunchKeys.derive(own, peer.peer_id, peer.exchange_public, b"t" * 32, nonces)


def punch(own: NatKind = "easy", peer: NatKind = "easy", *, room: bool = True) -> Punch:
    return Punch(
        keys(A, B),
        own,
        peer,
        (LAN, STUN),
        0.0,
        random.Random(1).randbytes,
        lambda: room,
    )


def run(machine: Punch, until: float, since: float = 0.0) -> list[tuple[float, Send]]:
    """Everything sent in that time."""
    sent, tick = [], round(since / TICK_S)
    while (now := tick * TICK_S) <= until and not machine.is_over(now):
        sent += [(now, send) for send in machine.advance(now)]
        tick += 1
    return sent


def test_every_candidate_is_pinged_often_at_first() -> None:
    times = [now for now, send in run(punch(), 2.0) if send.way == Way(BASE, ("192.168.1.2", 3031))]
    assert [round(now, 1) for now in times] == [0.0, 0.1, 0.3, 0.4, 0.5, 0.7, 1.2, 1.7]


def test_a_pong_proves_the_way_and_warms_it() -> None:
    machine, peer = punch(), PacketCodec(keys(B, A))
    ping = next(s for s in machine.advance(0.0) if s.way.address == ("198.51.100.2", 40000))
    packet = peer.read(ping.datagram)
    assert packet is not None
    # It comes from another port than was pinged: what is proved is where the ping went.
    assert machine.receive(peer.pong(packet.nonce), Way(BASE, ("198.51.100.2", 50000)), 0.04) == []
    assert machine.proved() == {ping.way: 0.04}
    assert not machine.is_settled(0.04)
    assert machine.is_settled(0.04 + SETTLE_S)
    warming = run(machine, 0.04 + HELD_S, since=0.1)
    assert {send.way for _, send in warming} == {ping.way}
    assert len(warming) == round(HELD_S)
    assert machine.is_over(0.04 + HELD_S)


def test_a_ping_from_elsewhere_is_answered_and_asked_back_once() -> None:
    machine, peer = punch(), PacketCodec(keys(B, A))
    elsewhere = Way(BASE, ("198.51.100.9", 50000))
    replies = machine.receive(peer.ping(bytes(8)), elsewhere, 0.0)
    assert replies is not None
    assert [peer.read(reply.datagram) is not None for reply in replies] == [True, True]
    again = machine.receive(peer.ping(bytes(8)), elsewhere, 0.01)
    assert again is not None
    assert len(again) == 1
    assert machine.proved() == {}
    assert machine.slots_in_use() == {BASE}


def test_forged_and_replayed_packets_change_nothing() -> None:
    machine, peer = punch(), PacketCodec(keys(B, A))
    ping = peer.ping(bytes(8))
    way = Way(BASE, ("203.0.113.66", 6))
    assert machine.receive(ping[:-1] + bytes([ping[-1] ^ 1]), way, 0.0) is None
    assert machine.receive(peer.pong(b"unasked!"), way, 0.0) == []
    assert machine.receive(ping, Way(BASE, ("198.51.100.2", 40000)), 0.0)
    assert machine.receive(ping, way, 0.1) is None
    assert machine.proved() == {}
    assert way not in machine.ways


def test_a_pong_counts_once() -> None:
    machine, peer = punch(), PacketCodec(keys(B, A))
    packet = peer.read(machine.advance(0.0)[0].datagram)
    assert packet is not None
    for _ in range(2):
        machine.receive(peer.pong(packet.nonce), Way(BASE, ("192.168.1.2", 3031)), 1.0)
    assert list(machine.proved().values()) == [1.0]


def test_a_peer_cannot_make_us_ping_the_whole_world() -> None:
    machine, peer = punch(), PacketCodec(keys(B, A))
    asked = 0
    for port in range(1, 1000):
        replies = machine.receive(peer.ping(bytes(8)), Way(BASE, ("203.0.113.1", port)), 1.0)
        assert replies is not None
        asked += len(replies) - 1
    assert asked == MAX_WAYS


def test_no_birthday_run_without_room() -> None:
    machine = punch("easy", "hard", room=False)
    assert not any(send.birthday for _, send in run(machine, 30.0))
    assert machine.is_over(ORDINARY_S)


def test_the_parts_of_a_birthday_run() -> None:
    kinds: tuple[NatKind, ...] = ("unknown", "none", "easy", "hard")
    assert [part_of("hard", kind) for kind in kinds] == ["open", "open", "open", "none"]
    assert [part_of(kind, "hard") for kind in kinds] == ["probe", "probe", "probe", "none"]
    assert {part_of(a, b) for a in kinds[:3] for b in kinds[:3]} == {"none"}


def test_the_prober_probes_each_port_once_at_a_steady_pace() -> None:
    sent = [(now, s) for now, s in run(punch("easy", "hard"), 20.0) if s.birthday]
    assert len(sent) == PROBES
    assert len({send.way for _, send in sent}) == PROBES
    assert {send.way.address[0] for _, send in sent} == {"198.51.100.2"}
    assert all(1024 <= send.way.address[1] <= 65535 for _, send in sent)
    assert 10.0 < sent[-1][0] - sent[0][0] < 11.0


def test_the_opener_sends_from_each_socket_again_and_again() -> None:
    sent = [send for _, send in run(punch("hard", "easy"), 20.0) if send.birthday]
    assert {send.way.address for send in sent} == {("198.51.100.2", 40000)}
    slots = [send.way.slot for send in sent]
    assert slots[:SOCKETS] == list(range(1, SOCKETS + 1))
    assert slots[SOCKETS : 2 * SOCKETS] == slots[:SOCKETS]
    assert 3 * SOCKETS < len(sent) < 4 * SOCKETS


def test_late_calls_do_not_make_a_burst() -> None:
    assert len(Opener(0.0).advance(100.0)) <= 20
    assert len(Prober(0.0, (), random.Random(1).randbytes).advance(100.0)) <= 20


def test_the_public_address_of_a_peer() -> None:
    mapped = Candidate("198.51.100.2", 1, "mapped")
    carrier = Candidate("100.64.0.1", 1, "local")
    own = Candidate("203.0.113.9", 1, "local")
    ipv6 = Candidate("2001:db8::1", 1, "stun")
    assert public_ipv4([ipv6, LAN, mapped, STUN]) == ("198.51.100.2", 40000)
    assert public_ipv4([LAN, carrier, mapped]) == ("198.51.100.2", 1)
    assert public_ipv4([LAN, own]) == ("203.0.113.9", 1)
    assert public_ipv4([LAN, carrier, ipv6]) is None


def count(pacer: Pacer, host: str, seconds: int, *, birthday: bool = False) -> int:
    """How many of 1,000 packets a second are let through."""
    return sum(
        pacer.allow(host, millisecond / 1000, birthday=birthday)
        for millisecond in range(seconds * 1000)
    )


def test_a_stranger_gets_little() -> None:
    assert count(Pacer(), "203.0.113.1", 10) <= 10 * MAX_STRANGER_PACKETS_PER_S + 12


def test_whoever_is_heard_gets_more_for_a_while() -> None:
    pacer = Pacer()
    pacer.heard("203.0.113.1", 0.0)
    allowed = count(pacer, "203.0.113.1", 10)
    most = HEARD_S * MAX_PACKETS_PER_S + (10 - HEARD_S) * MAX_STRANGER_PACKETS_PER_S + 62
    assert HEARD_S * MAX_PACKETS_PER_S < allowed <= most


def test_the_whole_process_has_a_limit() -> None:
    pacer = Pacer()
    allowed = sum(
        pacer.allow(f"203.0.113.{host}", millisecond / 1000, birthday=host == 0)
        for millisecond in range(4000)
        for host in range(20)
    )
    assert allowed <= 4 * MAX_PACKETS_PER_S + 50


def test_birthday_runs_are_few() -> None:
    pacer = Pacer()
    assert [pacer.begin_birthday(n) for n in range(3)] == [True] * MAX_BIRTHDAY_RUNS + [False]
    assert pacer.begin_birthday(0)
    pacer.end_birthday(0)
    assert pacer.begin_birthday(2)


def test_a_pacer_stays_small() -> None:
    pacer = Pacer()
    for number in range(2 * MAX_HOSTS):
        pacer.allow(str(number), float(number))
        pacer.heard(str(number), float(number))
    assert len(pacer._strangers) == len(pacer._heard) == MAX_HOSTS
