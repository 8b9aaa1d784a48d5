"""Where things are by default: systemd's directories, then the XDG ones, then the user's home."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hdpd.errors import GONE, ConfigError

SYSTEM_CONFIG_FILE: Final = Path("/etc/hdpd/hdpd.toml")
SYSTEM_RUNTIME_DIRECTORY: Final = Path("/run/hdpd")

Environment = Mapping[str, str]


def config_file(environ: Environment) -> Path | None:
    """The configuration file that is there, itself or as a directory of additions to it."""
    candidates = [SYSTEM_CONFIG_FILE]
    if config_home := _xdg(environ, "XDG_CONFIG_HOME", ".config"):
        candidates.append(config_home / "hdpd" / "hdpd.toml")
    # A dangling link or an unreadable file is a mistake to tell, not a file to ignore.
    return next(
        (p for p in candidates if os.path.lexists(p) or os.path.lexists(additions(p))), None
    )


def additions(config: Path) -> Path:
    """The directory whose files add to the configuration file: `hdpd.toml.d`."""
    return config.with_name(f"{config.name}.d")


def state(environ: Environment) -> Path:
    """Where the key, the queue and the index are kept."""
    if systemd := _systemd(environ, "STATE_DIRECTORY"):
        return systemd
    data_home = _xdg(environ, "XDG_DATA_HOME", ".local/share")
    if data_home is None:
        raise ConfigError("this user has no home to keep the state in; give --state-dir DIR")
    return data_home / "hdpd"


def downloads(environ: Environment, state_dir: Path) -> Path:
    """Where downloads go: a system service, which has no home, keeps them with its state."""
    home = _home(environ)
    return home / "Downloads" if home else state_dir / "downloads"


def runtime(environ: Environment, state_dir: Path) -> Path:
    """Where the control socket is: where hdpctl looks, as far as this user may write there."""
    if systemd := _systemd(environ, "RUNTIME_DIRECTORY"):
        return systemd
    if os.geteuid() == 0:
        return SYSTEM_RUNTIME_DIRECTORY
    user = environ.get("XDG_RUNTIME_DIR", "")
    return Path(user) if user.startswith("/") else state_dir


def resolve_path(where: str, text: str, base: Path, environ: Environment) -> Path:
    """An absolute path: `~` is the user's home, a relative one is below `base`.

    Raises ConfigError, beginning with `where`.
    """
    if not text or "\0" in text:
        raise ConfigError(f"{where}: {text!r} is not a path")
    if text == "~" or text.startswith("~/"):
        home = _home(environ)
        if home is None:
            raise ConfigError(f"{where}: {text}: this user has no home; write the whole path")
        return home / text[2:]
    # As a shell shows it: without `..`, and with the links that the user wrote.
    return Path(os.path.normpath(base / text))


def resolve_writable(where: str, text: str, base: Path, environ: Environment) -> Path:
    """A directory that hdpd writes to; it need not exist yet.

    Raises ConfigError, beginning with `where`.
    """
    path = resolve_path(where, text, base, environ)
    if not _is_away(path) and is_directory(where, path) is False:
        raise ConfigError(f"{where}: {path} is not a directory")
    return path


def _is_away(path: Path) -> bool:
    """Whether a file system is mounted there that has gone, or fails."""
    try:
        path.stat()
    except OSError as error:
        return error.errno in GONE or error.errno == errno.EIO
    return False


def is_directory(where: str, path: Path) -> bool | None:
    """Whether it is a directory; None when nothing is there.

    Raises ConfigError, beginning with `where`, when hdpd's user cannot tell.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"{where}: {path}: {error.strerror}") from None


def _home(environ: Environment) -> Path | None:
    """The user's home; None for system accounts, which have `/` or nothing."""
    home = environ.get("HOME")
    if not home:
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return None
    return Path(home) if home.startswith("/") and home != "/" else None


def _xdg(environ: Environment, variable: str, below_home: str) -> Path | None:
    # The XDG specification: a relative path in these variables is invalid and to be ignored.
    value = environ.get(variable, "")
    if value.startswith("/"):
        return Path(value)
    home = _home(environ)
    return home / below_home if home else None


def _systemd(environ: Environment, variable: str) -> Path | None:
    # systemd.exec(5): several directories are separated by colons; the first is ours.
    value = environ.get(variable, "").split(":")[0]
    return Path(value) if value else None
