"""Named places to download to, as `[[destinations]]` tables tell them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from hdpd.config.directories import resolve_writable
from hdpd.config.kinds import Given, Tables, Toml
from hdpd.errors import ConfigError, PathInvalid
from hdpd.wire.paths import EntryName


class Destination(msgspec.Struct, frozen=True):
    """A directory that downloads can go to, as `NAME:` or `NAME:below`. It need not be there: its
    disk may come later.
    """

    name: str
    path: Path


class DestinationSettings(msgspec.Struct, frozen=True):
    """One `[[destinations]]` table."""

    name: str
    path: str


class Destinations(Tables[list[DestinationSettings], tuple[Destination, ...]]):
    """The `[[destinations]]` of all files together."""

    toml = list[DestinationSettings]
    tables: Mapping[str, type[msgspec.Struct]] = {"": DestinationSettings}

    def read(self, given: Sequence[Given[list[DestinationSettings]]]) -> tuple[Destination, ...]:
        found: dict[str, Destination] = {}
        for each in given:
            for table in each.value:
                destination = _destination(each, table)
                other = found.setdefault(destination.name, destination)
                if other != destination:
                    raise ConfigError(
                        f"{each.where}: {other.path} and {destination.path} are both called "
                        f"{destination.name!r}"
                    )
        return tuple(found.values())

    def show_tables(
        self, value: tuple[Destination, ...]
    ) -> Iterator[tuple[str, Mapping[str, Toml]]]:
        for destination in value:
            yield "[[destinations]]", {"name": destination.name, "path": str(destination.path)}


def _destination(
    given: Given[list[DestinationSettings]], table: DestinationSettings
) -> Destination:
    try:
        name = EntryName.from_text(table.name).text
        if ":" in name:
            raise PathInvalid("it holds a colon, which ends the name in NAME:below")
    except PathInvalid as error:
        raise ConfigError(
            f"{given.where}: {table.name!r} cannot be a destination's name: {error}"
        ) from None
    path = resolve_writable(given.where, table.path, given.base, given.environ)
    return Destination(name, path)
