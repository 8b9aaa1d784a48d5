"""Entry point of `hdpctl` and of `python -m hdpctl`."""

from __future__ import annotations

from hdpctl.cli import cli


def main() -> None:
    """Run the command line; ends the process with its exit status (0, 1, 2, 130 or 141)."""
    cli.main(prog_name="hdpctl")


if __name__ == "__main__":
    main()
