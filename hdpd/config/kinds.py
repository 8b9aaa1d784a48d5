"""How the values of settings are written: in a file, as a flag, and by `--print-config`.

A kind knows the type that TOML has to hold, how a value is read from it, and how it is shown so
that it can be read back. What else belongs to a setting is in `setting.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast, get_args

import msgspec

from hdpd.config import directories
from hdpd.config.directories import Environment
from hdpd.errors import ConfigError

Raw = TypeVar("Raw")
Value = TypeVar("Value")
Toml = str | int | bool | Sequence["Toml"]


class Given(msgspec.Struct, Generic[Raw], frozen=True):
    """A value that was not left to the default; what is wrong with it is told beginning with
    `where`, the flag or the file and its key.
    """

    where: str
    value: Raw
    base: Path  # what relative paths in it are relative to
    environ: Environment

    def parsed(self, parse: Callable[[Any], Value], *texts: Any) -> tuple[Value, ...]:
        """What `parse` makes of each text; its ValueError becomes a ConfigError."""
        try:
            return tuple(parse(text) for text in texts)
        except ValueError as error:
            raise ConfigError(f"{self.where}: {error}") from None


class Kind(ABC, Generic[Raw, Value]):
    """How values of one kind are written."""

    toml: Any
    """The type of what stands in a file, as msgspec understands it."""

    argument: Mapping[str, Any] = {}
    """What argparse has to know of the flag."""

    is_directory: ClassVar[bool] = False
    """Whether a shell completes directories after the flag."""

    @abstractmethod
    def read(self, given: Sequence[Given[Raw]]) -> Value:
        """The value of what all files say, at least one, the strongest last.

        Raises ConfigError.
        """

    def read_flag(self, given: Given[Any]) -> Value:
        """The value of a flag, which stands alone; raises ConfigError."""
        return self.read([given])

    @abstractmethod
    def show(self, value: Value) -> Toml | None:
        """As a file would have it, without secrets; None is nothing at all."""


class Tables(Kind[Raw, Value]):
    """A kind with tables of its own in the file."""

    tables: Mapping[str, type[msgspec.Struct]]
    """By what follows the setting's key in the name of the table."""

    def show(self, value: Value) -> None:
        """It is shown by `show_tables`."""

    @abstractmethod
    def show_tables(self, value: Value) -> Iterable[tuple[str, Mapping[str, Toml]]]:
        """The header of each table, and what is in it."""


class One(Kind[Raw, Value]):
    """A kind of which the strongest file counts alone."""

    def read(self, given: Sequence[Given[Raw]]) -> Value:
        return self.read_one(given[-1])

    @abstractmethod
    def read_one(self, given: Given[Raw]) -> Value:
        """Its value; raises ConfigError."""


class Switch(One[bool, bool]):
    """True or false; the flag turns it off."""

    toml = bool
    argument: Mapping[str, Any] = {"action": "store_false", "default": None}

    def read_one(self, given: Given[bool]) -> bool:
        return given.value

    def show(self, value: bool) -> Toml:
        return value


class Number(One[int, int]):
    """A whole number within bounds."""

    toml = int
    argument: Mapping[str, Any] = {"type": int}

    def __init__(self, lowest: int, highest: int) -> None:
        self._lowest, self._highest = lowest, highest

    def read_one(self, given: Given[int]) -> int:
        if not self._lowest <= given.value <= self._highest:
            raise ConfigError(
                f"{given.where}: {given.value} is not a number from {self._lowest} to "
                f"{self._highest}"
            )
        return given.value

    def show(self, value: int) -> Toml:
        return value


class Choice(One[str, Value]):
    """One of the words of a Literal."""

    def __init__(self, words: object) -> None:
        self.toml = words
        self.argument = {"choices": get_args(words)}

    def read_one(self, given: Given[str]) -> Value:
        return cast("Value", given.value)

    def show(self, value: Value) -> Toml:
        return str(value)


class Text(One[Raw, Value]):
    """A text that is parsed, or what else TOML may hold in its place (`toml`); `parse` raises
    ValueError.
    """

    def __init__(
        self, parse: Callable[[Raw], Value], show: Callable[[Value], str] = str, toml: Any = str
    ) -> None:
        self._parse, self._show, self.toml = parse, show, toml

    def read_one(self, given: Given[Raw]) -> Value:
        return given.parsed(self._parse, given.value)[0]

    def show(self, value: Value) -> Toml:
        return self._show(value)


class Items(One[list[str], tuple[Value, ...]]):
    """Texts that are parsed, in order, each once; `parse` raises ValueError."""

    toml = list[str]
    argument: Mapping[str, Any] = {"action": "append"}

    def __init__(self, parse: Callable[[str], Value], show: Callable[[Value], str] = str) -> None:
        self._parse, self._show = parse, show

    def read_one(self, given: Given[list[str]]) -> tuple[Value, ...]:
        return tuple(dict.fromkeys(given.parsed(self._parse, *given.value)))

    def show(self, value: tuple[Value, ...]) -> Toml:
        return [self._show(item) for item in value]


class Servers(Items[Value]):
    """Items that may also be `none`."""

    def read_one(self, given: Given[list[str]]) -> tuple[Value, ...]:
        if "none" not in given.value:
            return super().read_one(given)
        if len(given.value) > 1:
            raise ConfigError(f"{given.where}: 'none' does not go with a server")
        return ()


class AddedItems(Items[Value]):
    """Items of which every file adds its own."""

    def read(self, given: Sequence[Given[list[str]]]) -> tuple[Value, ...]:
        return tuple(dict.fromkeys(item for each in given for item in self.read_one(each)))


class Directory(One[str, Path]):
    """A directory that hdpd writes to; it need not exist yet."""

    toml = str
    is_directory = True

    def read_one(self, given: Given[str]) -> Path:
        return directories.resolve_writable(given.where, given.value, given.base, given.environ)

    def show(self, value: Path) -> Toml:
        return str(value)


class OptionalDirectory(One[str, Path | None]):
    """Such a directory, or none."""

    toml = str
    is_directory = True

    def read_one(self, given: Given[str]) -> Path | None:
        return directories.resolve_writable(given.where, given.value, given.base, given.environ)

    def show(self, value: Path | None) -> Toml | None:
        return None if value is None else str(value)


class OptionalFile(One[str, Path | None]):
    """A file that is read when it is used, or none; whether it can be used shows then."""

    toml = str

    def read_one(self, given: Given[str]) -> Path | None:
        return directories.resolve_path(given.where, given.value, given.base, given.environ)

    def show(self, value: Path | None) -> Toml | None:
        return None if value is None else str(value)
