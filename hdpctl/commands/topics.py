"""`hdpctl topics`: the names at which this hdpd meets others."""

from __future__ import annotations

import click

from hdpctl import completion, show
from hdpctl.params import ListGroup, Session, examples, json_option, pass_session, word


@click.group(
    cls=ListGroup,
    invoke_without_command=True,
    epilog=examples("hdpctl topics", 'hdpctl topics join "place to meet"'),
)
@json_option
@click.pass_context
def topics(ctx: click.Context) -> None:
    """Show, join and leave topics."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_topics)


@topics.command("list", epilog=examples("hdpctl topics list --json"))
@json_option
@pass_session
def list_topics(session: Session) -> None:
    """Show the topics and how many peers are met there (also: ls)."""
    result = session.client.call("topics.list")
    if session.json:
        return show.json_document(result)
    rows = []
    for topic in result.get("topics") or []:
        peers = topic.get("peers")
        count = len(peers) if isinstance(peers, list) else peers
        origin = "settings" if topic.get("configured") else "hdpctl"
        rows.append((str(topic.get("name") or ""), str(count or 0), origin))
    return show.table(("topic", "peers", "from"), rows)


@topics.command(epilog=examples('hdpctl topics join "place to meet"', "hdpctl topics join --new"))
@click.argument("name", type=word, required=False)
@click.option("--new", is_flag=True, help="Make up a topic that nobody can guess.")
@json_option
@pass_session
def join(session: Session, name: str | None, new: bool) -> None:
    """Meet others at the topic NAME, and print it.

    Whoever knows or guesses the name can join: --new makes a secret one of 128 random bits.
    """
    if (name is None) != new:
        raise click.UsageError("give either a NAME or --new")
    result = session.client.call("topics.join", {"name": name} if name is not None else {})
    if warning := result.get("warning"):
        show.note(f"hdpctl: {warning}")
    if session.json:
        return show.json_document(result)
    return show.line(str(result.get("name") or name or ""))


@topics.command(epilog=examples('hdpctl topics leave "place to meet"'))
@click.argument("name", type=word, shell_complete=completion.topics)
@json_option
@pass_session
def leave(session: Session, name: str) -> None:
    """Leave the topic NAME: peers met only there can read nothing any more."""
    result = session.client.call("topics.leave", {"name": name})
    if session.json:
        show.json_document(result)
