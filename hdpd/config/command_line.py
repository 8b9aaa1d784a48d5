"""The command line of hdpd."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from msgspec import Struct

from hdpd import __version__
from hdpd.config.config import SETTINGS
from hdpd.config.setting import GROUPS, OPERATION, Computed, Setting
from hdpd.errors import ConfigError

Action = Literal["run", "check-config", "print-config"]


class Arguments(Struct, frozen=True):
    """What the command line said; what is not in `told` it left to the files and the defaults."""

    action: Action
    config: Path | None
    told: Mapping[str, Any]  # by the fields of `Config`, as the kinds of the settings read it


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see hdpd --help")


def parse(argv: Sequence[str]) -> Arguments:
    """Reads the flags; exits after `--help` and `--version`.

    Raises ConfigError for a flag that does not exist or lacks a value.
    """
    found = vars(parser().parse_args(argv))
    action, config = found.pop("action"), found.pop("config")
    return Arguments(action, config, {k: v for k, v in found.items() if v is not None})


def parser() -> argparse.ArgumentParser:
    """The parser itself, also for the manual page and the completions."""
    flags = _Parser(
        prog="hdpd",
        description="Share directories with everyone who knows the name of a topic.",
        epilog="Flags win over the configuration file; a list of flags replaces the file's list. "
        "The file is /etc/hdpd/hdpd.toml, else $XDG_CONFIG_HOME/hdpd/hdpd.toml. "
        "HDPD_LOG_LEVEL sets the default log level.",
        allow_abbrev=False,
    )
    add = flags.add_argument
    add("--version", action="version", version=f"hdpd {__version__}")
    add("--config", metavar="FILE", type=Path, help="the configuration file, instead of the usual")
    groups = {title: flags.add_argument_group(title) for title in GROUPS}
    for setting in SETTINGS:
        if setting.flag is not None:
            argument = dict(setting.kind.argument)
            if setting.flag.value:
                argument["metavar"] = setting.flag.value
            groups[setting.flag.group].add_argument(
                setting.flag.name,
                dest=setting.field,
                help=f"{setting.flag.help}{_default(setting)}",
                **argument,
            )
    _add_operation(groups[OPERATION])
    return flags


def _add_operation(group: argparse._ArgumentGroup) -> None:
    """The flags that are no settings."""
    group.add_argument(
        "-v",
        "--verbose",
        dest="log_level",
        action="store_const",
        const="debug",
        help="the same as --log-level debug",
    )
    group.add_argument(
        "--check-config",
        dest="action",
        action="store_const",
        const="check-config",
        default="run",
        help="check the configuration and exit",
    )
    group.add_argument(
        "--print-config",
        dest="action",
        action="store_const",
        const="print-config",
        help="print the configuration in effect as TOML, without secrets, and exit",
    )


def _default(setting: Setting[Any]) -> str:
    """The default in brackets, where there is one to tell."""
    if isinstance(setting.default, Computed):
        shown = setting.default.shown
    else:
        value = setting.kind.show(setting.default)
        if isinstance(value, bool) or not value:
            return ""
        shown = str(value) if isinstance(value, str | int) else ", ".join(map(str, value))
    return f" ({shown})" if shown else ""
