"""`hdpctl events` and `rpc`: the control interface itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from hdpctl import show
from hdpctl.params import Session, examples, json_option, pass_session, word

# Made from hdpd's table of methods; a newer hdpd may have more.
METHODS = "\b\nMethods, their parameters, and the role that a token needs:\n" + "\n".join(
    f"  {line}" for line in (Path(__file__).parents[1] / "methods.txt").read_text().splitlines()
)


@click.command(
    epilog=examples(
        "hdpctl events", "hdpctl events --type download.changed --type download.removed --json"
    )
)
@click.option("--since", type=click.IntRange(min=0), help="Replay from this sequence number on.")
@click.option("--type", "types", multiple=True, type=word, help="Only events of this type.")
@json_option
@pass_session
def events(session: Session, since: int | None, types: tuple[str, ...]) -> None:
    """Follow what happens, until Ctrl-C.

    --json prints one object a line: seq, time, type, data.
    """
    params: dict[str, Any] = {}
    if since is not None:
        params["since"] = since
    if types:
        params["types"] = list(types)
    with session.stream() as stream:
        stream.call("events.subscribe", params)
        while notification := stream.next(None):
            method, event = notification
            if method != "event":
                continue
            if session.json:
                show.json_line(event)
            else:
                show.line(describe(event))
            show.flush()


def describe(event: dict[str, Any]) -> str:
    """One event as a line: local time, type, data."""
    clock = show.moment(event.get("time"), "%H:%M:%S")
    return f"{clock} {event.get('type', '?')} {show.json_text(event.get('data'))}"


@click.command(
    epilog=f"{METHODS}\n\n"
    + examples(
        "hdpctl rpc daemon.info",
        'hdpctl rpc files.list \'{"peer": "self", "path": "Films"}\'',
        "hdpctl rpc rpc.discover | jq -r '.methods[].name'",
    )
)
@click.argument("method", type=word)
@click.argument("params", metavar="[JSON]", required=False)
@json_option
@pass_session
def rpc(session: Session, method: str, params: str | None) -> None:
    """Call any METHOD of the control interface.

    The object JSON has the parameters by name; the result is printed. @- reads the object from
    standard input.
    """
    show.json_document(session.client.call(method, parse_params(params)))


def parse_params(text: str | None) -> dict[str, Any]:
    """Read the JSON argument of `rpc`.

    Raises click.UsageError where it is not an object.
    """
    if text is None:
        return {}
    try:
        value = json.loads(sys.stdin.buffer.read() if text == "@-" else text)
    except ValueError as error:
        raise click.UsageError(f"the parameters are not JSON: {error}") from error
    if not isinstance(value, dict):
        raise click.UsageError('parameters go by name, in an object such as {"peer": "self"}')
    return value
