"""`hdpctl uploads`: what is being sent and who is waiting."""

from __future__ import annotations

import click

from hdpctl import completion, show
from hdpctl.params import ListGroup, Session, examples, json_option, pass_session, word


@click.group(cls=ListGroup, invoke_without_command=True, epilog=examples("hdpctl uploads"))
@json_option
@click.pass_context
def uploads(ctx: click.Context) -> None:
    """Show and cancel what peers are reading from here."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_uploads)


@uploads.command("list", epilog=examples("hdpctl uploads list"))
@json_option
@pass_session
def list_uploads(session: Session) -> None:
    """Show what is being sent and who is waiting for a slot (also: ls).

    Piped, each line has peer, state or place, bytes sent, size, rate, path; separated by tabs.
    """
    result = session.client.call("uploads.list")
    if session.json:
        return show.json_document(result)
    active, waiting = result.get("active") or [], result.get("waiting") or []
    if not active and not waiting:
        return None
    names = show.PeerNames(session.client.call("peers.list", {"all": True}).get("peers") or [])
    rows = []
    for upload in active:
        sent, total = show.amount(upload.get("offset")), show.amount(upload.get("size"))
        row = (names.shown(upload.get("peer")), "sending", sent, total)
        rows.append((*row, show.rate(upload.get("rate")), str(upload.get("path") or "")))
    for upload in waiting:
        place = f"place {upload.get('position')}"
        peer = names.shown(upload.get("peer"))
        rows.append((peer, place, "", "", "", str(upload.get("path") or "")))
    return show.table(("peer", "state", "sent", "size", "rate", "path"), rows)


@uploads.command(epilog=examples("hdpctl uploads cancel PersianChinchilla"))
@click.argument("peer", type=word, shell_complete=completion.peers)
@json_option
@pass_session
def cancel(session: Session, peer: str) -> None:
    """Stop sending to PEER and drop its place in the queue."""
    result = session.client.call("uploads.cancel", {"peer": peer})
    if session.json:
        show.json_document(result)
