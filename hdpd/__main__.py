"""The command line: reads the configuration, starts hdpd, and tells what went wrong in one line."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
from collections.abc import Sequence

from hdpd import log
from hdpd.config import command_line
from hdpd.config.resolve import resolve
from hdpd.config.toml import to_toml
from hdpd.errors import StartError
from hdpd.journal import JournalHandler

EXIT_OK = 0
EXIT_CANNOT_START = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs hdpd until it is told to stop, and returns its exit status: 2 when it cannot start."""
    try:
        arguments = command_line.parse(sys.argv[1:] if argv is None else argv)
        config = resolve(arguments, os.environ)
        match arguments.action:
            case "check-config":
                files = ", ".join(map(str, config.config_files))
                source = files or "there is no file; flags and defaults are used"
                print(f"hdpd: the configuration is good ({source})")  # noqa: T201
                return EXIT_OK
            case "print-config":
                print(to_toml(config), end="")  # noqa: T201
                return EXIT_OK
            case "run":
                log.configure(config.log_level, _log_handler())
                # What is loaded stays: to look through it all the time would take a tenth of it.
                gc.disable()
                # Only now, so that the answers above come at once.
                from hdpd import app  # noqa: PLC0415

                gc.enable()
                return asyncio.run(app.run(config, lambda: resolve(arguments, os.environ)))
    except StartError as error:
        message = " ".join(error.message.split())
        print(f"hdpd: {message}", file=sys.stderr)  # noqa: T201
        return EXIT_CANNOT_START


def _log_handler() -> logging.Handler:
    """The journal where standard error goes there anyway, else standard error."""
    systemd = log.under_systemd(os.environ, sys.stderr)
    if systemd:
        with contextlib.suppress(OSError):
            return JournalHandler()
    return log.stream_handler(systemd=systemd)


if __name__ == "__main__":
    sys.exit(main())
