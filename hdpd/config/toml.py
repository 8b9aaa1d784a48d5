"""Writes a configuration as an hdpd.toml, without its secrets. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hdpd.config.config import SETTINGS, Config
from hdpd.config.kinds import Tables, Toml


def to_toml(config: Config) -> str:
    """The configuration in effect; topic names and passwords are replaced by `***`."""
    tables: dict[str, dict[str, Toml]] = {}
    own: list[tuple[str, Mapping[str, Toml]]] = []
    for setting in SETTINGS:
        value = getattr(config, setting.field)
        if isinstance(setting.kind, Tables):
            own += setting.kind.show_tables(value)
        elif (shown := setting.kind.show(value)) is not None:
            header = f"[{setting.table}]" if setting.table else ""
            tables.setdefault(header, {})[setting.name] = shown
    return "\n".join(_table(header, content) for header, content in [*tables.items(), *own])


def _table(header: str, content: Mapping[str, Toml]) -> str:
    lines = [header] if header else []
    lines += [f"{key} = {_value(value)}" for key, value in content.items()]
    return "\n".join(lines) + "\n"


def _value(value: Toml) -> str:
    match value:
        case str():
            return _string(value)
        case bool() | int():
            return str(value).lower()
        case _:
            return f"[{', '.join(map(_value, value))}]"


def _string(text: str) -> str:
    # Bytes of a path that are not UTF-8 cannot be written in TOML; they are shown as \udcXX.
    # JSON's escapes are TOML's, except that JSON leaves DEL as it is.
    printable = text.encode("utf-8", "backslashreplace").decode()
    return json.dumps(printable, ensure_ascii=False).replace("\x7f", "\\u007f")
