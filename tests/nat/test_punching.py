"""Punching with real daemons and kernel NATs: what the matrix of pairs does not show."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Daemon
from tests.nat.conftest import needs_laboratory
from tests.nat.lab import Internet, NatDaemon
from tests.waiting import wait_for

pytestmark = needs_laboratory

BACK_S = 10.0
SIZE = 64 * 1024 * 1024


def peer_of(daemon: Daemon, other: str) -> dict[str, Any]:
    peers = json.loads(daemon.ctl("peers", "--all", "--json"))["peers"]
    found: list[dict[str, Any]] = [peer for peer in peers if peer["id"] == other]
    return found[0] if found else {}


def pair(internet: Internet, first: str, second: str) -> tuple[NatDaemon, NatDaemon]:
    a = internet.daemon(internet.site(first).host()).start()
    b = internet.daemon(internet.site(second).host()).start()
    assert isinstance(a, NatDaemon)
    assert isinstance(b, NatDaemon)
    return a, b


def connected_pair(internet: Internet, first: str, second: str) -> tuple[NatDaemon, NatDaemon]:
    a, b = pair(internet, first, second)
    a.wait_connected(b, within=40)
    b.wait_connected(a)
    return a, b


def make_file(daemon: NatDaemon) -> Path:
    path = daemon.share / "film"
    path.write_bytes(os.urandom(1024) * (SIZE // 1024))
    daemon.ctl("shares", "rescan")
    daemon.wait_scanned()
    return path


def test_two_hard_sides_are_told_why(internet: Internet) -> None:
    a, b = pair(internet, "hard", "hard")
    reason = "not reachable directly: both behind hard NAT"
    for one, other in ((a, b), (b, a)):
        other_id = other.peer_id
        wait_for(
            "the reason",
            lambda: ((peer_of(one, other_id).get("error") or {}).get("message")) == reason,  # noqa: B023
            within=60,
        )
    explained = wait_for("all to be tried", lambda: all_tried(a, b), within=20) or {}
    assert reason in explained["reason"]
    assert (explained["own_nat"], explained["peer_nat"]) == ("hard", "hard")
    assert any("forward" in advice for advice in explained["advice"])
    assert reason in a.ctl("why", b.peer_id)


def all_tried(one: NatDaemon, other: NatDaemon) -> dict[str, Any] | None:
    """What is said of why they do not meet, once every way has been tried."""
    explained: dict[str, Any] = json.loads(one.ctl("why", other.peer_id, "--json"))
    tried = {each["kind"] for each in explained["tries"]}
    return explained if tried >= {"dial", "request", "punch"} else None


def test_a_common_peer_is_as_good_as_a_broker(internet: Internet) -> None:
    middle = internet.daemon(internet.site("public").host(), "--topic", "a", "--topic", "b")
    first = internet.daemon(internet.site("easy").host(), "--topic", "a").start()
    second = internet.daemon(internet.site("easy").host(), "--topic", "b").start()
    middle.start()
    for one in (first, second):
        wait_for("the first two pairs", one.connected, within=20)
    internet.stop_broker()
    time.sleep(2)
    # Only now do the two have a topic in common, of which they can learn from the third only.
    for daemon in (first, second, middle):
        daemon.ctl("topics", "join", "together")
    wait_for(
        "the third pair",
        lambda: second.peer_id in first.connected() and first.peer_id in second.connected(),
        within=30,
    )
    assert "gossip" in peer_of(first, second.peer_id)["found_by"]


def test_a_transfer_survives_routers_that_forget(internet: Internet) -> None:
    a, b = connected_pair(internet, "easy", "easy")
    film = make_file(a)
    # About ten seconds for the file, so that there is a middle of it.
    a.host.site.router.run(
        *("tc", "qdisc", "add", "dev", "wan", "root", "tbf"),
        *("rate", "50mbit", "burst", "64kb", "latency", "50ms"),
    )
    b.ctl("download", f"{a.name}/media/film")
    wait_for("the first bytes", lambda: progress(b)["done_bytes"] > 0, within=20)
    a.host.site.forget_mappings()
    b.host.site.forget_mappings()
    assert progress(b)["state"] == "downloading"
    before = progress(b)["done_bytes"]
    wait_for("the download to go on", lambda: progress(b)["done_bytes"] > before, within=BACK_S)
    wait_for("the download to be done", lambda: done(b), within=60)
    assert (b.downloads / "film").read_bytes() == film.read_bytes()


def progress(daemon: NatDaemon) -> dict[str, Any]:
    downloads: list[dict[str, Any]] = json.loads(daemon.ctl("queue", "--json"))["downloads"]
    return downloads[0]


def done(daemon: NatDaemon) -> bool:
    return bool(progress(daemon)["state"] == "done")


def answers(daemon: NatDaemon, other: NatDaemon) -> bool:
    listed = daemon.ctl_bytes("ls", f"{other.name}/media", check=False, timeout=8)
    return b"film" in listed


def test_a_session_is_back_after_an_address_changed(internet: Internet) -> None:
    a, b = connected_pair(internet, "easy", "easy")
    make_file(a)
    assert answers(b, a)
    a.host.site.change_address()
    began = time.monotonic()
    wait_for("the session to be back", lambda: answers(b, a), within=BACK_S + 5)
    assert time.monotonic() - began < BACK_S + 5


def test_a_short_memory_of_a_nat_is_no_harm(internet: Internet) -> None:
    a, b = connected_pair(internet, "easy", "hard")
    for daemon in (a, b):
        daemon.host.site.set_udp_timeout(30)
    before = peer_of(a, b.peer_id)["connected_since"]
    time.sleep(45)
    after = peer_of(a, b.peer_id)
    assert after["state"] == "connected"
    assert abs(after["connected_since"] - before) < 2


@pytest.mark.parametrize("asleep", [12, 45], ids=["for_a_moment", "beyond_the_idle_timeout"])
def test_a_machine_that_slept_is_back(internet: Internet, asleep: float) -> None:
    a, b = connected_pair(internet, "easy", "hard")
    make_file(a)
    assert a.process is not None
    os.kill(a.process.pid, signal.SIGSTOP)
    time.sleep(asleep)
    os.kill(a.process.pid, signal.SIGCONT)
    wait_for(
        "the share of the one that slept",
        lambda: "film" in b.ctl("ls", f"{a.peer_id}/media", check=False),
        within=BACK_S,
    )
    b.wait_connected(a)
    a.wait_connected(b)
