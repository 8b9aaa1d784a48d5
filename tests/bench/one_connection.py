"""hdpd, held to one connection with each peer: what a lossy line gives without further ones."""

from __future__ import annotations

import sys

from hdpd.__main__ import main
from hdpd.downloads import trials

if __name__ == "__main__":
    trials.MAX_CONNECTIONS = 1  # type: ignore[misc]  # a constant of hdpd's, not a setting
    sys.exit(main())
