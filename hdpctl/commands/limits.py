"""`hdpctl limits`: how fast may be sent and received, and why."""

from __future__ import annotations

from typing import Any

import click

from hdpctl import show
from hdpctl.params import Session, examples, json_option, pass_session

RATES = ("upload", "download", "upload_per_peer", "download_per_peer")
SET = "set by hand"


@click.command(
    epilog=examples(
        "hdpctl limits --upload 2MB/s --download none",
        "hdpctl limits --upload-per-peer 4Mbit/s",
        "hdpctl limits --reset",
    )
)
@click.option("--upload", metavar="RATE", help="To all peers together.")
@click.option("--download", metavar="RATE", help="From all peers together.")
@click.option("--upload-per-peer", metavar="RATE", help="To each peer.")
@click.option("--download-per-peer", metavar="RATE", help="From each peer.")
@click.option("--lan/--no-lan", default=None, help="Limit peers on the local network, too, or not.")
@click.option("--reset", is_flag=True, help="First forget everything that was set by hand.")
@json_option
@pass_session
def limits(session: Session, /, reset: bool, **given: str | bool | None) -> None:
    """Show the limits of the transfer rates, or set some of them.

    RATE is such as 2MB/s, 500kB/s or 16Mbit/s, at least 10kB/s, or none. What is set here holds at
    once and over restarts, and wins over hdpd.toml and its schedule until --reset. Peers on the
    local network are not limited without --lan.

    Piped, each line has limit, bytes per second or none, and why, separated by tabs.
    """
    changes = {key: value for key, value in given.items() if value is not None}
    if changes or reset:
        result = session.client.call("limits.set", {**changes, "reset": reset})
    else:
        result = session.client.call("limits.get")
    if session.json:
        show.json_document(result)
        return
    holding = result.get("in_force") or {}
    rows = [(key.replace("_", " "), _rate(holding.get(key)), why(result, key)) for key in RATES]
    lan = "limited, too" if holding.get("lan") else "not limited"
    rows.append(("local network", lan, why(result, "lan")))
    show.table(("limit", "rate", "why"), rows)
    if changes and not holding.get("lan"):
        _tell_of_lan(session)


def _tell_of_lan(session: Session) -> None:
    """Whoever tries a limit at home would find that it does nothing."""
    peers = session.client.call("peers.list").get("peers") or []
    near = sum(1 for peer in peers if peer.get("path") == "lan")
    if near:
        on_lan = show.counted(near, "connected peer")
        show.note(f"{on_lan} on the local network: not limited; --lan limits them, too")


def _rate(rate: object) -> str:
    if not isinstance(rate, int):
        return "none"
    return show.rate(rate) if show.on_terminal() else str(rate)


def why(limits: dict[str, Any], key: str) -> str:
    """Where a limit comes from, and for how long where that is known."""
    reason = (limits.get("reasons") or {}).get(key)
    change = limits.get("next_change")
    if reason == "schedule" and change is not None:
        return f"schedule, until {show.moment(change, '%a %H:%M')}"
    return {"set": SET, "base": "settings"}.get(str(reason), str(reason or ""))


def summary(limits: dict[str, Any]) -> str:
    """The limits in force on one line, for `hdpctl status`; "" without any."""
    holding = limits.get("in_force") or {}
    parts = [
        f"{key.replace('_', ' ')} {show.rate(holding[key])} ({why(limits, key)})"
        for key in RATES
        if holding.get(key)
    ]
    if not parts:
        return ""
    return ", ".join(parts) + ("" if holding.get("lan") else "; not on the local network")
