"""Many lives of a download on models of disks and peers: `python -m tests.soak.lives RUNS SECONDS`.

Ends after so many, or so long: on a busy machine there are fewer. The exit status is 1 when one of
them ended wrongly.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter

from tests.downloads.machine import run


def main() -> int:
    runs, seconds = int(sys.argv[1]), float(sys.argv[2])
    first, deadline = random.randrange(2**60), time.monotonic() + seconds
    ended: Counter[str] = Counter()
    for seed in range(first, first + runs):
        if time.monotonic() > deadline:
            break
        try:
            ended[run(seed)] += 1
        except Exception as error:  # noqa: BLE001 - told, and the next one is run
            print(f"  WRONG: run({seed}): {error!r}")
            ended["WRONG"] += 1
    print(f"machine: {ended.total():,} of {runs:,} lives of a download")
    for how, count in sorted(ended.items()):
        print(f"  {count:>13,}  {how}")
    return int(ended["WRONG"] > 0)


if __name__ == "__main__":
    sys.exit(main())
