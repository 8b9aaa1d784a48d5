"""Takes each value from its flag, the files or the default, and names the one that is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hdpd.config import command_line, directories
from hdpd.config.command_line import Arguments
from hdpd.config.config import SETTINGS, Config
from hdpd.config.kinds import Given
from hdpd.config.layers import Layers
from hdpd.config.layers import read as read_layers
from hdpd.config.setting import Setting, Surroundings
from hdpd.errors import ConfigError


def load(argv: Sequence[str], environ: Mapping[str, str]) -> Config:
    """The configuration of `hdpd ARGV` in that environment.

    Raises ConfigError, whose one line names the flag or the file's key and says what is wrong.
    """
    return resolve(command_line.parse(argv), environ)


def resolve(flags: Arguments, environ: Mapping[str, str]) -> Config:
    """The configuration with everything filled in; raises ConfigError as `load` does."""
    layers = read_layers(flags.config, environ)
    _check_certificate(layers)
    found = {}
    for setting in SETTINGS:
        if setting.flag is not None and setting.field in flags.told:
            flag = Given(setting.flag.name, flags.told[setting.field], Path.cwd(), environ)
            found[setting.field] = setting.kind.read_flag(flag)
        elif given := _of_files(setting, layers, environ):
            found[setting.field] = setting.kind.read(given)
    around = Surroundings(environ, found.get("state_dir") or directories.state(environ))
    for setting in SETTINGS:
        if setting.field not in found:
            found[setting.field] = setting.default_in(around)
    return Config(**found, config_files=layers.paths)


def _of_files(
    setting: Setting[Any], layers: Layers, environ: Mapping[str, str]
) -> list[Given[Any]]:
    return [
        Given(f"{path}: {setting.key}", value, path.parent, environ)
        for path, value in layers.told(setting.key)
    ]


def _check_certificate(layers: Layers) -> None:
    certificate, key = layers.told("control.certificate"), layers.told("control.key")
    if bool(certificate) != bool(key):
        path, _value = (certificate or key)[-1]
        raise ConfigError(f"{path}: control.certificate and control.key go together")
