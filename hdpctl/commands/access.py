"""`hdpctl token` and `login-link`: who may control this hdpd over TCP."""

from __future__ import annotations

import click

from hdpctl import show
from hdpctl.params import ListGroup, Session, examples, json_option, pass_session, word

ROLES = ("read", "control", "admin")


@click.group(
    cls=ListGroup,
    invoke_without_command=True,
    epilog=examples(
        "hdpctl token new --role control",
        "HDPCTL_TOKEN=... hdpctl --server http://nas.local:3030 status",
    ),
)
@json_option
@click.pass_context
def token(ctx: click.Context) -> None:
    """Make, show and revoke the tokens that control over TCP needs."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_tokens)


@token.command(epilog=examples("hdpctl token new --role read"))
@click.option(
    "--role",
    type=click.Choice(ROLES),
    help="read: look; control: the queue too; admin: everything.",
)
@json_option
@pass_session
def new(session: Session, role: str | None) -> None:
    """Make a token and print it: it is shown this once."""
    result = session.client.call("tokens.new", {} if role is None else {"role": role})
    if session.json:
        return show.json_document(result)
    show.line(str(result.get("token") or ""))
    show.note(f"id {result.get('id')}, role {result.get('role')}; it is shown only this once")
    return None


@token.command("list", epilog=examples("hdpctl token list"))
@json_option
@pass_session
def list_tokens(session: Session) -> None:
    """Show the tokens' ids and roles, not the tokens themselves (also: ls)."""
    result = session.client.call("tokens.list")
    if session.json:
        return show.json_document(result)
    rows = [
        (
            str(item.get("id") or ""),
            str(item.get("role") or ""),
            show.moment(item.get("created")),
            show.moment(item.get("last_used")),
        )
        for item in result.get("tokens") or []
    ]
    return show.table(("id", "role", "made", "last used"), rows)


@token.command(epilog=examples("hdpctl token revoke 3f9a"))
@click.argument("token_id", metavar="ID", type=word)
@json_option
@pass_session
def revoke(session: Session, token_id: str) -> None:
    """Make the token with this ID worthless."""
    result = session.client.call("tokens.revoke", {"id": token_id})
    if session.json:
        show.json_document(result)


@click.command("login-link", epilog=examples('xdg-open "$(hdpctl login-link)"'))
@json_option
@pass_session
def login_link(session: Session) -> None:
    """Print a link that opens the control page once.

    It is good for 10 minutes.
    """
    result = session.client.call("tokens.login_link")
    if session.json:
        return show.json_document(result)
    return show.line(str(result.get("url") or ""))
