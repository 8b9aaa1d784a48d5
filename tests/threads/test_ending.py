"""A program whose threads hang ends all the same."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

PROGRAM = """
import asyncio, threading, time
from hdpd.threads.blocking import BlockingCalls
from hdpd.threads.disk_threads import DiskThreads
from hdpd.threads.worker import Worker

begun = threading.Event()

def hang():
    begun.set()
    time.sleep(60)

async def main():
    {way}
    while not begun.is_set():
        await asyncio.sleep(0.01)
    print("hangs", flush=True)

asyncio.run(main())
"""

WAYS = [
    'Worker("test").submit(hang)',
    'worker = Worker("test", 2); worker.submit(hang); worker.close()',
    'DiskThreads().run("share", hang)',
    'waiting = asyncio.create_task(BlockingCalls("test").run(hang, 60))',
]


@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_never_comes_back_does_not_keep_the_program_from_ending(way: str) -> None:
    arguments = [sys.executable, "-c", PROGRAM.format(way=way)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"hangs\n"
        began = time.monotonic()
        _, errors = program.communicate(timeout=30)
        assert time.monotonic() - began < 5
        assert program.returncode == 0, errors.decode()
