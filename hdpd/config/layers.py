"""The files that make up the configuration, and what they say together.

Read in this order: `hdpd.toml`, then `hdpd.toml.d/*.toml` next to it by name, then the systemd
credentials whose name ends in `.toml`. A key of a later file replaces that of an earlier one;
topics, shares, destinations and peers of all files add up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from hdpd.config import directories, file
from hdpd.config.directories import Environment
from hdpd.errors import ConfigError


class Layer(Struct, frozen=True):
    """One file, and what it says by the keys of the settings."""

    path: Path
    values: Mapping[str, Any]


class Layers(Struct, frozen=True):
    """All files, the weakest first."""

    files: tuple[Layer, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, as they were read."""
        return tuple(layer.path for layer in self.files)

    def told(self, key: str) -> list[tuple[Path, Any]]:
        """What the files say of `key` (such as `network.port`), the strongest last."""
        return [(layer.path, layer.values[key]) for layer in self.files if key in layer.values]


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
