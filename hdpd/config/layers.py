"""The files that make up the configuration, and what they say together.

Read in this order: `hdpd.toml`, then `hdpd.toml.d/*.toml` next to it by name, then the systemd
credentials whose name ends in `.toml`. A key of a later file replaces that of an earlier one;
`topics` and `shares` of all files add up.
"""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdpd.config import directories, file
from hdpd.config.directories import Environment
from hdpd.config.file import FileSettings, PeerSettings, ShareSettings
from hdpd.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Layer:
    """One file and what it says."""

    path: Path
    settings: FileSettings


@dataclass(frozen=True, slots=True)
class Layers:
    """All files, the weakest first."""

    files: tuple[Layer, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(layer.path for layer in self.files)

    def last(self, key: str) -> tuple[Path, Any] | None:
        """The value of `key` (such as `network.port`) that counts, and the file it is from."""
        get = operator.attrgetter(key)
        values = ((layer.path, get(layer.settings)) for layer in reversed(self.files))
        return next(((path, value) for path, value in values if value is not None), None)

    def topics(self) -> list[tuple[Path, list[str]]]:
        """The topics of each file."""
        return [(layer.path, layer.settings.topics or []) for layer in self.files]

    def peers(self) -> list[tuple[Path, dict[str, PeerSettings]]]:
        """The tables about peers of each file."""
        return [(layer.path, layer.settings.peers or {}) for layer in self.files]

    def shares(self) -> list[tuple[Path, ShareSettings]]:
        """The shares of all files."""
        return [
            (layer.path, share) for layer in self.files for share in layer.settings.shares or ()
        ]


def read(config: Path | None, environ: Environment) -> Layers:
    """Reads every file: `config`, or else the usual one, and what belongs to it.

    Raises ConfigError, naming the file and what is wrong with it.
    """
    main = config.absolute() if config else directories.config_file(environ)
    paths = []
    if main is not None:
        # Only the usual file may be missing next to its directory of additions.
        if config is not None or os.path.lexists(main):
            paths.append(main)
        paths += _toml_files(directories.additions(main))
    if credentials := environ.get("CREDENTIALS_DIRECTORY"):
        paths += _toml_files(Path(credentials))
    return Layers(tuple(Layer(path, file.read(path)) for path in paths))


def _toml_files(directory: Path) -> list[Path]:
    try:
        entries = sorted(directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{directory}: it cannot be read: {error.strerror}") from None
    # Editors leave hidden copies.
    return [path for path in entries if path.suffix == ".toml" and not path.name.startswith(".")]
