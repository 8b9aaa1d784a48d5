"""Running the UPnP program as a child process: starting it, giving it its job, ending it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import msgspec

import hdpd
from hdpd.errors import ProtocolError, TimedOut
from hdpd.nat.upnp_jobs import Job, Outcome

JOB_S = 10.0
MAX_OUTCOME_BYTES = 16 * 1024


class Child:
    """One process for one job. It is started at once; the job may come while it is loading."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._starting = loop.create_task(_start(), name="start of the UPnP process")

    async def run(self, job: Job) -> Outcome:
        """The outcome of the job; the process has ended then.

        Raises:
            TimedOut: it took longer than 10 s.
            ProtocolError: it could not be started, or ended without an outcome.
        """
        try:
            process = await asyncio.shield(self._starting)
            assert process.stdin is not None
            assert process.stdout is not None
            async with asyncio.timeout(JOB_S):
                process.stdin.write(msgspec.json.encode(job))
                process.stdin.close()
                answer = await process.stdout.readline()
            return msgspec.json.decode(answer, type=Outcome)
        except TimeoutError:
            raise TimedOut("the router does not answer in time") from None
        except OSError as error:
            raise ProtocolError(f"no process can be started: {error.strerror}") from None
        except (msgspec.DecodeError, ValueError):
            raise ProtocolError("the router's answers make no sense") from None
        finally:
            await self.close()

    async def close(self) -> None:
        """Ends the process, whatever it is doing."""
        with contextlib.suppress(OSError):
            process = await self._starting
            if process.stdin is not None:
                process.stdin.close()
            if process.returncode is None:
                # Not `process.kill`, which may collect the exit status before asyncio does.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            await process.wait()


async def _start() -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "hdpd.nat.upnp_child"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_environment(),
        limit=MAX_OUTCOME_BYTES,
    )


def _environment() -> dict[str, str]:
    """Ours, and where this hdpd is, which need not be installed."""
    home = str(Path(hdpd.__file__).parent.parent)
    path = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
