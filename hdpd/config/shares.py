"""The directories to share, as flags and files name them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from hdpd.config.directories import is_directory, resolve_path
from hdpd.config.kinds import Given, Tables, Toml
from hdpd.config.values import ShareConfig, interval_text, parse_interval, parse_pattern
from hdpd.errors import ConfigError, PathInvalid
from hdpd.wire.paths import EntryName, text_from_bytes


class ShareSettings(msgspec.Struct, frozen=True):
    """One `[[shares]]` table."""

    path: str
    name: str | None = None
    hidden: bool = False
    ignore: list[str] = []
    rescan: str = "auto"


class Shares(Tables[list[ShareSettings], tuple[ShareConfig, ...]]):
    """The `[[shares]]` of all files together, or the flags `[NAME=]DIR`."""

    toml = list[ShareSettings]
    tables: Mapping[str, type[msgspec.Struct]] = {"": ShareSettings}
    argument: Mapping[str, str] = {"action": "append"}
    is_directory = True

    def read(self, given: Sequence[Given[list[ShareSettings]]]) -> tuple[ShareConfig, ...]:
        return _distinct(
            (each.where, _from_table(each, table)) for each in given for table in each.value
        )

    def read_flag(self, given: Given[list[str]]) -> tuple[ShareConfig, ...]:
        return _distinct((given.where, _from_flag(given, text)) for text in given.value)

    def show_tables(
        self, value: tuple[ShareConfig, ...]
    ) -> Iterator[tuple[str, Mapping[str, Toml]]]:
        for share in value:
            yield (
                "[[shares]]",
                {
                    "name": share.name,
                    "path": str(share.path),
                    "hidden": share.hidden,
                    "ignore": share.ignore,
                    "rescan": interval_text(share.rescan),
                },
            )


def _from_table(given: Given[list[ShareSettings]], table: ShareSettings) -> ShareConfig:
    path = resolve_path(given.where, table.path, given.base, given.environ)
    share = _checked(given.where, table.name, path)
    try:
        return replace(
            share,
            hidden=table.hidden,
            ignore=tuple(parse_pattern(line) for line in table.ignore),
            rescan=parse_interval(table.rescan),
        )
    except ValueError as error:
        raise ConfigError(f"{given.where}: {share.name}: {error}") from None


def _from_flag(given: Given[list[str]], text: str) -> ShareConfig:
    whole = resolve_path(given.where, text, given.base, given.environ)
    name, equals, directory = text.partition("=")
    # A name holds no slash; and a directory whose path is the whole text is what is meant.
    if not equals or "/" in name or is_directory(given.where, whole):
        return _checked(given.where, None, whole)
    path = resolve_path(given.where, directory, given.base, given.environ)
    return _checked(given.where, text_from_bytes(os.fsencode(name)), path)


def _checked(where: str, name: str | None, path: Path) -> ShareConfig:
    found = is_directory(where, path)
    if found is None:
        raise ConfigError(f"{where}: {path}: there is no such directory")
    if not found:
        raise ConfigError(f"{where}: {path} is not a directory")
    if not os.access(path, os.R_OK | os.X_OK):
        raise ConfigError(f"{where}: {path}: hdpd's user may not read this directory")
    if name is None:
        name = text_from_bytes(os.fsencode(path.name))
        if not name:
            raise ConfigError(f"{where}: {path} has no name of its own; write NAME={path}")
    try:
        return ShareConfig(EntryName.from_text(name).text, path)
    except PathInvalid as error:
        raise ConfigError(f"{where}: {name!r} cannot be a share's name: {error}") from None


def _distinct(shares: Iterable[tuple[str, ShareConfig]]) -> tuple[ShareConfig, ...]:
    """The shares without repetitions; raises ConfigError when two have one name."""
    taken: dict[str, ShareConfig] = {}
    for where, share in shares:
        other = taken.setdefault(share.name, share)
        if other != share:
            free = next(
                name for n in range(2, len(taken) + 3) if (name := f"{share.name} {n}") not in taken
            )
            raise ConfigError(
                f"{where}: {other.path} and {share.path} would both be called {share.name!r}; "
                f"give one of them a name of its own, such as {free!r}"
            )
    return tuple(taken.values())
