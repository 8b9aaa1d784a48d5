"""A browser, and friends who share things.

Starting takes seconds, so one lab serves all modules, and a browser each module: Playwright's event
loop must not meet that of other tests.
"""

from __future__ import annotations

import math
import os
import shutil
import struct
import tempfile
import wave
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Daemon, Lab, free_port
from tests.web.calls import call
from tests.web.film import write_long_film

CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")

try:
    from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright
except ImportError:
    pytest.skip("needs playwright; `make test` installs it", allow_module_level=True)

expect.set_options(timeout=20_000)  # a joined topic is a second of computing on a busy machine

DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
FILM_GAP = 3_500_000_000


@pytest.fixture(autouse=True)
def no_blocked_event_loop() -> None:
    """Playwright runs the test itself inside a callback of its event loop."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs chromium-headless-shell; install it, or run `sudo make test`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=CHROMIUM_ARGUMENTS,
        )
        yield browser
        browser.close()


@dataclass
class World:
    """The daemon `own` whose page is looked at, and a friend who is connected."""

    lab: Lab
    own: Daemon
    friend: Daemon
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rpc(self, method: str, **parameters: Any) -> Any:
        """Calls a method of `own` as its owner."""
        return call(self.own.socket, method, parameters)

    def clear_queue(self) -> None:
        """Leaves no download of an earlier test."""
        for method in ("downloads.cancel", "downloads.clear"):
            ids = [row["id"] for row in self.rpc("downloads.list")["downloads"]]
            if ids:
                self.rpc(method, ids=ids)

    def queue_and_remove(self, name: str) -> None:
        """Queues a file of the friend that is gone when its turn comes, so that it fails."""
        (self.friend.share / name).touch()
        self.rpc("limits.set", download=10_000, lan=True)
        before = self.rpc(
            "downloads.add", peer=self.friend.peer_id, path="media/Films/long film.mp4"
        )
        self.rpc("downloads.add", peer=self.friend.peer_id, path=f"media/{name}")
        (self.friend.share / name).unlink()
        self.rpc("downloads.cancel", ids=[before["id"]])
        self.rpc("limits.set", reset=True)

    def link(self) -> str:
        url: str = self.rpc("tokens.login_link")["url"]
        return url

    def open(self, browser: Browser, view: str = "", *, size: ViewportSize = DESKTOP) -> Page:
        """A browser of its own, logged in by a link, at a view such as `#/search`."""
        page = browser.new_context(viewport=size).new_page()
        page.set_default_timeout(20_000)
        page.goto(self.link())
        page.wait_for_selector("nav a[aria-current=page]")
        if view:
            page.goto(f"{self.url}/{view}")
        return page

    def browse(self, path: str) -> str:
        """The address of a directory of the friend."""
        return f"#/peers/{self.friend.peer_id}/{path}"


def make_world(root: Path) -> World:
    lab = Lab(root)
    port = free_port()
    own = lab.daemon("own", "--control", f"127.0.0.1:{port}")
    return World(lab, own, lab.daemon("friend"), port)


def meet(world: World) -> None:
    world.own.start()
    world.friend.start()
    world.own.ctl("connect", world.friend.ctl("invite").strip())
    world.own.wait_connected(world.friend)
    world.own.wait_scanned()
    world.friend.wait_scanned()


@contextmanager
def new_world() -> Iterator[World]:
    """Two daemons that know nothing of each other yet, with directories of their own."""
    root = Path(tempfile.mkdtemp(prefix="hdp-"))
    world = make_world(root)
    try:
        yield world
    finally:
        try:
            world.lab.close()
        finally:
            shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Two daemons that are connected, and what a friend shares."""
    if CHROMIUM is None:
        pytest.skip("needs chromium-headless-shell; install it, or run `sudo make test`")
    with new_world() as world:
        fill(world.friend.share)
        (world.own.share / "mine.txt").write_text("my own words")
        meet(world)
        yield world


BIDI = "\u202egnp.exe"
SCRIPT = "<img src=x onerror=document.title='owned'>"
BYTES = b"bytes \xff\xfe.txt"


def fill(share: Path) -> None:
    """What the friend shares."""
    for album in ("Live 1997", "Debut"):
        directory = share / "Music" / "Björk" / album
        directory.mkdir(parents=True)
        for number in range(1, 4):
            write_sound(directory / f"{number:02d} Track.wav", seconds=1)
    films = share / "Films"
    films.mkdir()
    write_long_film(films / "long film.mp4", FILM_GAP)
    (films / "notes.txt").write_text("Grüße from a friend\n" * 20)
    write_picture(films / "poster.png")
    write_picture(films / "second.png")
    (films / "page.html").write_text("<script>document.title = 'owned'</script>")
    (films / "drawing.svg").write_text(
        "<svg xmlns='http://www.w3.org/2000/svg'><script>document.title='owned'</script></svg>"
    )
    odd = share / "odd"
    odd.mkdir()
    (odd / SCRIPT).write_text("x")
    (odd / BIDI).write_text("x")
    Path(os.fsdecode(bytes(odd) + b"/" + BYTES)).write_text("x")
    with (share / "big.bin").open("wb") as big:
        big.truncate(40_000_000_000)


def write_sound(path: Path, seconds: int) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        samples = (int(9000 * math.sin(i / 5)) for i in range(8000 * seconds))
        sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))


def write_picture(path: Path, side: int = 64) -> None:
    """A square PNG in one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    rows = (b"\0" + b"\x30\x90\x70" * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
