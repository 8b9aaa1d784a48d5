"""Reads hdpd.toml into exact types; a mistake is told with file, line and key."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from hdpd.errors import ConfigError

QuicEngine = Literal["qh3", "aioquic"]
LogLevel = Literal["debug", "info", "warning", "error"]


class ShareSettings(msgspec.Struct, frozen=True):
    """One `[[shares]]` table."""

    path: str
    name: str | None = None
    hidden: bool = False
    ignore: list[str] = []
    rescan: str = "auto"


class NetworkSettings(msgspec.Struct, frozen=True):
    """The `[network]` table: how peers are found and reached."""

    port: int | None = None
    bind: list[str] | None = None
    mdns: bool | None = None
    mqtt_servers: list[str] | None = None
    stun_servers: list[str] | None = None
    port_mapping: bool | None = None
    quic_engine: QuicEngine | None = None


class ControlSettings(msgspec.Struct, frozen=True):
    """The `[control]` table: where `hdpctl` and browsers connect."""

    listen: list[str] | None = None
    hostnames: list[str] | None = None
    certificate: str | None = None
    key: str | None = None


class TransferSettings(msgspec.Struct, frozen=True):
    """The `[transfers]` table."""

    upload_slots: int | None = None
    min_free: str | None = None
    daily_quota: str | None = None


class PeerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[peers."ID"]` table."""

    favourite: bool = False
    quota: str | None = None


class ScheduleSettings(msgspec.Struct, frozen=True):
    """One `[[limits.schedule]]` table."""

    days: str = "daily"
    start: str = msgspec.field(default="00:00", name="from")
    end: str = msgspec.field(default="24:00", name="to")
    upload: str | int | None = None
    download: str | int | None = None
    upload_per_peer: str | int | None = None
    download_per_peer: str | int | None = None
    lan: bool | None = None


class LimitSettings(msgspec.Struct, frozen=True):
    """The `[limits]` table: how fast is sent and received."""

    upload: str | int | None = None
    download: str | int | None = None
    upload_per_peer: str | int | None = None
    download_per_peer: str | int | None = None
    lan: bool | None = None
    schedule: list[ScheduleSettings] | None = None


class FileSettings(msgspec.Struct, frozen=True):
    """The whole file; None is what it does not say."""

    topics: list[str] | None = None
    shares: list[ShareSettings] | None = None
    ignore: list[str] | None = None
    download_dir: str | None = None
    state_dir: str | None = None
    log_level: LogLevel | None = None
    network: NetworkSettings = NetworkSettings()
    control: ControlSettings = ControlSettings()
    transfers: TransferSettings = TransferSettings()
    peers: dict[str, PeerSettings] | None = None
    limits: LimitSettings = LimitSettings()


TABLES: dict[str, type[msgspec.Struct]] = {
    "": FileSettings,
    "shares": ShareSettings,
    "network": NetworkSettings,
    "control": ControlSettings,
    "transfers": TransferSettings,
    "limits": LimitSettings,
    "limits.schedule": ScheduleSettings,
}


def read(path: Path) -> FileSettings:
    """The settings in the file.

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
    try:
        return msgspec.convert(content, FileSettings, strict=True)
    except msgspec.ValidationError as error:
        problem, _at, where = str(error).partition(" - at ")
        key = where.strip("`").removeprefix("$.")
        problem = problem.replace("`", "").replace(" | null", "")
        problem = re.sub("[Oo]bject", "table", problem, count=1)
        raise ConfigError(f"{path}: {key}: {problem[:1].lower()}{problem[1:]}") from None


def _unknown_keys(content: dict[str, Any], table: str = "") -> Iterator[str]:
    known = TABLES[table].__struct_encode_fields__
    for name, value in content.items():
        key = f"{table}.{name}" if table else name
        if name not in known:
            yield key
        elif key in TABLES:
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, dict):
                    yield from _unknown_keys(inner, key)


def _suggestion(unknown: str) -> str:
    """The nearest known key, also when it was only put into the wrong table."""
    known = [
        f"{table}.{name}" if table else name
        for table, settings in TABLES.items()
        for name in settings.__struct_encode_fields__
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
