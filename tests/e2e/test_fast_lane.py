"""What a person waits for passes those who wait for large files."""

from __future__ import annotations

import os

from tests.e2e.conftest import needs_mosquitto
from tests.e2e.harness import Broker, Daemon, Lab
from tests.waiting import wait_for

MIB = 1 << 20


def states(daemon: Daemon) -> list[str]:
    return [each["state"] for each in daemon.rpc("downloads.list")["downloads"]]


@needs_mosquitto
def test_playing_and_small_files_do_not_wait_for_a_slot(lab: Lab, broker: Broker) -> None:
    configuration = lab.root / "hdpd.toml"
    configuration.write_text("[transfers]\nupload_slots = 1\n")
    flags = ("--topic", "party", "--mqtt-server", broker.url)
    server = lab.daemon("a", *flags, "--config", str(configuration)).start()
    holder, waiter, player = (lab.daemon(name, *flags).start() for name in "bcd")
    film = os.urandom(8 * MIB)
    (server.share / "film").write_bytes(film)
    (server.share / "cover").write_bytes(film[:5000])
    server.ctl("shares", "rescan")
    server.wait_connected(holder, waiter, player)
    server.wait_scanned()
    server.ctl("limits", "--upload", "100kB/s")  # so that the one slot is taken for a minute
    holder.rpc("downloads.add", peer=server.peer_id, path="media/film")
    wait_for("the slot to be taken", lambda: states(holder) == ["downloading"])
    waiter.rpc("downloads.add", peer=server.peer_id, path="media/film")
    wait_for("the line", lambda: states(waiter) == ["remote_queued"])

    cover = player.ctl_bytes("cat", f"{server.name}/media/cover")
    scene = player.ctl_bytes("cat", f"{server.name}/media/film", "--length", "100000")
    assert (cover, scene) == (film[:5000], film[:100_000])
    assert states(waiter) == ["remote_queued"]
    server.ctl("limits", "--reset")
    for daemon in (holder, waiter):
        wait_for("the rest", lambda daemon=daemon: states(daemon) == ["done"])  # type: ignore[misc]
        assert (daemon.downloads / "film").read_bytes() == film
