"""`hdpctl login`: remembers a token for an hdpd on another computer."""

from __future__ import annotations

import os
import ssl
from dataclasses import replace
from urllib.parse import parse_qs

import click

from hdpctl import show
from hdpctl.client import Client
from hdpctl.errors import ConnectError
from hdpctl.logins import Logins
from hdpctl.params import Session, examples, pass_session, server_address, token_text
from hdpctl.server import Route, Server
from hdpctl.tls import colons, look_at


@click.command(
    epilog=examples(
        "hdpctl login http://nas.local:3030",
        "hdpctl login 'http://nas.local:3030/#code=...'",
    )
)
@click.argument("url", metavar="URL")
@pass_session
def login(session: Session, url: str) -> None:
    """Log in to the hdpd at URL, once for all later commands.

    URL may be a link of `hdpctl login-link`; otherwise a token is asked for, or taken from --token.
    It is kept in ~/.config/hdpctl, readable by you alone.
    """
    address, _hash, fragment = url.partition("#")
    server = server_address(address)
    if server.scheme == "unix":
        raise click.UsageError("a Unix socket needs no login")
    logins = Logins(os.environ)
    server = replace(server, fingerprint=_trusted(logins.apply(server)))
    code = parse_qs(fragment).get("code", [""])[0]
    token = _new_session(server, code) if code else session.token or _asked()
    server = replace(server, token=token)
    client = Client(Route([server]), token)
    try:
        role = client.call("tokens.current").get("role")
    finally:
        client.close()
    path = logins.save(server)
    show.line(f"logged in to {server}, role {role}; kept in {path}")


def _asked() -> str:
    return token_text(click.prompt("Token", hide_input=True, err=True))


def _new_session(server: Server, code: str) -> str:
    client = Client(Route([server]), None)
    try:
        return client.log_in(code)
    finally:
        client.close()


def _trusted(server: Server) -> str:
    """The fingerprint to insist on: none where the system trusts the certificate anyway."""
    if server.scheme != "https":
        return ""
    try:
        server.connect().close()
    except ssl.SSLError:
        pass
    except OSError as error:
        raise ConnectError(f"cannot connect to {server}: {error.strerror or error}") from error
    else:
        return server.fingerprint
    fingerprint = look_at(server.connect_plainly(), server.host)
    show.note(
        f"{server} has a certificate that nobody vouches for. Its SHA-256 fingerprint is\n"
        f"  {colons(fingerprint)}\n"
        "which must be the one that hdpd shows on its own machine (`hdpctl status`, or its log)."
    )
    click.confirm("Is it the same?", abort=True, err=True)
    return fingerprint
