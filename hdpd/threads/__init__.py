"""The three ways to run what blocks; nothing else starts a thread, and none holds the event loop.

Begin with this list. All threads are daemons: one that hangs in the kernel does not keep hdpd from
ending.

- `worker.py`, for what has an owner: calls one after another, in the order of asking (databases,
  the volumes that downloads are written to). After a call that never comes back, nothing of that
  worker is done any more; whoever asked has to stop waiting after a while.
- `disk_threads.py`, for many short calls on files, in queues that a few threads serve (reading what
  is shared). A queue whose calls never come back keeps its threads, and all others go on.
- `blocking.py`, for a call that may well never come back (a dead mount, a name server): in a thread
  of its own, left alone when its time is over. A few such threads for each thing that is asked.
"""

FACE = (
    "blocking.BlockingCalls",
    "disk_threads.DiskThreads",
    "worker.Worker",
)
