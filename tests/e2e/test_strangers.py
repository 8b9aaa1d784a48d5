"""A stranger who knows no topic gets not one byte back."""

from __future__ import annotations

import os
import random
import socket
import time

from hdpd.identity.keys import Identity, PeerId
from hdpd.identity.topics import Topic
from hdpd.link.engine import EngineFactory
from hdpd.link.knock import make_knock
from tests.e2e.harness import Lab


def test_a_port_scanner_gets_no_answer(lab: Lab) -> None:
    a = lab.daemon("a", "--topic", "party").start()
    (port,) = a.rpc("daemon.info")["udp_ports"]
    stranger = Identity.from_seed(os.urandom(32))
    initial = EngineFactory("qh3", stranger.certificate()).connect(0.0).datagrams_to_send(0.0)[0]
    chance = random.Random(1)
    probes = [initial, b"", b"\0", b"\x04" * 33, initial[:1199], b"\x80" + initial[1:]]
    probes += [chance.randbytes(chance.randrange(1, 1400)) for _ in range(500)]
    probes += [bytes([first]) + chance.randbytes(1250) for first in range(256)]
    wrong_topic = Topic.from_master("other", os.urandom(32))
    probes.append(make_knock(wrong_topic, PeerId.parse(a.peer_id), os.urandom(16)))
    probes.append(initial)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as scanner:
        scanner.connect(("127.0.0.1", port))
        for probe in probes:
            scanner.send(probe)
        scanner.settimeout(3)
        deadline = time.monotonic() + 3
        try:
            answer = scanner.recv(2000)
        except TimeoutError:
            answer = None
        assert answer is None, f"{len(answer or b'')} bytes came back"
        assert time.monotonic() >= deadline - 0.5
    assert a.name, "and it is still well"
