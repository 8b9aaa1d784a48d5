"""`hdpctl status`: everything at a glance, in one request."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import click

from hdpctl import show
from hdpctl.commands import limits
from hdpctl.errors import RpcError
from hdpctl.params import Session, examples, json_option, pass_session

UNFINISHED = ["queued", "waiting_for_peer", "remote_queued", "downloading", "paused", "failed"]
MOST_PLACES = 3  # directories that downloads go to, named on one line
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("daemon.info", {}),
    ("peers.list", {}),
    ("topics.list", {}),
    ("shares.list", {}),
    ("downloads.list", {"states": UNFINISHED, "limit": 1000}),
    ("uploads.list", {}),
    ("limits.get", {}),
]


@click.command(epilog=examples("hdpctl status --json | jq -r .udp_ports[0]"))
@json_option
@pass_session
def status(session: Session) -> None:
    """Show name, ports, peers, topics, index and transfers.

    --json prints the results of daemon.info, peers.list, topics.list, shares.list,
    downloads.list (the unfinished ones) and uploads.list in one object, with that of
    limits.get as `limits`.
    """
    answers = session.client.batch(CALLS)
    if isinstance(answers[0], RpcError):
        raise answers[0]
    for answer in answers[1:]:
        if isinstance(answer, RpcError):
            show.note(f"hdpctl: {answer.format_message()}")
    everything: dict[str, Any] = {}
    for (method, _), answer in reversed(list(zip(CALLS, answers, strict=True))):
        if not isinstance(answer, RpcError):
            everything |= {"limits": answer} if method == "limits.get" else answer
    if session.json:
        show.json_document(everything)
        return
    for text in describe(everything, time.time()):
        show.line(text)


def describe(of: dict[str, Any], now: float) -> list[str]:
    """The lines of `status` for the merged results; what hdpd did not say is left out."""
    version = f"{of.get('version', '?')} (API {of.get('api_version', '?')})"
    if isinstance(started := of.get("started"), (int, float)):
        version += f", up {show.duration(max(0, now - started))}"
    fields = [
        ("version", version),
        ("UDP ports", show.words(of.get("udp_ports"))),
        ("control", show.words(of.get("controls"))),
        ("settings", _settings(of.get("configuration"))),
        ("addresses", show.words(of.get("addresses"))),
        ("NAT", _nat(of.get("nat"))),
        ("QUIC", str(of.get("quic_engine") or "")),
        ("peers", _peers(of["peers"]) if "peers" in of else ""),
        ("topics", _topics(of["topics"]) if "topics" in of else ""),
        ("index", _index(of["shares"]) if "shares" in of else ""),
        ("downloads", _downloads(of) if "downloads" in of else ""),
        ("uploads", _uploads(of) if "active" in of else ""),
        ("limits", limits.summary(of["limits"]) if "limits" in of else ""),
    ]
    head = f"{of.get('name', '?')} {of.get('peer_id', '')}"
    return [head, *(f"  {label:<10} {text}" for label, text in fields if text)]


def _nat(nat: object) -> str:
    if isinstance(nat, dict):
        return ", ".join(f"{k} {v}" for k, v in nat.items() if isinstance(v, (str, int, float)))
    return str(nat or "")


def _settings(configuration: object) -> str:
    """The files in force, and what of them is not."""
    if not isinstance(configuration, dict):
        return ""
    parts = [show.words(configuration.get("files")) or "no file"]
    if refused := configuration.get("refused"):
        parts.append(f"NOT USED as they are now: {refused}")
    if waiting := configuration.get("restart_needed"):
        parts.append(f"waiting for a restart: {show.words(waiting)}")
    return "; ".join(parts)


def _peers(peers: list[dict[str, Any]]) -> str:
    states = Counter(peer.get("state") for peer in peers)
    names = show.PeerNames(peers)
    connected = [names.shown(p.get("id")) for p in peers if p.get("state") == "connected"]
    text = f"{len(connected)} connected"
    if states["connecting"]:
        text += f", {states['connecting']} connecting"
    shown = ", ".join(connected[:5]) + (", ..." if len(connected) > 5 else "")
    return f"{text}: {shown}" if shown else text


def _topics(topics: list[dict[str, Any]]) -> str:
    if not topics:
        return "none; `hdpctl topics join NAME` meets people at one"
    return ", ".join(f"{t.get('name')} ({_peer_count(t.get('peers'))}{_origin(t)})" for t in topics)


def _origin(item: dict[str, Any]) -> str:
    """Where a topic or share comes from: what is in the settings is removed there only."""
    return ", in the settings" if item.get("configured") else ""


def _peer_count(peers: object) -> str:
    return show.counted(len(peers) if isinstance(peers, list) else peers, "peer")


def _index(shares: list[dict[str, Any]]) -> str:
    files = sum(share.get("files") or 0 for share in shares)
    total = sum(share.get("bytes") or 0 for share in shares)
    text = (
        f"{show.counted(len(shares), 'share')}, {show.counted(files, 'file')}, {show.size(total)}"
    )
    if configured := sum(1 for share in shares if share.get("configured")):
        text += f" ({configured} in the settings)"
    states = Counter(share.get("state") for share in shares if share.get("state") != "ready")
    return "; ".join([text, *(f"{count} {state}" for state, count in states.items())])


def _downloads(of: dict[str, Any]) -> str:
    downloads = of["downloads"]
    more = "+" if of.get("next_cursor") is not None else ""
    states = Counter(download.get("state") for download in downloads)
    speed = sum(download.get("rate") or 0 for download in downloads)
    parts = [
        f"{states[state]}{more} {state.replace('_', ' ')}" for state in UNFINISHED if states[state]
    ]
    text = ", ".join(parts + [show.rate(speed)] * bool(speed)) or "none"
    places = {str(d.get("place") or "").rpartition("/")[0] for d in downloads} - {""}
    shown = sorted(places)[:MOST_PLACES]
    more_places = ", ..." if len(places) > len(shown) else ""
    return f"{text}; to {', '.join(shown)}{more_places}" if shown else text


def _uploads(of: dict[str, Any]) -> str:
    active, waiting = of["active"], of.get("waiting") or []
    if not active and not waiting:
        return "none"
    speed = sum(upload.get("rate") or 0 for upload in active)
    text = f"{len(active)} active, {len(waiting)} waiting"
    return f"{text}, {show.rate(speed)}" if speed else text
