"""All that runs in a soak, and what is done to it."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.e2e.harness import Daemon, Lab
from tests.soak import disks
from tests.soak.disks import Disk
from tests.soak.downloader import SETTINGS, START_S, Downloader
from tests.soak.source import Source
from tests.waiting import wait_for

CALM_S = 300.0
"""At the end all disks are well, and everything has to come to its end."""
TOLD_S = 60.0
CLOCK_STEPS = (-90_000.0, -3600.0, -10.0, 10.0, 3600.0, 90_000.0)


class Soak:
    """Everything that runs, and what is done to it."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._directory = directory
        self._known: str | None = None
        self._rnd = random.Random(seed)
        self._lab = Lab(directory)
        self._disks: list[Disk] = []
        self.done: Counter[str] = Counter()
        broker = self._lab.broker()
        flags = ("--topic", "soak", "--mqtt-server", broker.url)
        self._from = self._lab.daemon("source", *flags)
        disk = self._disk("source", 700, "ext4")
        self._from.share = disk.at / "media"
        self.source = Source(self._from.share / "set", self._rnd)
        self.downloaders = [
            self._downloader(name, kind, flags) for name, kind in (("x", "ext4"), ("y", "exfat"))
        ]
        library = _clock_library(directory)
        if library is not None:
            for one in self.downloaders:
                one.use_clock(library)
        self._has_clock = library is not None

    def _disk(self, name: str, mib: int, kind: str) -> Disk:
        disk = Disk(self._directory, f"disk-{name}", mib, kind)
        self._disks.append(disk)
        return disk

    def _downloader(self, name: str, kind: str, flags: tuple[str, ...]) -> Downloader:
        settings = self._directory / f"{name}.toml"
        settings.write_text(SETTINGS.format(rate="12MB/s"))
        daemon = self._lab.daemon(name, *flags, "--config", str(settings))
        state, files = self._disk(f"{name}-state", 150, "ext4"), self._disk(name, 600, kind)
        return Downloader(daemon, state, files, self.source)

    def run(self, seconds: float) -> None:
        """Does all of it, then lets everything come to its end."""
        self._start(self._from)
        for one in self.downloaders:
            self._start(one.daemon)
        began = told = time.monotonic()
        while time.monotonic() < began + seconds:
            if time.monotonic() - told >= TOLD_S:
                told = time.monotonic()
                print(self._glance(told - began), flush=True)
            self._settle(self._rnd.uniform(1.0, 6.0))
            action = self._rnd.choice(self._actions())
            self.done[action.__name__.strip("_").replace("_", " ")] += 1
            action()
        self._calm()

    def _glance(self, seconds: float) -> str:
        delivered = sum(one.counts["files delivered"] for one in self.downloaders)
        happened = sum(self.done.values())
        return (
            f"soak: {seconds / 60:.0f} min, {happened} things done to it, {delivered:,} files "
            f"delivered, {self.wrong} wrong"
        )

    def _start(self, daemon: Daemon) -> None:
        daemon.launch()
        wait_for(f"{daemon.label} to be ready", daemon._is_ready, within=START_S, poll=0.2)

    def _settle(self, seconds: float) -> None:
        """Lets things go on for so long, and looks what comes of them."""
        end = time.monotonic() + seconds
        while True:
            if self._from.process is None or self._from.process.poll() is not None:
                self._from.launch()
            for one in self.downloaders:
                if self._peer is not None:
                    one.step(self._peer, "media/set")
                else:
                    one.start()
            disks.end_orphans({d.process.pid for d in self._daemons if d.process is not None})
            if time.monotonic() >= end:
                return
            time.sleep(0.5)

    @property
    def _daemons(self) -> list[Daemon]:
        return [self._from, *(one.daemon for one in self.downloaders)]

    @property
    def _peer(self) -> str | None:
        if not self._known:
            with contextlib.suppress(Exception):
                self._known = self._from.peer_id
        return self._known

    # What is done to them. Each one ends with everything as it was.

    def _actions(self) -> list[Callable[[], None]]:
        actions = [
            *(self._change_source,) * 6,
            *(self._kill, self._kill_source, self._power_cut, self._power_cut_of_downloads),
            *(self._unmount, self._swap, self._fill, self._fill_state, self._read_only),
        ]
        return [*actions, self._step_clock] if self._has_clock else actions

    def _change_source(self) -> None:
        for _ in range(self._rnd.randint(1, 4)):
            self.source.change()
        if self._rnd.random() < 0.5:
            self.source.bring_back()

    def _one(self, kind: str | None = None) -> Downloader:
        fit = [one for one in self.downloaders if kind in (None, one.files.kind)]
        one = self._rnd.choice(fit)
        one.disturbed()
        return one

    @contextlib.contextmanager
    def _healing(self, one: Downloader) -> Iterator[None]:
        try:
            yield
        finally:
            one.heal()

    def _kill(self) -> None:
        one = self._one()
        one.kill()
        one.start()

    def _kill_source(self) -> None:
        self._from.kill()
        self._from.launch()

    def _power_cut(self) -> None:
        """The machine loses power: both disks at once."""
        one = self._one("ext4")
        with self._healing(one):
            one.files.cut_power()
            one.state.cut_power()
            time.sleep(self._rnd.choice((0.0, 0.0, 0.5)))
            if one.is_running:
                one.daemon.kill()
            for disk in (one.files, one.state):
                assert disk.let_go(), f"{disk.name} is in use by nobody we know"
                disk.mount()
            one.look_through()

    def _power_cut_of_downloads(self) -> None:
        """The cable of the disk is pulled out and put in again while hdpd runs."""
        one = self._one("ext4")
        with self._healing(one):
            one.files.cut_power()
            self._settle(self._rnd.uniform(0.5, 4.0))
            if not one.files.let_go():
                self.done["(hdpd did not let go of a disk that was cut off)"] += 1
                one.daemon.kill()
                assert one.files.let_go(), "it is in use by nobody we know"

    def _unmount(self) -> None:
        one = self._one()
        with self._healing(one):
            one.files.unmount()
            self._settle(self._rnd.uniform(0.5, 5.0))

    def _swap(self) -> None:
        """Hdpd starts while its disk is away."""
        one = self._one()
        with self._healing(one):
            one.kill()
            one.files.unmount()
            one.start()
            self._settle(self._rnd.uniform(2.0, 8.0))
            below = [path.name for path in one.files.at.rglob("*")]
            if below:
                one.wrong.append(f"made below the mount point while the disk was away: {below[:3]}")
                shutil.rmtree(one.files.at / below[0], ignore_errors=True)

    def _fill(self) -> None:
        self._fill_up(self._one(), state=False)

    def _fill_state(self) -> None:
        self._fill_up(self._one(), state=True)

    def _fill_up(self, one: Downloader, *, state: bool) -> None:
        with self._healing(one):
            (one.state if state else one.files).fill(self._rnd.choice((0, 0, 50_000, 3_000_000)))
            self._settle(self._rnd.uniform(1.0, 8.0))

    def _read_only(self) -> None:
        one = self._one()
        with self._healing(one):
            if not one.files.remount("ro"):  # in use
                one.kill()
                one.files.unmount()
                one.files.mount(read_only=True)
                one.start()
            self._settle(self._rnd.uniform(1.0, 6.0))
            if not one.files.remount("rw"):
                one.kill()
                one.files.unmount()

    def _step_clock(self) -> None:
        one = self._one()
        one.shift_clock(self._rnd.choice(CLOCK_STEPS))
        self._settle(self._rnd.uniform(1.0, 6.0))
        one.shift_clock(0.0)

    def _calm(self) -> None:
        self.source.bring_back()
        for one in self.downloaders:
            one.heal()
        wanted = {id(one): one.counts["downloads done"] + 1 for one in self.downloaders}

        def is_done() -> bool:
            self._settle(1.0)
            return all(one.counts["downloads done"] >= wanted[id(one)] for one in self.downloaders)

        deadline = time.monotonic() + CALM_S
        while not is_done():
            if time.monotonic() > deadline:
                for one in self.downloaders:
                    if one.counts["downloads done"] < wanted[id(one)]:
                        one.wrong.append(f"not done {CALM_S:.0f} s after all was well again")
                return

    def close(self) -> None:
        """Ends everything and takes the disks away."""
        with contextlib.suppress(Exception):
            self._lab.close(show_logs=False)
        for disk in self._disks:
            disk.close()

    def table(self) -> str:
        """What was done, what was delivered, what was wrong."""
        lines = [f"  {count:>9,}  {what}" for what, count in sorted(self.done.items())]
        lines += [f"  {n:>9,}  source: {what}" for what, n in sorted(self.source.changes.items())]
        for one in self.downloaders:
            counts = {**one.counts, **{f"error {what}": n for what, n in one.errors.items()}}
            lines += ["", one.label]
            lines += [f"  {count:>13,}  {what}" for what, count in sorted(counts.items())]
            lines += [f"      first {code}: {text}" for code, text in one.reasons.items()]
            lines.append(f"  {len(one.wrong):>13,}  WRONG")
            lines += [f"    {text}" for text in one.wrong[:20]]
        return "\n".join(lines)

    @property
    def wrong(self) -> int:
        return sum(len(one.wrong) for one in self.downloaders)


def _clock_library(directory: Path) -> Path | None:
    """What shifts the clock of a program, None where there is no compiler."""
    library = directory / "clock.so"
    source = Path(__file__).with_name("clock.c")
    command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no clock steps: {error}")
        return None
    return library
