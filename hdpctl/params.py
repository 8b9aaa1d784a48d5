"""What every command shares: the session with hdpd, the kinds of arguments, `--json`."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from hdpctl.logins import Logins
from hdpctl.server import Route, Server, parse_server, usual_servers
from hdpctl.text import from_bytes

if TYPE_CHECKING:
    from hdpctl.client import Client
    from hdpctl.stream import Stream

Function = TypeVar("Function", bound=Callable[..., Any])


def examples(*commands: str) -> str:
    """The end of a command's help; its first line makes click keep the others as they are."""
    return "\n".join(["\b", "Examples:", *(f"  {command}" for command in commands)])


@dataclass
class Session:
    """What the options before the command say; connects when first used."""

    server: Server | None = None
    token: str | None = None
    json: bool = False

    @cached_property
    def route(self) -> Route:
        """The way to hdpd, shared by calls and streams."""
        logins = Logins(os.environ)
        if self.server:
            return Route([logins.apply(self.server)])
        servers = [logins.apply(server) for server in usual_servers(os.environ)]
        return Route([*servers, *(s for s in logins.servers() if s not in servers)])

    @cached_property
    def client(self) -> Client:
        """Calls over HTTP; closed with the command."""
        from hdpctl.client import Client  # noqa: PLC0415 - --help needs no connection

        client = Client(self.route, self.token)
        click.get_current_context().find_root().call_on_close(client.close)
        return client

    def stream(self) -> AbstractContextManager[Stream]:
        """A new WebSocket; its library is loaded only by the commands that follow something."""
        from hdpctl.stream import open_stream  # noqa: PLC0415 - takes 0.1 s, few commands need it

        return open_stream(self.route, self.token)


pass_session = click.make_pass_decorator(Session)


def json_option(function: Function) -> Function:
    """Let `--json` stand after the command, too."""

    def remember(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            ctx.ensure_object(Session).json = True

    option = click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Print what the RPC returned and nothing else.",
    )
    return option(function)


class ListGroup(click.Group):
    """A group of commands that lists when none is named; `ls` is another word for `list`."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, "list" if cmd_name == "ls" else cmd_name)


class RemotePath(NamedTuple):
    """PEER/PATH: the peer as it was written, and the path below it ("" for the peer itself)."""

    peer: str
    path: str


def server_address(text: str) -> Server:
    """Read an address of hdpd."""
    try:
        return parse_server(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def token_text(text: str) -> str:
    """Read a token: it must fit into an HTTP header."""
    token = text.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise click.BadParameter("a token has only visible ASCII characters")
    return token


def word(text: str) -> str:
    """Read what must be valid Unicode: a peer, a topic, an id."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.BadParameter(f"{text!a} is not valid UTF-8") from None
    return text


def path_text(argument: str) -> str:
    """Read a file name or path of any bytes: gives the text that stands for it in hdpd."""
    return from_bytes(os.fsencode(argument))


def remote(argument: str) -> RemotePath:
    """Read PEER or PEER/PATH; trailing slashes do not matter."""
    text = path_text(argument)
    peer, _, path = text.partition("/")
    if not peer:
        raise click.BadParameter(f"{text!r} names no peer: write PEER/PATH")
    return RemotePath(peer, path.rstrip("/"))


def remote_file(argument: str) -> RemotePath:
    """Read PEER/PATH where the path is needed."""
    target = remote(argument)
    if not target.path:
        hint = f"`hdpctl ls {target.peer}` shows what there is"
        raise click.BadParameter(f"{argument!r} names no path: {hint}")
    return target
