"""Tab completion: peers, their paths, download ids, shares and topics, as hdpd knows them now.

Whatever goes wrong completes nothing: a message would end up in the middle of a command line.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
)

from hdpctl.errors import ControlError
from hdpctl.server import Route, parse_server, usual_servers
from hdpctl.text import from_bytes

if TYPE_CHECKING:
    from hdpctl.client import Client, Json

MAX_COMPLETIONS = 500  # what a shell can show; more only takes time
SHELLS: dict[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
Candidates: TypeAlias = "Callable[[Client, str], Iterable[tuple[str, str]]]"


def script(shell: str, root: click.Command) -> str:
    """The completion script for `bash`, `zsh` or `fish`."""
    source = SHELLS[shell](root, {}, "hdpctl", "_HDPCTL_COMPLETE").source()
    if shell == "bash":
        # Names hold spaces, and a directory is not the end of a path.
        source = source.replace(
            "COMPREPLY+=($value)", 'COMPREPLY+=("$(printf %q "$value")")'
        ).replace(
            "    return 0", "    [[ ${COMPREPLY[0]} == */ ]] && compopt -o nospace\n    return 0"
        )
    return source


def _completer(candidates: Candidates) -> Completer:
    """Asks hdpd; the candidates are words with a help text each."""

    @functools.wraps(candidates)
    def complete(
        ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from hdpctl.client import Client  # noqa: PLC0415 - --help needs no connection

        given = ctx.find_root().params
        try:
            server = given.get("server") or os.environ.get("HDPCTL_SERVER")
            if isinstance(server, str):
                server = parse_server(server)
            client = Client(
                Route([server] if server else usual_servers(os.environ)),
                given.get("token") or os.environ.get("HDPCTL_TOKEN"),
            )
            try:
                found = list(candidates(client, incomplete))
            finally:
                client.close()
        except (ControlError, ValueError):
            return []
        start = incomplete.lower()
        return [
            CompletionItem(word, help=help_text)
            for word, help_text in found
            if word.lower().startswith(start)
        ][:MAX_COMPLETIONS]

    return complete


def _peers(client: Client, _incomplete: str, **params: bool) -> Iterable[tuple[str, str]]:
    for peer in client.call("peers.list", params)["peers"]:
        yield str(peer["name"]), str(peer["state"])


@_completer
def peers(client: Client, incomplete: str) -> Iterable[tuple[str, str]]:
    """Peers, also those that are not connected."""
    return _peers(client, incomplete, all=True)


@_completer
def paths(client: Client, incomplete: str) -> Iterable[tuple[str, str]]:
    """PEER/, then what is below it."""
    typed = from_bytes(os.fsencode(incomplete))
    peer, slash, path = typed.partition("/")
    if not slash:
        yield "self/", "this hdpd"
        for name, state in _peers(client, incomplete):
            if state == "connected":
                yield f"{name}/", state
        return
    parent, _, _ = path.rpartition("/")
    listing = client.call("files.list", {"peer": peer, "path": parent, "limit": MAX_COMPLETIONS})
    for entry in listing["entries"]:
        yield f"{peer}/{_joined(parent, entry)}", str(entry["type"])


def _joined(parent: str, entry: Json) -> str:
    whole = f"{parent}/{entry['name']}" if parent else str(entry["name"])
    return f"{whole}/" if entry["type"] == "directory" else whole


@_completer
def downloads(client: Client, _incomplete: str) -> Iterable[tuple[str, str]]:
    """Ids of downloads, and `all`."""
    yield "all", "every download"
    for download in client.call("downloads.list", {"limit": MAX_COMPLETIONS})["downloads"]:
        yield str(download["id"]), f"{download['state']} {download['path']}"


@_completer
def shares(client: Client, _incomplete: str) -> Iterable[tuple[str, str]]:
    """Names of the shares of this hdpd."""
    for share in client.call("shares.list")["shares"]:
        yield str(share["name"]), str(share["path"])


@_completer
def topics(client: Client, _incomplete: str) -> Iterable[tuple[str, str]]:
    """The joined topics."""
    for topic in client.call("topics.list")["topics"]:
        yield str(topic["name"]), f"{topic['peers']} peers"
