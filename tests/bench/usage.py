"""Who was busy while something was measured, and so what limits it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from tests.bench.measuring import cores_seconds, cpu_seconds, loop_seconds
from tests.e2e.harness import Daemon

BUSY = 0.9  # of the time; then nothing else can be what limits


@dataclass(frozen=True, slots=True)
class Usage:
    """Parts of the time, from 0 to 1: of all cores together, what others than the daemons had of
    that, what the host of a virtual machine took away, and of each daemon's event loop; and seconds
    of processor time of each daemon.
    """

    cores: float
    others: float
    stolen: float
    sender_loop: float
    receiver_loop: float
    sender_cpu: float
    receiver_cpu: float

    @property
    def limit(self) -> str:
        """What had no time left."""
        if self.cores + self.stolen >= BUSY:
            return "the cores together"
        if max(self.sender_loop, self.receiver_loop) >= BUSY:
            side = "sender" if self.sender_loop >= self.receiver_loop else "receiver"
            return f"the {side}'s thread"
        return "waiting, no processor"

    def __str__(self) -> str:
        shares = (
            f"busy: cores {self.cores:.0%} (others {self.others:.0%}), "
            f"sender's loop {self.sender_loop:.0%}, receiver's loop {self.receiver_loop:.0%}"
        )
        stolen = f", taken by the host {self.stolen:.0%}" if self.stolen >= 0.005 else ""
        return f"{shares}{stolen}; limit: {self.limit}"


class Meter:
    """Begins to measure when it is made."""

    def __init__(self, sender: Daemon, receiver: Daemon) -> None:
        self._daemons = sender, receiver
        self._before = self._read()

    def _read(self) -> tuple[float, ...]:
        loops = map(loop_seconds, self._daemons)
        return (time.monotonic(), *cores_seconds(), *loops, *map(cpu_seconds, self._daemons))

    def usage(self) -> Usage:
        """Since then."""
        pairs = zip(self._read(), self._before, strict=True)
        elapsed, busy, stolen, *rest = (now - before for now, before in pairs)
        cores = os.cpu_count() or 1
        sender_loop, receiver_loop, sender_cpu, receiver_cpu = rest
        return Usage(
            busy / elapsed / cores,
            (busy - sender_cpu - receiver_cpu) / elapsed / cores,
            stolen / elapsed / cores,
            sender_loop / elapsed,
            receiver_loop / elapsed,
            sender_cpu,
            receiver_cpu,
        )
