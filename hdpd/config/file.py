"""Reads a file into the values of the settings; a mistake is told with file, line and key."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from hdpd.config.config import SETTINGS
from hdpd.config.kinds import Tables
from hdpd.errors import ConfigError


def _known_keys() -> dict[str, list[str]]:
    known: dict[str, list[str]] = {"": []}
    for setting in SETTINGS:
        if setting.table and setting.table not in known:
            known[""].append(setting.table)
        known.setdefault(setting.table, []).append(setting.name)
    for setting in SETTINGS:
        if isinstance(setting.kind, Tables):
            for below, table in setting.kind.tables.items():
                known[setting.key + below] = list(table.__struct_encode_fields__)
    return known


KNOWN: Final = _known_keys()
"""The keys of each table; the file's own are those of the table without a name."""


def read(path: Path) -> dict[str, Any]:
    """What the file says, by the keys of the settings, each of the type that its kind reads.

    Raises ConfigError, naming file, line (where it can be told) and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: the configuration cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: the configuration is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    for key in _unknown_keys(content):
        table, _dot, name = key.rpartition(".")
        line = _line_of(text, table, name)
        raise ConfigError(
            f"{path}{f':{line}' if line else ''}: unknown key {key!r}{_suggestion(key)}"
        )
    values = {}
    for setting in SETTINGS:
        inside = content
        if setting.table:
            inside = _checked(path, setting.table, content.get(setting.table, {}), dict[str, Any])
        if setting.name in inside:
            values[setting.key] = _checked(
                path, setting.key, inside[setting.name], setting.kind.toml
            )
    return values


def _checked(path: Path, key: str, value: object, wanted: Any) -> Any:
    try:
        return msgspec.convert(value, wanted, strict=True)
    except msgspec.ValidationError as error:
        problem, _at, where = str(error).partition(" - at ")
        key += where.strip("`").removeprefix("$")
        problem = problem.replace("`", "").replace(" | null", "")
        problem = re.sub("[Oo]bject", "table", problem, count=1)
        raise ConfigError(f"{path}: {key}: {problem[:1].lower()}{problem[1:]}") from None


def _unknown_keys(content: dict[str, Any], table: str = "") -> Iterator[str]:
    for name, value in content.items():
        key = f"{table}.{name}" if table else name
        if name not in KNOWN[table]:
            yield key
        elif key in KNOWN:
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, dict):
                    yield from _unknown_keys(inner, key)


def _suggestion(unknown: str) -> str:
    """The nearest known key, also when it was only put into the wrong table."""
    known = [
        f"{table}.{name}" if table else name for table, names in KNOWN.items() for name in names
    ]
    wanted = unknown.rpartition(".")[2].replace("-", "_")
    by_name = {name.rpartition(".")[2]: name for name in reversed(known)}
    nearest = difflib.get_close_matches(unknown.replace("-", "_"), known, n=1, cutoff=0.75)
    nearest = nearest or [
        by_name[name] for name in difflib.get_close_matches(wanted, by_name, n=1, cutoff=0.6)
    ]
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f"; known are {', '.join(known)}"


def _line_of(text: str, table: str, name: str) -> int | None:
    """The line that sets the key or opens the table of that name; tomllib does not tell it."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line):
            current = header[1].strip("\"'")
            if not table and current.split(".")[0] == name:
                return number
        elif current == table and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*[=.]", line):
            return number
    return None
