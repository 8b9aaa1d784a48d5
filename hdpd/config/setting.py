"""What a setting is, beside its value: an entry of the table that `config.py` holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, cast

from hdpd.config.directories import Environment
from hdpd.config.kinds import Kind, Value

SHARING: Final = "what is shared, and with whom"
NETWORK: Final = "how peers are found and reached"
OPERATION: Final = "operation"
GROUPS: Final = (SHARING, NETWORK, OPERATION)
"""Of flags, as `--help` shows them."""


@dataclass(frozen=True, slots=True)
class Flag:
    """How a setting is given on the command line, and what `--help` says of it."""

    name: str
    value: str  # what it is called; empty where there is none, or where the kind lists them
    group: str
    help: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a default may depend on."""

    environ: Environment
    state_dir: Path


@dataclass(frozen=True, slots=True)
class Computed(Generic[Value]):
    """A default that is another one elsewhere; `shown` is what `--help` says of it."""

    make: Callable[[Surroundings], Value]
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Setting(Generic[Value]):
    """One line of the table. `field` is that of `Config`, `key` that of the file, with the name of
    its table in front (`network.port`). A change of what is `reloadable` is taken over while hdpd
    runs (by what `app.py` has for it); any other waits for a restart.
    """

    field: str
    key: str
    kind: Kind[Any, Value]
    default: Value | Computed[Value]
    flag: Flag | None
    reloadable: bool

    @property
    def table(self) -> str:
        """The table of the file that the key is in; empty for those of no table."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The key within its table."""
        return self.key.rpartition(".")[2]

    def default_in(self, surroundings: Surroundings) -> Value:
        """The value of who says nothing."""
        if isinstance(self.default, Computed):
            return self.default.make(surroundings)
        return self.default


def setting(
    key: str,
    kind: Kind[Any, Value],
    *,
    default: Value | Computed[Value],
    flag: Flag | None = None,
    reloadable: bool = False,
    secret: bool = False,
) -> Value:
    """A field of `Config` and its line of the table; a `secret` one is not in the `repr`."""
    line = Setting("", key, kind, default, flag, reloadable)
    # As a type checker sees it, the field holds what the kind reads.
    return cast("Value", field(repr=not secret, metadata={Setting: line}))
