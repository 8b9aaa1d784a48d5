"""The directories to share, as flags and the file name them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hdpd.config.directories import Environment, resolve_path
from hdpd.config.file import ShareSettings
from hdpd.config.values import ShareConfig, parse_interval, parse_pattern
from hdpd.errors import ConfigError, PathInvalid
from hdpd.wire.paths import EntryName, text_from_bytes


def from_flags(texts: Iterable[str], environ: Environment) -> tuple[ShareConfig, ...]:
    """The shares of `--share-dir [NAME=]DIR`; raises ConfigError."""
    flag = "--share-dir"
    return _distinct((flag, _from_flag(flag, text, environ)) for text in texts)


def from_files(
    tables: Iterable[tuple[Path, ShareSettings]], environ: Environment
) -> tuple[ShareConfig, ...]:
    """The shares of `[[shares]]` tables, each with the file that it is in; raises ConfigError."""
    found = []
    for path, share in tables:
        where = f"{path}: shares"
        directory = resolve_path(where, share.path, path.parent, environ)
        checked = _checked(where, share.name, directory)
        try:
            ignore = tuple(parse_pattern(line) for line in share.ignore)
            rescan = parse_interval(share.rescan)
        except ValueError as error:
            raise ConfigError(f"{where}: {checked.name}: {error}") from None
        found.append((where, replace(checked, hidden=share.hidden, ignore=ignore, rescan=rescan)))
    return _distinct(found)


def _from_flag(flag: str, text: str, environ: Environment) -> ShareConfig:
    whole = resolve_path(flag, text, Path.cwd(), environ)
    name, equals, directory = text.partition("=")
    # A name holds no slash; and a directory whose path is the whole text is what is meant.
    if not equals or "/" in name or whole.is_dir():
        return _checked(flag, None, whole)
    path = resolve_path(flag, directory, Path.cwd(), environ)
    return _checked(flag, text_from_bytes(os.fsencode(name)), path)


def _checked(where: str, name: str | None, path: Path) -> ShareConfig:
    if not path.exists():
        raise ConfigError(f"{where}: {path}: there is no such directory")
    if not path.is_dir():
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
