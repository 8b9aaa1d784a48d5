"""How well limits of the rates are kept: by one who sends to three, and by one who receives."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measuring import MiB, laboratory
from tests.bench.report import Row
from tests.bench.trees import random_file
from tests.e2e.harness import Daemon
from tests.waiting import wait_for

PEERS = 3
WINDOW_S = 10.0
SETTLE_S = 2.0  # from the first bytes, until all have begun
POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Sample:
    """What all together had received by then."""

    at: float
    received: int


def window_rates(samples: Sequence[Sample], window: float) -> list[float]:
    """Bytes per second between each sample and the first one that is `window` seconds later."""
    rates = []
    later = 0
    for first in samples:
        while later < len(samples) and samples[later].at - first.at < window:
            later += 1
        if later == len(samples):
            break
        last = samples[later]
        rates.append((last.received - first.received) / (last.at - first.at))
    return rates


def worst_percent(rates: Sequence[float], limit: int) -> float:
    """How far the worst of them is from the limit, on either side of it."""
    return 100 * max(abs(rate / limit - 1) for rate in rates)


def received(daemon: Daemon) -> int:
    return sum(each["received_bytes"] for each in daemon.rpc("downloads.list")["downloads"])


def watch(daemons: Sequence[Daemon], seconds: float) -> tuple[list[Sample], list[int]]:
    """Samples from SETTLE_S on, for so long; and what each one received meanwhile."""
    wait_for("the first bytes", lambda: all(map(received, daemons)), within=60, poll=0.05)
    time.sleep(SETTLE_S)
    first = list(map(received, daemons))
    samples = []
    latest = first
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        latest = list(map(received, daemons))
        samples.append(Sample(time.monotonic(), sum(latest)))
        time.sleep(POLL_S)
    return samples, [now - before for now, before in zip(latest, first, strict=True)]


def limit_rows(directory: Path, *, quick: bool) -> Iterator[Row]:
    """The windows begin every quarter of a second; of them the worst counts. A limit that follows
    another one is changed while the downloads go on.
    """
    limits = (2,) if quick else (2, 20)
    with laboratory(directory) as lab:
        server, *peers = (lab.daemon(name).start() for name in "abcd")
        random_file(server.share / "film", (128 if quick else 1024) * MiB)
        server.ctl("shares", "rescan")
        server.wait_scanned()
        for peer in peers:
            peer.ctl("connect", server.ctl("invite").strip())
        sides = [("upload", server, peers), ("download", peers[0], peers[:1])]
        for direction, limited, receivers in sides[: 1 if quick else 2]:
            for megabytes in limits:
                limited.ctl("limits", f"--{direction}", f"{megabytes}MB/s")
                yield _kept_row(server, receivers, direction, megabytes, quick=quick)
            for peer in receivers:
                peer.rpc("downloads.cancel", ids=_ids(peer))
            limited.ctl("limits", "--reset")


def _kept_row(
    server: Daemon, receivers: Sequence[Daemon], direction: str, megabytes: int, *, quick: bool
) -> Row:
    for peer in receivers:
        if not _ids(peer):
            wait_for("the server", lambda peer=peer: server.peer_id in peer.connected())  # type: ignore[misc]
            peer.rpc("downloads.add", peer=server.peer_id, path="media/film")
    samples, parts = watch(receivers, WINDOW_S + (2 if quick else 15))
    rates = window_rates(samples, WINDOW_S)
    note = f"{min(rates) / 1e6:.3g} to {max(rates) / 1e6:.3g} MB/s in {len(rates)} windows of 10 s"
    if len(parts) > 1:
        note += f"; parts of the peers: {', '.join(f'{part / sum(parts):.0%}' for part in parts)}"
    name = f"limit of {megabytes} MB/s, {direction}, peers: {len(receivers)}"
    return Row(f"{name}: off by", worst_percent(rates, megabytes * 1_000_000), "%", -5, note)


def _ids(daemon: Daemon) -> list[str]:
    """Of the downloads that are not done."""
    listed = daemon.rpc("downloads.list")["downloads"]
    return [each["id"] for each in listed if each["state"] != "done"]
