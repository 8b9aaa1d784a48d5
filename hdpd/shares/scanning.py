"""Running the scanner as a child process: starting it, hearing its reports, giving it up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

import hdpd
from hdpd.shares.jobs import Job, Report, report_from_line, to_line

STALL_S = 30.0  # a scanner reports twice a second unless a file system does not answer
KILL_S = 1.0  # a process that a dead mount holds cannot be waited for
MAX_LINE_BYTES = 256 * 1024  # a report holds up to ten paths


async def run_scanner(
    job: Job, on_report: Callable[[Report], None], is_alive: Callable[[], Awaitable[bool]]
) -> Report:
    """Runs the job to its last report, which is returned; the others go to `on_report`.

    When nothing was heard for a while and `is_alive` denies, the scanner is given up as `away`.
    Cancelling ends the process.
    """
    # A start or an end that is cancelled half-way would leave a process and a pipe behind.
    starting = asyncio.create_task(_start(job))
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting})
        if not starting.exception():
            await _end(starting.result())
        raise
    except OSError as error:
        return Report("failed", message=f"the scanner cannot be started: {error.strerror}")
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(to_line(job))
        return await _hear(process.stdout, on_report, is_alive)
    finally:
        ending = asyncio.create_task(_end(process))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await asyncio.wait({ending})
            raise


async def _start(job: Job) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "hdpd.scanner",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=_environment(),
        pass_fds=[job.share.inotify] if job.share and job.share.inotify >= 0 else [],
        limit=MAX_LINE_BYTES,
    )


async def _end(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    if process.returncode is None:
        # Not `process.kill`, which may collect the exit status before asyncio does.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_S):
            await process.communicate()  # to the end of its output too, which closes all


async def _hear(
    stdout: asyncio.StreamReader,
    on_report: Callable[[Report], None],
    is_alive: Callable[[], Awaitable[bool]],
) -> Report:
    while True:
        try:
            async with asyncio.timeout(STALL_S):
                line = await stdout.readline()
        except TimeoutError:
            if await is_alive():
                continue
            return Report("away", message="the file system does not answer")
        if not line:
            return Report("failed", message="the scanner ended early; the log says more")
        try:
            report = report_from_line(line)
        except msgspec.DecodeError as error:
            return Report("failed", message=f"the scanner said something unexpected: {error}")
        if report.phase in ("done", "away", "failed"):
            return report
        on_report(report)


def _environment() -> dict[str, str]:
    """Ours, and where this hdpd is, which need not be installed."""
    home = str(Path(hdpd.__file__).parent.parent)
    path = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
