"""SIGHUP: what a new configuration changes while hdpd runs, and that a mistake changes nothing."""

from __future__ import annotations

import signal
from typing import Any

from tests.e2e.harness import Daemon, Lab
from tests.waiting import wait_for


def hang_up(daemon: Daemon) -> None:
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)


def configuration(daemon: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = daemon.rpc("daemon.info")["configuration"]
    return found


def topics(daemon: Daemon) -> dict[str, bool]:
    """The joined topics, and whether each is in the configuration."""
    return {topic["name"]: topic["configured"] for topic in daemon.rpc("topics.list")["topics"]}


def test_a_new_configuration_is_taken_over_and_a_broken_one_is_not(lab: Lab) -> None:
    file = lab.root / "hdpd.toml"
    file.write_text('topics = ["one", "two"]')
    daemon = lab.daemon("a", "--config", str(file)).start()
    daemon.rpc("topics.join", name="by hand")

    file.write_text('topics = ["two", "three"]\n[network]\nquic_engine = "aioquic"')
    hang_up(daemon)
    wait_for("the report", lambda: configuration(daemon)["restart_needed"])
    assert configuration(daemon)["restart_needed"] == ["network.quic_engine"]
    assert topics(daemon) == {"two": True, "three": True, "by hand": False}

    file.write_text('topcs = ["x"]')
    hang_up(daemon)
    refused = wait_for("the refusal", lambda: configuration(daemon)["refused"])
    assert "hdpd.toml:1: unknown key 'topcs'" in refused
    assert topics(daemon) == {"two": True, "three": True, "by hand": False}
    assert daemon.stop() == 0
