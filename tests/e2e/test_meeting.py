"""How peers find each other: a broker, the local network, an invite code, their book."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.e2e.conftest import needs_mosquitto
from tests.e2e.harness import Broker, Lab
from tests.waiting import wait_for


@needs_mosquitto
def test_peers_meet_through_a_broker_alone(lab: Lab, broker: Broker) -> None:
    a, b = lab.pair("--topic", "party", "--mqtt-server", broker.url)
    a.start()
    b.start()
    a.wait_connected(b, within=10)
    b.wait_connected(a, within=10)
    (peer,) = json.loads(a.ctl("peers", "--json"))["peers"]
    assert peer["name"] == b.name
    assert peer["state"] == "connected"
    assert peer["topics"] == ["party"]
    assert "mqtt" in peer["found_by"]
    assert peer["address"]
    assert peer["path"] == "lan"


@needs_mosquitto
def test_start_up_does_not_wait_for_a_broker_and_meets_when_it_comes(lab: Lab) -> None:
    broker = lab.broker()
    broker.stop()
    a, b = lab.pair("--topic", "party", "--mqtt-server", broker.url)
    a.start()
    b.start()
    assert a.connected() == set()
    broker.start()
    a.wait_connected(b, within=30)


@needs_mosquitto
def test_old_friends_meet_without_the_broker_after_a_restart(lab: Lab, broker: Broker) -> None:
    a, b = lab.pair("--topic", "party", "--mqtt-server", broker.url)
    a.start()
    b.start()
    a.wait_connected(b)
    b.wait_connected(a)
    broker.stop()
    a.stop()
    b.stop()
    a.start()
    b.start()
    a.wait_connected(b, within=15)
    b.wait_connected(a, within=15)


def test_peers_on_one_network_meet_by_mdns(lab: Lab) -> None:
    topic = f"mdns {lab.root.name}"  # other tests may be on this network too
    a, b = lab.pair("--topic", topic, "--mdns")
    a.start()
    b.start()
    a.wait_connected(b)
    b.wait_connected(a)
    (peer,) = json.loads(a.ctl("peers", "--json"))["peers"]
    assert "mdns" in peer["found_by"] or "gossip" in peer["found_by"]


def test_an_invite_code_alone_connects_two_peers(lab: Lab) -> None:
    a, b = lab.pair_by_invite()
    (topic,) = json.loads(a.ctl("topics", "--json"))["topics"]
    assert topic["peers"] == 1
    assert json.loads(b.ctl("topics", "--json"))["topics"][0]["name"] == topic["name"]
    # The topic that the code carried is kept, and so is the peer.
    a.stop()
    b.stop()
    a.start()
    b.start()
    a.wait_connected(b)


def test_a_mistyped_code_is_told_from_nonsense(lab: Lab) -> None:
    a, b = lab.pair()
    a.start()
    b.start()
    code = a.ctl("invite").strip()
    wrong = code[:-1] + ("a" if code[-1] != "a" else "b")
    assert "mistyped" in b.fails("connect", wrong)
    assert "hdp1" in b.fails("connect", "hello") or "invite" in b.fails("connect", "hello")
    assert "made here" in a.fails("connect", code)


@needs_mosquitto
def test_only_those_of_the_topic_see_each_other(lab: Lab, broker: Broker) -> None:
    a, b = lab.pair("--topic", "party", "--mqtt-server", broker.url)
    c = lab.daemon("c", "--topic", "elsewhere", "--mqtt-server", broker.url)
    (b.share / "secret.txt").write_text("for friends")
    for each in (a, b, c):
        each.start()
    a.wait_connected(b)
    b.wait_connected(a)
    assert c.rpc("peers.list", all=True)["peers"] == []
    assert c.peer_id not in {peer["id"] for peer in a.rpc("peers.list", all=True)["peers"]}

    c.ctl("topics", "join", "party")
    c.wait_connected(a, b, within=10)
    assert c.ctl("cat", f"{b.name}/media/secret.txt") == "for friends"

    c.ctl("topics", "leave", "party")
    wait_for("the others to lose c", lambda: c.peer_id not in a.connected() | b.connected())
    assert c.connected() == set()
    assert c.fails("cat", f"{b.name}/media/secret.txt")
    a.wait_connected(b)


@needs_mosquitto
def test_topics_joined_at_run_time_are_kept(lab: Lab, broker: Broker) -> None:
    a, b = lab.pair("--mqtt-server", broker.url)
    a.start()
    b.start()
    name = a.ctl("topics", "join", "--new").strip()
    b.ctl("topics", "join", name)
    a.wait_connected(b)
    a.kill()
    a.start()
    a.wait_connected(b)
    a.ctl("topics", "leave", name)
    assert "not joined" in a.fails("topics", "leave", name)
    wait_for("nobody to be connected", lambda: not a.connected() and not b.connected())


def test_a_blocked_peer_is_not_let_in(lab: Lab) -> None:
    a, b = lab.pair_by_invite()
    b_id, b_name = b.peer_id, b.name
    a.ctl("block", b_name)
    wait_for("the session to end", lambda: not b.connected())
    b.stop()
    b.start()
    states = {peer["id"]: peer["state"] for peer in a.rpc("peers.list", all=True)["peers"]}
    assert states[b_id] == "blocked"
    assert b.connected() == set()
    a.ctl("unblock", b_name)
    a.wait_connected(b)


@needs_mosquitto
def test_a_restarted_peer_is_connected_again_at_once(lab: Lab, broker: Broker) -> None:
    a, b = lab.pair("--topic", "party", "--mqtt-server", broker.url)
    a.start()
    b.start()
    a.wait_connected(b)
    for _ in range(3):
        b.kill()
        b.start()
        b.wait_connected(a, within=10)
        a.wait_connected(b, within=10)


@pytest.mark.root
@pytest.mark.skipif(shutil.which("ip") is None, reason="needs iproute2 for network namespaces")
def test_without_any_network_interface_it_starts_and_answers(lab: Lab) -> None:
    a = lab.daemon("a", "--topic", "party", "--mdns")
    with a.log_path.open("ab") as log:
        a.process = subprocess.Popen(
            ["unshare", "--net", *a.command], stdout=log, stderr=log, env=a.environment
        )
    wait_for("hdpd to be ready", lambda: a.socket.exists() and "ready:" in a.log(), within=20)
    assert a.name
    assert a.stop() == 0
