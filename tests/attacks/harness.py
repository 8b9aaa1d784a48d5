"""A daemon under attack, an honest friend of its, and the figures of how they fare."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import cache

from hdpd.identity.keys import Identity, PeerId
from hdpd.identity.topics import Topic, derive_master, normalise
from hdpd.link.engine import EngineName
from hdpd.link.session import Handler, Session, dial_hello
from hdpd.wire.messages import Ls, Read, Search, raise_if_error
from hdpd.wire.paths import RemotePath
from tests.attacks.figures import Figures
from tests.bench.measuring import cpu_seconds, resident_mb
from tests.e2e.harness import Daemon, Lab
from tests.link.helpers import Node, answer_ok, identity

TOPIC = "party"
FILE = "a song of one megabyte.flac"
FILE_BYTES = 1_000_000
LIMIT_MB = 250.0
"""What the daemon may have resident, whatever is done to it."""
LIMIT_S = 1.0 if os.environ.get("ATTACKS") == "full" else 5.0
"""How long an honest request may take; the suite runs beside other things."""
PAUSE_S = 0.2
POLITE: dict[str, Handler] = dict.fromkeys(
    ("announce", "observed", "changed", "rendezvous"), answer_ok
)


def full_size(small: int, full: int) -> int:
    """How much of it: `small` in the suite, `full` for `make test-attacks`."""
    return full if os.environ.get("ATTACKS") == "full" else small


@cache
def party() -> Topic:
    """The topic that everybody here knows."""
    return Topic.from_master(normalise(TOPIC), derive_master(normalise(TOPIC)))


class Member(Node):
    """Somebody who knows the topic: an attacker, or the friend. Each is a key of its own."""

    def __init__(
        self,
        *,
        who: Identity | None = None,
        engine: EngineName = "qh3",
        host: str = "127.0.0.1",
        handlers: dict[str, Handler] | None = None,
    ) -> None:
        super().__init__(
            engine, topics=(party(),), handlers=POLITE | (handlers or {}), who=who, host=host
        )

    async def meet(self, victim: Victim, *, host: str = "127.0.0.1") -> Session:
        """A session with the victim, past its hello."""
        connection = self.endpoint.dial(victim.peer_id, [(host, victim.port)], self.topics[0])
        async with asyncio.timeout(20):
            session = await dial_hello(connection, self.around, victim.peer_id)
        self.sessions.append(session)
        return session


class Victim:
    """The daemon that is attacked: its owner knows the friend by name (`[peers.ID]`)."""

    def __init__(self, lab: Lab, *flags: str, config: str = "") -> None:
        self.friend_key = identity(1)
        lab.root.joinpath("hdpd.toml").write_text(
            f"{config}\n[peers.{self.friend_key.peer_id.text}]\n"
        )
        self.daemon: Daemon = lab.daemon(
            "victim", "--topic", TOPIC, "--config", str(lab.root / "hdpd.toml"), *flags
        )
        (self.daemon.share / FILE).write_bytes(bytes(FILE_BYTES))

    def start(self) -> Victim:
        """Starts it; its friend and its enemies can meet it then."""
        party()  # here, as it takes too long for the event loop of a test
        self.daemon.start().wait_scanned()
        info = self.daemon.rpc("daemon.info")
        self.peer_id = PeerId.parse(info["peer_id"])
        (self.port,) = info["udp_ports"]
        return self


Siege = Callable[[str], contextlib.AbstractAsyncContextManager[Figures]]
"""Of an attack's name: `besieged`, with the friend's session made before it begins."""


async def list_files(friend: Session) -> None:
    """As `hdpctl ls` of a friend has it done."""
    with await friend.call(Ls(RemotePath(b"media"), limit=100), budget=500_000) as stream:
        while "end" not in (message := await stream.receive(30)):
            raise_if_error(message)


async def search_files(friend: Session) -> None:
    """A search of which there is a hit."""
    with await friend.call(Search("song megabyte", 10), budget=500_000) as stream:
        while "end" not in (message := await stream.receive(30)):
            raise_if_error(message)


async def read_file(friend: Session) -> None:
    """A megabyte that a person waits for."""
    request = Read(RemotePath(f"media/{FILE}".encode()), 0, FILE_BYTES, urgent=True)
    with await friend.call(request, budget=2 * FILE_BYTES) as stream:
        message = await stream.receive(30)
        while "queued" in message:
            message = await stream.receive(30)
        raise_if_error(message)
        left = FILE_BYTES
        while left:
            left -= len(await stream.receive_bytes(left))


@contextlib.asynccontextmanager
async def besieged(victim: Victim, name: str, friend: Session) -> AsyncIterator[Figures]:
    """While the block attacks, the friend and the owner go on asking.

    At its end each of their requests has to have been answered within LIMIT_S, and memory to have
    stayed below LIMIT_MB; the figures are printed in the table of `name`.
    """

    async def owner() -> None:
        await asyncio.to_thread(victim.daemon.rpc, "daemon.info")

    async def one(what: str, ask: Callable[[], Awaitable[None]]) -> None:
        begun = time.monotonic()
        await ask()
        figures.took(what, time.monotonic() - begun)

    async def go_on() -> None:
        while True:
            await asyncio.gather(
                one("ls", lambda: list_files(friend)),
                one("search", lambda: search_files(friend)),
                one("read", lambda: read_file(friend)),
                one("status", owner),
            )
            figures.resident(resident_mb(victim.daemon))
            await asyncio.sleep(PAUSE_S)

    figures = Figures(name, resident_mb(victim.daemon))
    cpu, begun = cpu_seconds(victim.daemon), time.monotonic()
    async with asyncio.TaskGroup() as group:
        honest = group.create_task(go_on())
        try:
            yield figures
            await asyncio.sleep(PAUSE_S)
        finally:
            honest.cancel()
    figures.ended(
        resident_mb(victim.daemon), cpu_seconds(victim.daemon) - cpu, time.monotonic() - begun
    )
    figures.check(LIMIT_S, LIMIT_MB)


async def close_all(members: Sequence[Node]) -> None:
    """Ends what the attackers have open."""
    for member in members:
        await member.close()
