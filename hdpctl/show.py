"""How things look: sizes, times, names of peers, lists, JSON; writes to standard output."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hdpctl.text import json_safe, to_bytes, visible

# Enough of a peer id to be unique among anybody's friends, short enough to read aloud.
ID_CHARS = 8


def on_terminal() -> bool:
    """Whether standard output is looked at by a person."""
    return sys.stdout.isatty()


def line(text: str = "") -> None:
    """Print one line of ours; whatever could harm a terminal is made visible."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.buffer.write(visible(text).encode(encoding, "backslashreplace") + b"\n")


def name_line(name: str, *, before: str = "", null: bool = False) -> None:
    """Print a file's name: visible escapes on a terminal, else its very bytes, as `ls` does."""
    if on_terminal() and not null:
        line(before + name)
    else:
        sys.stdout.buffer.write(before.encode() + to_bytes(name) + (b"\0" if null else b"\n"))


def raw(data: bytes) -> None:
    """Write bytes as they are."""
    sys.stdout.buffer.write(data)


def flush() -> None:
    """Let the reader see what was printed so far."""
    sys.stdout.flush()


def note(text: str) -> None:
    """Say something beside the result, on standard error."""
    encoding = sys.stderr.encoding or "utf-8"
    sys.stdout.flush()
    sys.stderr.write(visible(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def json_document(value: Any) -> None:
    """Print an answer of the RPC, indented."""
    raw(json_safe(json.dumps(value, ensure_ascii=False, indent=2)).encode() + b"\n")


def json_line(value: Any) -> None:
    """Print a value as JSON on one line."""
    raw(json_text(value).encode() + b"\n")


def json_text(value: Any) -> str:
    """JSON on one line, safe to print."""
    return json_safe(json.dumps(value, ensure_ascii=False))


def json_pages(key: str, pages: Iterable[Sequence[Any]]) -> None:
    """Print a paged list as one object, `{key: [...], "next_cursor": null}`, page by page."""
    before = f'{{"{key}": [\n'
    for page in pages:
        for entry in page:
            raw(f"{before}{json_text(entry)}".encode())
            before = ",\n"
        flush()
    raw(b"\n" if before == ",\n" else before.encode())
    raw(b'], "next_cursor": null}\n')


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows: aligned below `headers` on a terminal, else a line each, with tabs between."""
    if not on_terminal():
        for row in rows:
            line_of_fields(row)
        return
    from hdpctl.tables import print_table  # noqa: PLC0415 - rich takes 0.1 s, pipes do without

    print_table(headers, rows)


def line_of_fields(fields: Sequence[str]) -> None:
    """Print fields separated by tabs; a tab within one is escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    text = "\t".join(visible(field) for field in fields)
    sys.stdout.buffer.write(text.encode(encoding, "backslashreplace") + b"\n")


def size(count: object) -> str:
    """Bytes in decimal units: 999 B, 1.2 kB, 34.5 MB, 678 GB; "-" where there is none."""
    if not isinstance(count, (int, float)):
        return "-"
    value = float(count)
    if abs(value) < 1000:
        return f"{value:.0f} B"
    units = iter(("kB", "MB", "GB", "TB", "PB", "EB"))
    unit = ""
    while abs(value) >= 999.5 and (larger := next(units, "")):
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if abs(value) < 99.95 else f"{value:.0f} {unit}"


def rate(bytes_per_s: object) -> str:
    """A transfer rate in decimal units, "" where nothing moves."""
    return f"{size(bytes_per_s)}/s" if isinstance(bytes_per_s, (int, float)) and bytes_per_s else ""


def amount(count: object) -> str:
    """A size as a field of a list: in decimal units on a terminal, else exact, for programs."""
    if on_terminal():
        return size(count)
    return str(count) if isinstance(count, int) else "-"


def moment(seconds: object, form: str = "%Y-%m-%d %H:%M") -> str:
    """A time since the epoch as local time; "-" without one, "?" where it makes no sense."""
    if not isinstance(seconds, (int, float)):
        return "-"
    try:
        return time.strftime(form, time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "?"


def duration(seconds: object) -> str:
    """A length of time: 7 s, 2:05, 3:02:11, 2 d 03:02."""
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e11:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02}:{minutes:02}"
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def counted(count: object, one: str, many: str = "") -> str:
    """`1 file`, `12,345 files`."""
    number = count if isinstance(count, int) else 0
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def words(value: object) -> str:
    """A list as text, "" where there is none."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")


class PeerNames:
    """What to call peers: by name, and by the start of their id where a name is not enough."""

    def __init__(self, peers: Iterable[Mapping[str, Any]]) -> None:
        self._names = {str(peer.get("id")): str(peer.get("name") or "") for peer in peers}
        self._times = Counter(self._names.values())

    def shown(self, peer: object) -> str:
        """For people: the name, with the start of the id where two share it."""
        name = self._names.get(str(peer), "")
        if name and self._times[name] > 1:
            return f"{name} ({str(peer)[:ID_CHARS]})"
        return name or str(peer)

    def in_path(self, peer: object) -> str:
        """For PEER/PATH: what any command takes as PEER."""
        name = self._names.get(str(peer), "")
        if name and self._times[name] > 1:
            return str(peer)[:ID_CHARS]
        return name or str(peer)
