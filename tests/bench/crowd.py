"""Many peers that download from one daemon at once: what all get together, and what the last gets.

The load generator is one process with a session for each peer; it reads and throws away.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hdpd.errors import HdpdError
from hdpd.identity.keys import PeerId
from hdpd.identity.topics import Topic, derive_master
from hdpd.link.session import Session, dial_hello
from hdpd.remote.reads import start_read
from hdpd.wire.messages import Read
from hdpd.wire.paths import RemotePath
from tests.bench.measuring import laboratory, loop_seconds, resident_mb
from tests.bench.report import Row
from tests.bench.trees import random_file
from tests.e2e.harness import Daemon
from tests.link.helpers import Node, nodes

MiB = 1024 * 1024
TOPIC = "crowd"
FILE_BYTES = 64 * MiB
READ_BYTES = 1 * MiB
READS_AT_ONCE = 4
PATH = RemotePath(b"media/film")


class Downloader:
    """One peer that reads the film again and again."""

    def __init__(self, session: Session) -> None:
        self.received = 0
        self._session = session
        self._next = 0

    def _arrived(self, size: int) -> None:
        self.received += size

    async def run(self) -> None:
        await asyncio.gather(*(self._read_on() for _ in range(READS_AT_ONCE)))

    async def _read_on(self) -> None:
        while True:
            offset = self._next * READ_BYTES % FILE_BYTES
            self._next += 1
            request = Read(PATH, offset, READ_BYTES)
            try:
                read = await start_read(self._session, request, lambda *_place: None, self._arrived)
                with read.stream:
                    while await read.chunks():
                        pass
            except HdpdError:
                await asyncio.sleep(0.1)  # its turn is over, or there is another one in line


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes per second of each peer; the parts of the time that the daemon's event loop was busy,
    and the load generator.
    """

    rates: list[float]
    daemon: float
    generator: float

    @property
    def together(self) -> float:
        return sum(self.rates)

    def __str__(self) -> str:
        return (
            f"{self.together / 1e6:.0f} MB/s (daemon's loop {self.daemon:.0%}, "
            f"generator {self.generator:.0%} busy)"
        )


async def _measure(daemon: Daemon, port: int, count: int, seconds: float) -> Measured:
    """What `count` peers get."""
    topic = Topic.from_master(TOPIC, derive_master(TOPIC))
    target = PeerId.parse(daemon.peer_id)
    made = [Node(topics=(topic,)) for _ in range(count)]
    async with nodes(*made):
        downloaders = []
        for node in made:
            connection = node.endpoint.dial(target, [("127.0.0.1", port)], topic)
            downloaders.append(Downloader(await dial_hello(connection, node.around, target)))
        tasks = [asyncio.create_task(each.run()) for each in downloaders]
        await asyncio.sleep(2)
        before = [each.received for each in downloaders]
        began, loop, own = time.monotonic(), loop_seconds(daemon), time.process_time()
        await asyncio.sleep(seconds)
        elapsed = time.monotonic() - began
        busy = (loop_seconds(daemon) - loop) / elapsed, (time.process_time() - own) / elapsed
        rates = [
            (each.received - earlier) / elapsed
            for each, earlier in zip(downloaders, before, strict=True)
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Measured(rates, *busy)


def crowd_rows(directory: Path, peers: int, seconds: float) -> Iterator[Row]:
    """`seconds` has to be long enough for each to have some turns."""
    alone_s = min(8, seconds / 2)
    with laboratory(directory) as lab:
        daemon = lab.daemon("a", "--topic", TOPIC)
        random_file(daemon.share / "film", FILE_BYTES)
        daemon.start().wait_scanned()
        port = daemon.rpc("daemon.info")["udp_ports"][0]
        before = asyncio.run(_measure(daemon, port, 1, alone_s))
        crowd = asyncio.run(_measure(daemon, port, peers, seconds))
        memory = resident_mb(daemon)
        after = asyncio.run(_measure(daemon, port, 1, alone_s))
    part = crowd.together / statistics.mean((before.together, after.together))
    note = f"{crowd}; to one alone before it {before}, after it {after}"
    yield Row(f"{peers} peers, to one alone", part, "x", 0.8, note)
    parts = [rate * peers / crowd.together for rate in crowd.rates]
    note = f"median {statistics.median(parts):.2f}, most {max(parts):.2f}; {seconds:.0f} s"
    yield Row("the slowest of them, of its share", min(parts), "x", 0.5, note)
    yield Row(f"memory with {peers} peers", memory, "MB", -250, "")
