"""The command line of `hdpctl`: global options, commands loaded when called, errors as one line."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

from hdpctl.errors import ControlError
from hdpctl.params import Session, examples, json_option, server_address, token_text
from hdpctl.server import Server
from hdpctl.text import visible

INTERRUPTED = 130
BROKEN_PIPE = 141

# command -> (module below hdpctl.commands, function); in the order of `hdpctl --help`.
COMMANDS = {
    "status": ("status", "status"),
    "doctor": ("doctor", "doctor"),
    "peers": ("peers", "peers"),
    "why": ("why", "why"),
    "connect": ("peers", "connect"),
    "disconnect": ("peers", "disconnect"),
    "block": ("peers", "block"),
    "unblock": ("peers", "unblock"),
    "invite": ("peers", "invite"),
    "netcheck": ("netcheck", "netcheck"),
    "topics": ("topics", "topics"),
    "ls": ("browse", "ls"),
    "search": ("browse", "search"),
    "cat": ("cat", "cat"),
    "download": ("download", "download"),
    "queue": ("queue", "queue"),
    "verify": ("verify", "verify"),
    "uploads": ("uploads", "uploads"),
    "limits": ("limits", "limits"),
    "shares": ("shares", "shares"),
    "token": ("access", "token"),
    "login-link": ("access", "login_link"),
    "login": ("login", "login"),
    "events": ("raw", "events"),
    "rpc": ("raw", "rpc"),
}


class Root(click.Group):
    """The top level: imports a command's module only when it is called or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"hdpctl.commands.{module}"), name)
        return command

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run, print any error as one line on standard error, and exit with 0, 1, 2, 130 or 141."""
        prepare_output()
        options["standalone_mode"] = False
        run = partial(super().main, *args, **options)
        sys.exit(exit_status(run))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except OSError as error:
            # Calls raise ConnectError where a connection fails: this is standard output.
            abandon_output()
            if error.errno == errno.EPIPE:
                ctx.exit(BROKEN_PIPE)
            raise ControlError(f"cannot write: {error.strerror or error}") from error
        return result


def prepare_output() -> None:
    """Make sure that no character can fail to print, in whatever locale."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - open as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def exit_status(run: Callable[[], object]) -> int:
    """Run; turn what ends it into an exit status, with a line on standard error where due."""
    try:
        code = run()
    except click.Abort:
        abandon_output()
        return INTERRUPTED
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "hdpctl"
        complain(f"{error.format_message()} (see {command} --help)", command)
        return 2
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    # click hands back the status of `ctx.exit`, else what the command returned: nothing.
    return code if isinstance(code, int) else 0


def complain(message: str, command: str = "hdpctl") -> None:
    """Print one line on standard error, after everything printed so far."""
    try:
        sys.stdout.flush()
    except OSError:
        abandon_output()
    sys.stderr.write(f"{command}: {visible(message)}\n")


def abandon_output() -> None:
    """Drop what is still buffered, so that the interpreter does not complain about it at exit."""
    try:
        fd = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, fd)
    os.close(devnull)


def print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    """Answer `--version`."""
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import (  # noqa: PLC0415 - takes longer than most commands
        PackageNotFoundError,
        version,
    )

    try:
        number = version("hdpd")
    except PackageNotFoundError:
        number = "(not installed)"
    click.echo(f"hdpctl {number}")
    ctx.exit()


@click.group(
    cls=Root,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "hdpctl status",
        "hdpctl ls PersianChinchilla/Films",
        "hdpctl download PersianChinchilla/Films --wait",
        "HDPCTL_SERVER=http://nas.local:3030 HDPCTL_TOKEN=... hdpctl queue",
    ),
)
@click.option(
    "--server",
    type=server_address,
    metavar="URL|unix:PATH",
    envvar="HDPCTL_SERVER",
    help="Where hdpd listens, as unix:/run/hdpd/hdpd.sock or http://nas.local:3030.",
)
@click.option(
    "--token",
    type=token_text,
    metavar="T",
    envvar="HDPCTL_TOKEN",
    help="The token for TCP; better in HDPCTL_TOKEN, where no list of processes shows it.",
)
@json_option
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Print the version and exit.",
)
@click.pass_context
def cli(ctx: click.Context, server: Server | None, token: str | None) -> None:
    """Control hdpd: see peers, browse, search and download what they share.

    PEER is a peer's name, its id, or the start of one that no other peer has.

    Without --server: /run/hdpd/hdpd.sock, then $XDG_RUNTIME_DIR/hdpd.sock, then
    http://127.0.0.1:3030, then where `hdpctl login` has logged in last.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(2)
    session = ctx.ensure_object(Session)
    session.server, session.token = server, token
