"""`hdpctl doctor`: what keeps hdpd from its work, and what to do about it."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import click

from hdpctl import show
from hdpctl.errors import ConnectError, ControlError
from hdpctl.params import Session, examples, json_option, pass_session

MARKS = {"failed": "FAILED"}  # the others are words enough
CHECK_S = 10.0


@click.command(epilog=examples("hdpctl doctor", "hdpctl doctor --json | jq -r .findings[].state"))
@json_option
@pass_session
@click.pass_context
def doctor(ctx: click.Context, session: Session) -> None:
    """Check configuration, directories, space, network and shares.

    Each line is ok, a warning or a failure, with what to do about it. The exit status is 1 when
    anything failed.
    """
    try:
        found = session.client.call("daemon.doctor")
    except ConnectError as error:
        raise ControlError(f"{error.format_message()}{_why_not_running()}") from error
    if session.json:
        show.json_document(found)
    else:
        for finding in found["findings"]:
            _show(finding)
    if any(finding["state"] == "failed" for finding in found["findings"]):
        ctx.exit(1)


def _show(finding: dict[str, Any]) -> None:
    mark = MARKS.get(finding["state"], finding["state"])
    show.line(f"{mark:<8} {finding['check']}: {finding['text']}")
    if finding.get("advice"):
        show.line(f"{'':<8} -> {finding['advice']}")


def _why_not_running() -> str:
    """What hdpd on this machine says about its configuration, where there is one."""
    program = shutil.which("hdpd")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, "--check-config"],
            capture_output=True,
            text=True,
            timeout=CHECK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    said = (done.stderr or done.stdout).strip()
    return f"; {said}; `systemctl status hdpd` and `journalctl -u hdpd` say more"
