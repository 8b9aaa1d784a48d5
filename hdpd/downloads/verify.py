"""Checks finished files against the peer's: both sides compute digests from what is there.

It runs in the background: few checks at once, a few files of each side by side, at low priority.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator

from msgspec import Struct, field
from msgspec.structs import replace

from hdpd.downloads.digest import digest_there
from hdpd.downloads.finished import FinishedFiles
from hdpd.downloads.finishing import COARSEST_MTIME_NS
from hdpd.downloads.records import Download, FinishedFile, SessionOf, components
from hdpd.downloads.status import (
    Emit,
    FileProblem,
    Problem,
    VerificationChanged,
    VerificationInfo,
)
from hdpd.downloads.store import Store
from hdpd.errors import (
    FileChanged,
    HdpdError,
    InvalidParams,
    LimitReached,
    NoCommonTopic,
    NotAFile,
    NotFound,
    PathNotFound,
    PeerNotConnected,
    UnknownRequest,
)
from hdpd.identity.names import name_of
from hdpd.remote.reads import Session
from hdpd.shares.hashing import Hashed, Hasher
from hdpd.wire.messages import Digested
from hdpd.wire.paths import RemotePath

log = logging.getLogger(__name__)

MAX_RUNNING = 2
MAX_KEPT = 100  # checks that are remembered, the last ones; also how many may wait
FILES_AT_ONCE = 8  # below what a peer lets wait, and enough to hide a round trip
PAGE_FILES = 512
MAX_PROBLEMS = 1000  # that are named; all are counted
EVENT_S = 0.5  # between events of one check

ENDS_ALL = (PeerNotConnected, NoCommonTopic, UnknownRequest)
"""Errors that are not about one file."""


class Check(Struct):
    """One check of a download, from its beginning; `info` is what clients see."""

    download: Download
    state: str = "waiting"
    files: int = 0
    done_files: int = 0
    size: int = 0
    done_bytes: int = 0
    equal: int = 0
    unequal: int = 0
    problems: list[FileProblem] = field(default_factory=list)
    error: HdpdError | None = None
    told_at: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed")

    def problem(self, path: str, kind: str, message: str) -> None:
        self.unequal += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(FileProblem(path, kind, message))

    def info(self) -> VerificationInfo:
        """What clients see."""
        error = self.error
        return VerificationInfo(
            id=self.download.id,
            state=self.state,
            files=self.files,
            done_files=self.done_files,
            size=self.size,
            done_bytes=self.done_bytes,
            equal=self.equal,
            unequal=self.unequal,
            problems=tuple(self.problems),
            error=None if error is None else Problem(error.code, error.message),
        )


class Verifier:
    """All checks. `emit` gets `VerificationChanged`, at most twice a second for each."""

    def __init__(
        self, store: Store, finished: FinishedFiles, session_of: SessionOf, emit: Emit
    ) -> None:
        self._store = store
        self._finished = finished
        self._session_of = session_of
        self._emit = emit
        self._hasher = Hasher()
        self._checks: dict[str, Check] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(MAX_RUNNING)

    async def start(self, download: Download) -> VerificationInfo:
        """Begins to check the finished files of a download, unless that is under way.

        Raises:
            InvalidParams: none is finished.
            PeerNotConnected: the peer cannot be asked.
            LimitReached: too many checks wait.
        """
        known = self._checks.get(download.id)
        if known is not None and not known.ended:
            return known.info()
        self._connected(download)
        files, size = await self._store.count_finished(download)
        if not files:
            raise InvalidParams("no file of this download is finished: there is nothing to check")
        self._make_room()
        self._checks.pop(download.id, None)
        check = self._checks[download.id] = Check(download, files=files, size=size)
        task = asyncio.create_task(self._run(check))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return check.info()

    def state(self, id_: str) -> VerificationInfo:
        """How far the last check of a download is, or how it ended.

        Raises:
            NotFound: there was none since hdpd started, or many others since.
        """
        check = self._checks.get(id_)
        if check is None:
            raise NotFound(f"there is no check of the download {id_!r}; begin one")
        return check.info()

    async def close(self) -> None:
        """Gives up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._hasher.close()

    def _connected(self, download: Download) -> Session:
        session = self._session_of(download.peer)
        if session is None or session.closed:
            raise PeerNotConnected(f"{name_of(download.peer)} is not connected")
        return session

    def _make_room(self) -> None:
        if len(self._checks) < MAX_KEPT:
            return
        oldest = next((id_ for id_, check in self._checks.items() if check.ended), None)
        if oldest is None:
            raise LimitReached(f"{MAX_KEPT} checks wait already; try again when some have ended")
        del self._checks[oldest]

    def _tell(self, check: Check) -> None:
        now = time.monotonic()
        if check.ended or now - check.told_at >= EVENT_S:
            check.told_at = now
            # Problems come with the end: sent each time, a thousand of them would be much.
            told = check.info()
            self._emit(VerificationChanged(told if check.ended else replace(told, problems=())))

    async def _run(self, check: Check) -> None:
        try:
            async with self._turns:
                check.state = "running"
                self._tell(check)
                await self._compare_all(check)
            check.state = "done"
        except HdpdError as error:
            check.state, check.error = "failed", _explained(error)
        except Exception:
            log.exception("the check of %s stopped", check.download.id)
            check.state, check.error = "failed", HdpdError("a mistake in hdpd; see its log")
        self._tell(check)

    async def _compare_all(self, check: Check) -> None:
        after = 0
        while files := await self._store.finished_files(check.download, after, PAGE_FILES):
            after = files[-1].number
            waiting = iter(files)

            async def work(waiting: Iterator[FinishedFile] = waiting) -> None:
                for file in waiting:
                    await self._compare(check, file)

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(FILES_AT_ONCE):
                        group.create_task(work())
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def _compare(self, check: Check, file: FinishedFile) -> None:
        counted = 0

        def progress(done: int) -> None:
            nonlocal counted
            check.done_bytes += min(done, file.size) - counted
            counted = min(done, file.size)
            self._tell(check)

        here, there = await asyncio.gather(
            self._hash_here(check.download, file),
            self._ask(check.download, file, progress),
            return_exceptions=True,
        )
        progress(file.size)
        check.done_files += 1
        for outcome in (here, there):
            if isinstance(outcome, BaseException) and (
                not isinstance(outcome, HdpdError) or isinstance(outcome, ENDS_ALL)
            ):
                raise outcome
        verdict = _verdict(file, here, there)
        if verdict is None:
            check.equal += 1
        else:
            check.problem(file.path.text, *verdict)

    async def _hash_here(self, download: Download, file: FinishedFile) -> Hashed:
        path = RemotePath(b"/".join(file.place(download)))
        disk = path.share.raw  # the first directory below ours: a mount there hangs by itself
        return await self._hasher.hash(
            disk, lambda: self._finished.open_file(path, download.root), _ignore
        )

    async def _ask(
        self, download: Download, file: FinishedFile, progress: Callable[[int], None]
    ) -> Digested:
        raw = b"/".join((download.path.raw, *components(file.path)))
        return await digest_there(self._connected(download), RemotePath(raw), progress)


def _ignore(_done: int) -> None:
    """Both sides read the same; the peer's progress is shown, which is the slower one mostly."""


def _verdict(
    file: FinishedFile, here: Hashed | BaseException, there: Digested | BaseException
) -> tuple[str, str] | None:
    """What is wrong, as a word and in words; None when both sides have the same."""
    if isinstance(here, PathNotFound | NotAFile):
        return "missing_here", "it is no longer where it was downloaded to"
    if isinstance(there, PathNotFound | NotAFile):
        return "missing_there", "the peer no longer has it"
    if isinstance(here, FileChanged):
        return "changed_here", f"here {here.message}"
    if isinstance(there, FileChanged):
        return "changed_there", f"at the peer: {there.message}"
    for where, outcome in (("here", here), ("at the peer", there)):
        if isinstance(outcome, HdpdError):
            return "unreadable", f"{where}: {outcome.message}"
    assert isinstance(here, Hashed)
    assert isinstance(there, Digested)
    if here.digest == there.digest:
        return None
    if (here.size, here.mtime_ns) != (file.size, file.mtime_ns):
        return "changed_here", "it was changed here since it was downloaded"
    if there.size != file.size or abs(there.mtime_ns - file.mtime_ns) > COARSEST_MTIME_NS:
        return "changed_there", "the peer has changed its file since it was downloaded"
    return "different", "size and time are the same on both sides, the contents are not"


def _explained(error: HdpdError) -> HdpdError:
    if isinstance(error, UnknownRequest):
        return UnknownRequest("the peer's hdpd is too old to check files; it has to be upgraded")
    return error
