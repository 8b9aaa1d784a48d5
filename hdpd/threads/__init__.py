"""Ways to run what blocks, so that nothing ever holds the event loop.

`disk_threads.py` for many short calls on shared files, `worker.py` for one thread that works in
order, `blocking.py` for calls that may never come back.
"""

FACE = (
    "blocking.BlockingCalls",
    "disk_threads.DiskThreads",
    "worker.Worker",
)
