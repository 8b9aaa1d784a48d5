"""Writes docs/rpc.md, and the list in `hdpctl rpc --help`, from the table of methods:
`python -m hdpd.control.document`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from hdpd.control.call import Method
from hdpd.control.eventlog import LOST
from hdpd.control.eventtypes import EVENTS
from hdpd.control.jsonrpc import MAX_BATCH, MAX_MESSAGE_BYTES, error_code
from hdpd.control.methods import METHODS
from hdpd.control.openrpc import discover
from hdpd.errors import HdpdError, StartError

FILE = Path(__file__).parents[2] / "docs" / "rpc.md"
# A copy, as hdpctl imports nothing of hdpd.
HDPCTL_FILE = Path(__file__).parents[2] / "hdpctl" / "methods.txt"

PROSE = f"""\
# The control interface

Made by `python -m hdpd.control.document`; change hdpd/control/document.py or the table in
hdpd/control/methods.py instead of this file.

JSON-RPC 2.0 at `/rpc`, over WebSocket and by HTTP POST, with the same methods. Parameters go by
name. Sizes are bytes, times are seconds since the epoch, rates are bytes per second. Ids are opaque
strings, stable over restarts. Lists take `limit` and `cursor` and answer `next_cursor`, null on the
last page; a page may be shorter than `limit`. Fields may be added to results, none is removed.

A request has at most {MAX_MESSAGE_BYTES} bytes, a batch at most {MAX_BATCH} requests; they run side
by side, in no certain order. `rpc.discover` answers with all of this as an OpenRPC document.

Paths are a share's name and what is below it, joined by `/`. They are text: each byte that is not
part of valid UTF-8 is written as U+EF80 to U+EFFF (0x80 as U+EF80), and a real character of that
range byte by byte likewise, so that the bytes can be had back.

## Who may call

On a Unix socket the file's permissions decide, and everything may be called. On TCP a token is
needed, as `Authorization: Bearer hdp_…` or in the cookie that a browser gets by logging in:
`tokens.login_link` makes a URL with a code that works once within 10 minutes, and
`POST /login {{"code": "…"}}` trades the code for the cookie, as does `{{"token": "hdp_…"}}`, and
`POST /logout` ends the browser's session. A token has a role: `read` looks at
everything and reads files, `control` also changes the queues and the limits, `admin` may do
everything. A wrong token is answered late, and ever later, a right one at once.

Whatever the token, requests over TCP are refused (403) when
- `Host` is not an IP address, `localhost`, this machine's name, that name with `.local`, or one
  that `control.hostnames` in hdpd.toml lists,
- `Origin` is sent and is not exactly the scheme, host and port that the request goes to,
- `Sec-Fetch-Site` is sent and is neither `same-origin` nor `none`,
- they come without TLS from the internet; private networks and neighbours may do without it.

## Notifications

They come over WebSocket only, after `events.subscribe` and `files.search` with `stream`.

`event {{seq, time, type, data}}`: `seq` rises, also over restarts of hdpd. A client that comes back
passes the last `seq` it saw as `since`. Events are held for a while only: `events.lost` with
`data.seq` says that some up to that number are not held any more, so the client has to list again
what it shows. Of several `download.changed` of one download (likewise `verification.changed`, and
`share.changed` of one share, `upload.changed` and `limits.changed`) that a client has not been sent
yet it gets the last; events are sent at most five times a second.

EVENT_TABLE

`listing.changed`: what `files.list` answered for this directory, here (`peer` is `self`) or at a
connected peer (its id), may be another thing now; null in place of the path means any directory of
that peer. It comes once for each directory that was listed without `recursive`, until it is listed
again, within about two seconds of the change.

`search.hits {{search, hits}}`: hits of the search with that id as they come; the last one has
`done: true`, `unanswered` and `truncated`, as in the result of `files.search`.

## Files

`GET /files/PEER/PATH` (and HEAD) sends the bytes of a peer's file, `GET /shares/PATH` of one's own,
`GET /downloads/PATH` of a finished download that is in the list (`PATH` is then relative to the
download directory). All parts are percent-encoded UTF-8 of the text that other methods use. A few
types of images, audio, video and text have their content type, so that browsers show them; all
else, HTML and SVG too, is an attachment. Everything is in a sandbox. One byte range is understood
(206, or 416), `ETag` changes with the file, `If-None-Match` and `If-Range` are heeded. An error
before the first byte is JSON, `{{"error": word, "message": text}}`, with status 400, 401, 403, 404,
409 (not a file, or it changed), 502 or 503 (try again later); when something goes wrong later the
connection is closed before `Content-Length` is reached.

`GET /healthz` answers `ok` to anybody. `GET /metrics` answers a token of any role with metrics for
Prometheus.
"""


def document() -> str:
    """The text of docs/rpc.md."""
    schemas = _schemas()
    prose = PROSE.replace("EVENT_TABLE", "\n".join(_events()))
    lines = [prose, *_errors(), "## Methods", ""]
    lines += [f"- [`{name}`](#{_anchor(name)})" for name in METHODS]
    for method in METHODS.values():
        lines += ["", *_method(method, schemas)]
    used = {kind.__name__ for m in METHODS.values() for kind in (m.params, *m.results)}
    parts = sorted(set(schemas) - used)
    lines += ["", "## Parts of results"]
    for name in parts:
        lines += ["", f"### {name}", *_fields("Fields.", schemas[name], schemas)]
    return "\n".join(lines) + "\n"


def method_list() -> str:
    """The text of hdpctl/methods.txt: a line for each method, with its parameters and role."""
    return "".join(
        f"{method.name} {{{', '.join(method.params.__struct_fields__)}}} ({method.role.word})\n"
        for method in METHODS.values()
    )


def _schemas() -> dict[str, Any]:
    components: Any = discover(METHODS.values())["components"]
    return dict(components["schemas"])


def _events() -> Iterator[str]:
    yield "| type | data |"
    yield "|---|---|"
    for about, rows in groupby(EVENTS.values(), lambda row: row.about):
        yield f"| {' '.join(f'`{row.name}`' for row in rows)} | {about} |"
    yield f"| `{LOST}` | `{{seq}}` |"


def _errors() -> Iterator[str]:
    yield "## Errors"
    yield ""
    yield "`error.data.error` is a stable word; `error.message` is for people."
    yield ""
    yield "| code | word | meaning |"
    yield "|---|---|---|"
    yield "| -32700 | `parse_error` | The request is not JSON. |"
    yield "| -32600 | `invalid_request` | It is JSON, but not a JSON-RPC request. |"
    yield "| -32601 | `method_not_found` | There is no such method. |"
    yield "| -32603 | `internal_error` | A mistake of hdpd; its log says more. |"
    kinds = sorted(set(_kinds(HdpdError)), key=lambda kind: (error_code(kind), kind.code))
    for kind in kinds:
        meaning = (kind.__doc__ or "").splitlines()[0]
        yield f"| {error_code(kind)} | `{kind.code}` | {meaning} |"
    yield ""


def _kinds(base: type[HdpdError]) -> Iterator[type[HdpdError]]:
    for kind in base.__subclasses__():
        if kind is StartError:  # nobody can call what did not start
            continue
        if "code" in vars(kind):  # else it never leaves hdpd
            yield kind
        yield from _kinds(kind)


def _anchor(name: str) -> str:
    return name.replace(".", "").lower()


def _method(method: Method, schemas: dict[str, Any]) -> Iterator[str]:
    yield f"### {method.name}"
    yield ""
    yield f"{method.summary} Role: `{method.role.word}`."
    params = schemas[method.params.__name__]
    if params["properties"]:
        yield from _fields("Parameters.", params, schemas)
    for kind in method.results:
        yield from _fields("Result.", schemas[kind.__name__], schemas)
    example = {"jsonrpc": "2.0", "id": 1, "method": method.name, "params": method.example}
    yield ""
    yield "```json"
    yield json.dumps(example, ensure_ascii=False)
    yield "```"


def _fields(title: str, schema: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield f"**{title}** " + " ".join(schema["description"].split())
    if schema["properties"]:
        yield ""
    for name, field in schema["properties"].items():
        optional = name not in schema.get("required", [])
        yield f"- `{name}`: {_type(field, schemas)}{_default(field) if optional else ''}"


def _default(field: dict[str, Any]) -> str:
    """Of a field that may be left out; some mean something else then than any value."""
    return f", default `{json.dumps(field['default'])}`" if "default" in field else ", optional"


def _type(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{_anchor(name)})"
    if "anyOf" in schema:
        return " or ".join(_type(kind, schemas) for kind in schema["anyOf"])
    if "enum" in schema:
        return " or ".join("null" if word is None else f"`{word}`" for word in schema["enum"])
    kind = str(schema.get("type", "object"))
    if kind == "array":
        kind = f"array of {_type(schema['items'], schemas)}"
    limits = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "maxLength": "at most {} characters",
        "maxItems": "at most {} items",
    }
    said = [text.format(schema[key]) for key, text in limits.items() if key in schema]
    return f"{kind} ({', '.join(said)})" if said else kind


if __name__ == "__main__":
    FILE.write_text(document())
    HDPCTL_FILE.write_text(method_list())
