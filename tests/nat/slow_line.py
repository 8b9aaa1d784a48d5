"""A slow, lossy line for the laboratory: what goes from one home to another passes through it.

`python -m tests.nat.slow_line BYTES_PER_S ONE_WAY_S LOSS [CUT_S EVERY_S]` makes a TUN device `slow`
and hands each packet that it is given back to the kernel, as late as the line is long, unless it is
lost. Each destination has a line of its own. With CUT_S nothing comes through for so long at the
end of every EVERY_S.
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import sys
import time

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
DEVICE = "slow"
BUFFER_S = 0.1  # a router's queue; what would wait longer is dropped


def open_tun() -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    return tun


def main(arguments: list[str]) -> None:
    rate, delay, loss, *cut = map(float, arguments)
    dark, period = cut or (0.0, 1.0)
    tun = open_tun()
    free_at: dict[bytes, float] = {}  # when the line to a destination has sent what it was given
    arriving: list[tuple[float, int, bytes]] = []
    order = itertools.count()
    began = time.monotonic()
    while True:
        wait = max(0.0, arriving[0][0] - time.monotonic()) if arriving else None
        readable = select.select([tun], [], [], wait)[0]
        now = time.monotonic()
        while arriving and arriving[0][0] <= now:
            os.write(tun, heapq.heappop(arriving)[2])
        for _ in range(64 if readable else 0):
            try:
                packet = os.read(tun, 65_536)
            except BlockingIOError:
                break
            start = max(now, free_at.get(packet[16:20], now))
            is_cut = (now - began) % period >= period - dark
            if is_cut or start - now > BUFFER_S or random.random() < loss:
                continue
            free_at[packet[16:20]] = start + len(packet) / rate
            arrival = free_at[packet[16:20]] + delay
            heapq.heappush(arriving, (arrival, next(order), packet))


if __name__ == "__main__":
    main(sys.argv[1:])
