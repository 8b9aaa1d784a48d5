"""`hdpctl peers`, `connect`, `disconnect`, `block`, `unblock`, `invite`: who is there."""

from __future__ import annotations

import click

from hdpctl import completion, show
from hdpctl.params import Session, examples, json_option, pass_session, word


@click.command(epilog=examples("hdpctl peers --all"))
@click.option(
    "-a", "--all", "everyone", is_flag=True, help="Show blocked and long unseen ones, too."
)
@json_option
@pass_session
def peers(session: Session, everyone: bool) -> None:
    """Show peers, how they were found and how they are connected.

    Piped, each line has name, id, state, path, address, found by, topics, round-trip time in ms,
    connected since, error; separated by tabs.
    """
    result = session.client.call("peers.list", {"all": True} if everyone else {})
    if session.json:
        return show.json_document(result)
    found = result.get("peers") or []
    names = show.PeerNames(found)
    headers = (
        "peer",
        "id",
        "state",
        "path",
        "address",
        "found by",
        "topics",
        "ms",
        "since",
        "error",
    )
    rows = []
    for peer in found:
        rtt, peer_id = peer.get("rtt"), str(peer.get("id"))
        rows.append(
            (
                names.shown(peer_id),
                peer_id[: show.ID_CHARS] if show.on_terminal() else peer_id,
                str(peer.get("state") or ""),
                str(peer.get("path") or ""),
                str(peer.get("address") or ""),
                show.words(peer.get("found_by")),
                show.words(peer.get("topics")),
                f"{rtt * 1000:.1f}" if isinstance(rtt, (int, float)) else "",
                show.moment(peer.get("connected_since")),
                _reason(peer.get("error")),
            )
        )
    if not rows and show.on_terminal():
        show.note(
            "nobody yet; `hdpctl topics` shows where hdpd looks, `hdpctl invite` asks someone"
        )
        return None
    return show.table(headers, rows)


@click.command(epilog=examples("hdpctl connect hdp1-..."))
@click.argument("code", type=word)
@json_option
@pass_session
def connect(session: Session, code: str) -> None:
    """Connect by an invite CODE, and print whose it is.

    Its maker got it from `hdpctl invite`; it is good for 7 days.
    """
    result = session.client.call("peers.connect", {"code": code})
    if session.json:
        return show.json_document(result)
    known = session.client.call("peers.list", {"all": True}).get("peers") or []
    return show.line(show.PeerNames(known).in_path(result.get("peer")))


@click.command(epilog=examples("hdpctl disconnect PersianChinchilla"))
@click.argument("peer", type=word, shell_complete=completion.peers)
@json_option
@pass_session
def disconnect(session: Session, peer: str) -> None:
    """Close the connection to PEER."""
    _do(session, "peers.disconnect", peer)


@click.command(epilog=examples("hdpctl block PersianChinchilla"))
@click.argument("peer", type=word, shell_complete=completion.peers)
@json_option
@pass_session
def block(session: Session, peer: str) -> None:
    """Close the connection to PEER and never connect again."""
    _do(session, "peers.block", peer)


@click.command(epilog=examples("hdpctl unblock PersianChinchilla"))
@click.argument("peer", type=word, shell_complete=completion.peers)
@json_option
@pass_session
def unblock(session: Session, peer: str) -> None:
    """Let PEER connect again."""
    _do(session, "peers.unblock", peer)


@click.command(epilog=examples("hdpctl invite"))
@json_option
@pass_session
def invite(session: Session) -> None:
    """Print a code that brings a friend here.

    The friend gives it to `hdpctl connect CODE`. It holds a private topic and addresses of this
    machine; give it to friends only.
    """
    result = session.client.call("peers.invite")
    if session.json:
        return show.json_document(result)
    return show.line(str(result.get("code") or ""))


def _do(session: Session, method: str, peer: str) -> None:
    result = session.client.call(method, {"peer": peer})
    if session.json:
        show.json_document(result)


def _reason(error: object) -> str:
    """Why a peer is not connected, in words."""
    return str(error.get("message") or "") if isinstance(error, dict) else ""
