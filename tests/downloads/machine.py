"""One download of one file, through everything that disks, peers and owners do to it; no I/O.

What decides is hdpd's own: the table of states and the queue, the ranges, what is certain, which
partial file is the right one. The disk and the peer are models: a disk has what is durable and what
only its cache has, loses the cache when power fails or a sync fails, and tells of that once.

After each run all is made well again, and then the file has to arrive, equal to the source:
a state that waits for nothing would show here. `run(seed)` is one run.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import dataclass, field

from hdpd.downloads.certainty import Certainty, Identity, is_the_one
from hdpd.downloads.queue import UNTIL_CONNECTED, Item, Place, Queue
from hdpd.downloads.ranges import FileRanges, Range
from hdpd.downloads.states import STARTED, UNFINISHED, Event, State, allows
from hdpd.errors import DiskAway, DiskFull, DiskReadOnly, HdpdError, StorageError
from hdpd.identity.keys import PeerId

PEER, OTHER = PeerId(bytes(31) + b"\x01"), PeerId(bytes(31) + b"\x02")
SIZE = 24
STEPS = 24
CALM_STEPS = 400  # more than any run needs that gets on at all


@dataclass
class File:
    """A file on a disk; `lost` are pages of the cache that a failed write-out dropped."""

    identity: Identity
    durable: bytearray = field(default_factory=bytearray)
    cached: bytearray = field(default_factory=bytearray)
    unreported: bool = False

    def write(self, offset: int, data: bytes) -> None:
        if len(self.cached) < offset + len(data):
            self.cached.extend(bytes(offset + len(data) - len(self.cached)))
        self.cached[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        del self.cached[size:]

    def sync(self) -> None:
        if self.unreported:
            self.unreported = False
            raise StorageError("an earlier write failed")
        self.durable = bytearray(self.cached)


@dataclass
class Disk:
    """Its files by name; a swapped one is another object."""

    files: dict[str, File] = field(default_factory=dict)
    has_attributes: bool = True
    inodes: int = 0


class Machine:
    """hdpd, the disks and the peer."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.queue: Queue[Item] = Queue()
        self.sources = {1: self.random.randbytes(SIZE)}
        self.validator = 1
        self.arrived: bytes | None = None
        self.disks = [Disk(has_attributes=self.random.random() < 0.8) for _ in range(2)]
        self.disk: Disk | None = self.disks[0]
        self.trouble: HdpdError | None = None  # full, read-only: what writes answer
        self.share_is_away = False
        self.now = 0.0
        # What state.db has: of the queue, and of the file.
        self.stored = State.READY
        self.watermark = 0
        self.recorded_version: int | None = None
        self.id: bytes | None = None
        self.inode: int | None = None
        # What memory has.
        self.kept: tuple[FileRanges, int] | None = None
        self.take_up()

    # hdpd

    def take_up(self) -> None:
        """A start of hdpd: only what is stored is left."""
        self.queue = Queue()
        self.item = Item(id="d", peer=PEER, position=1, state=self.stored)
        self.other = Item(id="o", peer=PEER, position=2, state=State.PAUSED)
        self.queue.add(self.item)
        self.queue.add(self.other)
        self.kept = None
        self.ranges: FileRanges | None = None
        self.flying: list[Range] = []
        self.certain = Certainty(self.watermark)
        self.opened: File | None = None
        self.version: int | None = None

    def happen(self, event: Event, not_before: float = 0.0) -> None:
        if not allows(self.item.state, event):
            return
        self.queue.happened(self.item, event, not_before)
        if self.item.state in UNFINISHED:
            paused = self.item.state in (State.PAUSED, State.PAUSING)
            self.stored = State.PAUSED if paused else State.READY
        else:
            self.stored = self.item.state

    def name(self) -> str:
        return f"part-{self.id.hex() if self.id else ''}"

    def start(self) -> None:
        """The runner begins: the partial file is opened, if it proves itself."""
        try:
            disk = self.written_disk()
        except HdpdError:
            self.leave(Event.HOLD)
            return
        self.certain = Certainty(self.watermark)
        kept, self.kept = self.kept, None
        there = disk.files.get(self.name()) if self.id is not None else None
        proven = there is not None and is_the_one(there.identity, self.id, self.inode)
        keep = kept[0].extent if kept is not None else self.watermark
        if there is None or not proven or len(there.cached) < keep:
            # Anew: nothing that was recorded counts.
            self.watermark, self.certain, kept = 0, Certainty(), None
            self.id = self.random.randbytes(4) if self.id is None else self.id
            disk.inodes += 1
            there = File(Identity(self.id, disk.inodes, disk.has_attributes))
            disk.files[self.name()] = there
            self.recorded_version = None
        elif kept is None:
            there.truncate(self.watermark)
        self.inode = there.identity.inode
        self.opened = there
        self.ranges = kept[0] if kept is not None else FileRanges(SIZE, self.watermark)
        self.version = kept[1] if kept is not None else self.recorded_version

    def written_disk(self) -> Disk:
        """The disk that can be written to; it is known by its mark, which only the first has."""
        if self.disk is not self.disks[0]:
            raise DiskAway("it is not there")
        if self.trouble is not None:
            raise self.trouble
        return self.disk

    def leave(self, event: Event, not_before: float = 0.0) -> None:
        """The runner returns, as every runner does: it records what it can."""
        if self.ranges is not None:
            self.ranges.give_up()
            self.record()
            if self.version is not None and (kept := self.certain.kept(self.ranges)) is not None:
                self.kept = kept, self.version
        self.flying, self.ranges, self.opened = [], None, None
        if self.item.state in STARTED:
            self.happen(event, not_before)

    def record(self) -> None:
        assert self.ranges is not None
        assert self.opened is not None
        try:
            watermark = self.certain.to_record(self.ranges)
            if watermark is None:
                return
            self.opened.sync()
            self.certain.synced(watermark)
        except HdpdError as error:
            self.certain.fail(error)
            return
        self.ranges.record(watermark)
        self.watermark, self.recorded_version = watermark, self.version

    def fetch(self) -> None:
        """One step of a runner: asks, takes an answer, records or finishes."""
        if self.item.state is not State.RUNNING or self.ranges is None or self.opened is None:
            return
        if self.share_is_away:
            self.leave(Event.RETURN, self.now + 3)
        elif self.ranges.complete:
            self.finish()
        elif self.flying and self.random.random() < 0.7:
            self.take(self.flying.pop(self.random.randrange(len(self.flying))))
        elif (asked := self.ranges.next(self.random.randint(1, 6))) is not None:
            self.flying.append(asked)
        if self.ranges is not None and self.random.random() < 0.3:
            self.record()
            if self.certain.trouble is not None:
                self.leave(Event.HOLD)

    def take(self, asked: Range) -> None:
        assert self.ranges is not None
        assert self.opened is not None
        if self.version is None:
            self.version = self.validator
        if self.version != self.validator:  # refused, and begun anew
            self.watermark, self.recorded_version, self.version = 0, None, None
            self.certain = Certainty()
            self.ranges, self.flying = FileRanges(SIZE), []
            self.opened.truncate(0)
            return
        data = self.sources[self.validator][asked.start : asked.end]
        try:
            self.written_disk()
        except HdpdError as error:
            self.ranges.failed(asked)
            self.certain.fail(error)
            self.leave(Event.HOLD)
            return
        if self.random.random() < 0.15:  # the line breaks in the middle
            size = self.random.randint(0, len(data))
            self.opened.write(asked.start, data[:size])
            self.ranges.keep(asked, size)
            self.ranges.failed(asked)
            return
        self.opened.write(asked.start, data)
        self.ranges.verified(asked)

    def finish(self) -> None:
        """Synced, renamed, recorded; or left, with what was certain before."""
        assert self.opened is not None
        try:
            disk = self.written_disk()
            self.opened.sync()
        except HdpdError as error:
            self.certain.fail(error)
            self.leave(Event.HOLD)
            return
        assert self.version is not None
        self.arrived = self.sources[self.version]
        disk.files["film"] = disk.files.pop(self.name())
        self.id = self.inode = None
        self.watermark = 0
        self.flying, self.ranges, self.opened = [], None, None
        self.happen(Event.FINISH)

    def decide(self) -> None:
        self.now += 1
        decision = self.queue.decide(self.now)
        if self.item in decision.start:
            self.start()

    def settle(self) -> None:
        """Runners that were told to return do."""
        if self.item.state in STARTED and self.item.state is not State.RUNNING:
            self.leave(self.random.choice([Event.RETURN, Event.RETURN, Event.HOLD]))
        if self.other.state in STARTED and self.other.state is not State.RUNNING:
            self.queue.happened(self.other, Event.RETURN)
        if self.item.state is State.HELD and self.disk is self.disks[0] and not self.trouble:
            self.happen(Event.RELEASE)

    # What happens to it

    def pause(self) -> None:
        self.happen(Event.PAUSE)

    def resume(self) -> None:
        self.happen(Event.RESUME)

    def move(self) -> None:
        if self.item.state in UNFINISHED:
            self.queue.move(self.item, self.random.choice(list(Place)))
        if self.other.state in (State.PAUSED, State.READY):
            event = Event.RESUME if self.other.state is State.PAUSED else Event.PAUSE
            self.queue.happened(self.other, event)

    def peer_gone(self) -> None:
        self.queue.disconnected(PEER)

    def peer_back(self) -> None:
        self.queue.connected(PEER)

    def no_common_topic(self) -> None:
        if self.item.state is State.RUNNING:
            self.leave(Event.RETURN, UNTIL_CONNECTED)

    def share_away(self) -> None:
        self.share_is_away = not self.share_is_away

    def source_changes(self) -> None:
        self.validator += 1
        self.sources[self.validator] = self.random.randbytes(SIZE)

    def disk_full(self) -> None:
        self.trouble = DiskFull()

    def disk_read_only(self) -> None:
        self.trouble = DiskReadOnly()

    def disk_writable(self) -> None:
        self.trouble = None

    def disk_away(self) -> None:
        self.disk = None

    def disk_swapped(self) -> None:
        self.disk = self.disks[1]

    def disk_back(self) -> None:
        self.disk = self.disks[0]

    def old_copy_in_place(self) -> None:
        """Somebody restores the partial file from a copy, with its attributes."""
        disk = self.disks[0]
        if self.opened is None and (file := disk.files.get(self.name())) is not None:
            disk.inodes += 1
            identity = Identity(file.identity.id, disk.inodes, disk.has_attributes)
            if disk.has_attributes:
                size = len(file.cached)
                disk.files[self.name()] = File(identity, bytearray(size), bytearray(size))

    def sync_error(self) -> None:
        """The disk drops what it could not write, and tells whoever syncs next."""
        for file in self.disks[0].files.values():
            if file.cached != file.durable:
                lost = len(file.durable)
                size = len(file.cached)
                file.cached = bytearray(file.durable) + bytes(size - lost if size > lost else 0)
                file.unreported = True

    def kill(self) -> None:
        self.take_up()

    def power_cut(self) -> None:
        for disk in self.disks:
            for file in disk.files.values():
                # Whatever was written since may be there, or not.
                most = max(len(file.durable), len(file.cached))
                size = self.random.randint(len(file.durable), most)
                file.cached = bytearray(file.durable) + bytes(size - len(file.durable))
                file.unreported = False
        self.take_up()

    def cancel(self) -> None:
        self.happen(Event.REMOVE)

    # Runs

    def step(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            self.decide()
            self.fetch()
            if self.random.random() < 0.5:
                self.settle()

    def calm(self) -> None:
        """All is well from now on."""
        self.disk, self.trouble, self.share_is_away = self.disks[0], None, False
        self.queue.connected(PEER)
        for event in (Event.RESUME, Event.RETRY):
            self.happen(event)
        if allows(self.other.state, Event.PAUSE):
            self.queue.happened(self.other, Event.PAUSE)

    def check(self) -> None:
        film = self.disks[0].files.get("film")
        for disk in self.disks[1:]:
            assert not disk.files, "something was written to another disk"
        if film is not None:
            assert bytes(film.cached) == self.arrived, "a wrong byte"
            assert bytes(film.durable) == self.arrived, "not on the disk"


HAPPENINGS = [
    Machine.pause,
    Machine.resume,
    Machine.move,
    Machine.peer_gone,
    Machine.peer_back,
    Machine.peer_back,
    Machine.no_common_topic,
    Machine.share_away,
    Machine.source_changes,
    Machine.disk_full,
    Machine.disk_read_only,
    Machine.disk_writable,
    Machine.disk_writable,
    Machine.disk_away,
    Machine.disk_swapped,
    Machine.disk_back,
    Machine.disk_back,
    Machine.old_copy_in_place,
    Machine.sync_error,
    Machine.kill,
    Machine.power_cut,
]


def run(seed: int) -> str:
    """One run; how it ended. Fails with what went wrong."""
    machine = Machine(seed)
    machine.queue.connected(PEER)
    for _ in range(STEPS):
        machine.random.choice(HAPPENINGS)(machine)
        machine.step()
        machine.check()
        if machine.item.state is State.DONE:
            return "arrived"
    if machine.random.random() < 0.1:
        machine.cancel()
        for _ in range(CALM_STEPS):
            machine.settle()
        assert machine.item.state is State.REMOVED, f"{machine.item.state} waits for nothing"
        return "cancelled"
    machine.calm()
    for _ in range(CALM_STEPS):
        if machine.item.state is State.DONE:
            break
        machine.decide()
        machine.fetch()
        machine.settle()
    assert machine.item.state is State.DONE, f"{machine.item.state} waits for nothing"
    machine.check()
    return "arrived in the end"


def main() -> None:
    """`python -m tests.downloads.machine RUNS [FIRST]`: how they ended."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**60)
    ended: Counter[str] = Counter()
    for seed in range(first, first + runs):
        try:
            ended[run(seed)] += 1
        except Exception as error:  # noqa: BLE001 - told, and the next one is run
            print(f"run {seed}: {error!r}", file=sys.stderr)
            ended["wrong"] += 1
    print(", ".join(f"{count:,} {how}" for how, count in sorted(ended.items())))
    sys.exit(1 if ended["wrong"] else 0)


if __name__ == "__main__":
    main()
