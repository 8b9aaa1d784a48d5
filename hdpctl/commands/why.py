"""`hdpctl why PEER`: how a peer is reached, or why not, and what could be changed."""

from __future__ import annotations

from typing import Any

import click

from hdpctl import completion, show
from hdpctl.params import Session, examples, json_option, pass_session, word

_KINDS = {
    "dial": "dialled",
    "request": "asked to punch",
    "punch": "punched",
    "birthday": "random ports",
}


@click.command(epilog=examples("hdpctl why PersianChinchilla"))
@click.argument("peer", type=word, shell_complete=completion.peers)
@json_option
@pass_session
def why(session: Session, peer: str) -> None:
    """Explain how PEER is reached, or why it is not.

    Shows each way that was tried, when and with what result, and what you could change.
    """
    result = session.client.call("peers.explain", {"peer": peer})
    if session.json:
        return show.json_document(result)
    show.line(str(result.get("reason") or ""))
    show.line(f"NAT here: {result.get('own_nat')}, there: {result.get('peer_nat') or 'not known'}")
    for advice in result.get("advice") or []:
        show.line(f"- {advice}")
    tries = result.get("tries") or []
    return show.table(("way", "address", "when", "result"), [_row(each) for each in tries])


def _row(each: dict[str, Any]) -> tuple[str, str, str, str]:
    return (
        _KINDS.get(str(each.get("kind")), str(each.get("kind"))),
        str(each.get("address") or ""),
        show.moment(each.get("time")),
        str(each.get("result") or ""),
    )
