"""Path probes as scripts: only a pong that proves itself moves a connection."""

from __future__ import annotations

import pytest

from hdpd.link.paths import (
    MAX_PENDING,
    PROBE_BYTES,
    PROBE_INTERVAL_S,
    PROBE_LIFETIME_S,
    PathProbes,
    Reply,
    Role,
    probe_tag,
    stays,
)

CLIENT_NONCE, SERVER_NONCE = b"c" * 32, b"s" * 32


def both() -> tuple[PathProbes, PathProbes]:
    return (
        PathProbes("client", CLIENT_NONCE, SERVER_NONCE),
        PathProbes("server", CLIENT_NONCE, SERVER_NONCE),
    )


def nonce(number: int) -> bytes:
    return number.to_bytes(8, "big")


def ping(probes: PathProbes, path: str, number: int, now: float) -> bytes:
    made = probes.ping(path, nonce(number), now)
    assert made is not None
    return made


def test_a_pong_from_the_new_path_moves_it() -> None:
    client, server = both()
    asked = ping(server, "new", 1, 10.0)
    [pong] = client.receive(asked, "server", "server", nonce(9), 10.1).datagrams
    assert server.receive(pong, "new", "old", nonce(2), 10.2) == Reply(moved=True)


def test_a_ping_from_elsewhere_is_answered_and_asked_back() -> None:
    client, server = both()
    asked = ping(client, "server", 1, 10.0)
    reply = server.receive(asked, "new", "old", nonce(2), 10.1)
    assert not reply.moved
    pong, back = reply.datagrams
    assert client.receive(pong, "server", "server", nonce(3), 10.2) == Reply()
    [proof] = client.receive(back, "server", "server", nonce(4), 10.2).datagrams
    assert server.receive(proof, "new", "old", nonce(5), 10.3) == Reply(moved=True)


def test_a_ping_on_the_current_path_is_only_answered() -> None:
    client, server = both()
    asked = ping(client, "server", 1, 10.0)
    assert len(server.receive(asked, "old", "old", nonce(2), 10.1).datagrams) == 1


def test_a_replayed_pong_moves_nothing() -> None:
    client, server = both()
    asked = ping(server, "new", 1, 10.0)
    [pong] = client.receive(asked, "server", "server", nonce(9), 10.1).datagrams
    assert server.receive(pong, "new", "old", nonce(2), 10.2).moved
    assert server.receive(pong, "attacker", "new", nonce(3), 10.3) == Reply()
    assert server.receive(pong, "new", "other", nonce(3), 10.3) == Reply()


def test_a_pong_counts_only_from_where_it_was_asked() -> None:
    client, server = both()
    asked = ping(server, "new", 1, 10.0)
    [pong] = client.receive(asked, "server", "server", nonce(9), 10.1).datagrams
    assert server.receive(pong, "attacker", "old", nonce(2), 10.2) == Reply()


def test_a_late_pong_moves_nothing() -> None:
    client, server = both()
    asked = ping(server, "new", 1, 10.0)
    [pong] = client.receive(asked, "server", "server", nonce(9), 10.1).datagrams
    late = 10.1 + PROBE_LIFETIME_S
    assert server.receive(pong, "new", "old", nonce(2), late) == Reply()


def test_a_reflected_probe_is_none() -> None:
    _, server = both()
    asked = ping(server, "new", 1, 10.0)
    assert server.receive(asked, "new", "old", nonce(2), 10.1) == Reply()
    as_pong = b"\x06" + asked[1:]
    assert server.receive(as_pong, "new", "old", nonce(2), 10.1) == Reply()


def test_a_replayed_ping_gets_no_more_than_it_brought_and_one_question() -> None:
    client, server = both()
    asked = ping(client, "server", 1, 10.0)
    replies = [server.receive(asked, "victim", "old", nonce(n), 11.0) for n in range(2, 12)]
    assert [len(reply.datagrams) for reply in replies] == [2] + [1] * 9
    assert not any(reply.moved for reply in replies)


@pytest.mark.parametrize("position", range(PROBE_BYTES))
def test_a_forged_probe_does_nothing(position: int) -> None:
    client, server = both()
    asked = bytearray(ping(server, "new", 1, 10.0))
    [pong] = client.receive(bytes(asked), "server", "server", nonce(9), 10.1).datagrams
    forged = bytearray(pong)
    forged[position] ^= 1
    if 1 <= position <= 8:
        assert probe_tag(bytes(forged)) != server.tag  # goes to no connection or another one
    else:
        assert server.receive(bytes(forged), "new", "old", nonce(2), 10.2) == Reply()


def test_another_connection_has_another_tag_and_key() -> None:
    _, server = both()
    other = PathProbes("client", SERVER_NONCE, CLIENT_NONCE)
    assert other.tag != server.tag
    asked = ping(other, "server", 1, 10.0)
    assert server.receive(asked, "new", "old", nonce(2), 10.1) == Reply()


def test_pings_are_rare_and_few_are_remembered() -> None:
    client, _ = both()
    assert client.ping("a", nonce(0), 1.0)
    assert client.ping("a", nonce(1), 1.0 + PROBE_INTERVAL_S / 2) is None
    for number in range(2, 30):
        assert client.ping("a", nonce(number), 1.0 + number * 1.01 * PROBE_INTERVAL_S)
    assert len(client._pending) == MAX_PENDING


def test_what_is_a_probe() -> None:
    client, _ = both()
    made = ping(client, "a", 1, 0.0)
    assert probe_tag(made) == client.tag
    assert probe_tag(made[:-1]) is None
    assert probe_tag(b"\x04" + made[1:]) is None
    assert probe_tag(b"") is None


def test_two_ends_on_two_equal_paths_settle_on_one_and_stay() -> None:
    """The client's first datagrams went by both, and some come late: the server follows once they
    are past.
    """
    at: dict[Role, str] = {"client": "v4", "server": "v6"}
    heard = {("server", "v6"): 0.0, ("client", "v4"): 0.0}
    moves: list[tuple[Role, str]] = []
    now = 0.0
    while now < 5.0:
        now += 0.05
        before = dict(at)
        for sender, receiver in _BOTH_WAYS:
            late = ("v4", "v6") if sender == "client" and now < 0.25 else ()
            for path in (before[sender], *late):
                silence = now - heard.get((receiver, at[receiver]), float("-inf"))
                is_other = path != at[receiver]
                if is_other and not stays(receiver, silence, near=True, other_near=True):
                    at[receiver] = path
                    moves.append((receiver, path))
                heard[receiver, path] = now
    assert moves == [("server", "v4")]
    assert at["client"] == at["server"]


_BOTH_WAYS: tuple[tuple[Role, Role], ...] = (("client", "server"), ("server", "client"))


@pytest.mark.parametrize(
    ("role", "silence", "near", "other_near", "stayed"),
    [
        ("client", 1.0, True, True, True),
        ("client", 2.5, True, True, False),
        ("server", 0.1, True, True, True),
        ("server", 0.5, True, True, False),
        ("server", 1.0, True, False, True),
        ("server", 2.5, True, False, False),
        ("client", 0.0, False, True, False),
        ("server", 0.0, False, False, False),
    ],
)
def test_when_a_connection_stays_where_it_is(
    role: Role, silence: float, near: bool, other_near: bool, stayed: bool
) -> None:
    assert stays(role, silence, near=near, other_near=other_near) == stayed
