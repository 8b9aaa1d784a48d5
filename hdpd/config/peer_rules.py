"""The `[peers]` tables: what the owner grants to single peers, and everybody's quota. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from hdpd.config.kinds import Given, Tables, Toml
from hdpd.config.sizes import exact_size, parse_size
from hdpd.config.values import HostPort, parse_host_port
from hdpd.errors import ConfigError, ProtocolError
from hdpd.identity.keys import PEER_ID_CHARS, PeerId

MIN_ID_CHARS: Final = 8
"""Of the beginning of an id; that of a peer that nobody has made up to be taken for another."""

DEFAULT_PORT: Final = 3031
_ID = re.compile(rf"[a-z2-7]{{{MIN_ID_CHARS},{PEER_ID_CHARS}}}")


class PeerRule(msgspec.Struct, frozen=True):
    """What one `[peers."ID"]` table says; `id` is a peer's id or its beginning. `address` is where
    it can always be reached, and the id is complete then.
    """

    id: str
    favourite: bool = False
    quota: str | None = None
    address: HostPort | None = None


class PeerRules(msgspec.Struct, frozen=True):
    """All of them, and the daily quota of bytes of everybody else; None is no quota."""

    rules: tuple[PeerRule, ...] = ()
    quota: int | None = None

    def is_favourite(self, peer: PeerId) -> bool:
        """Whether the peer goes before others in the line for upload slots."""
        rule = self._of(peer)
        return rule is not None and rule.favourite

    def quota_of(self, peer: PeerId) -> int | None:
        """Bytes that may be sent to the peer in a day."""
        rule = self._of(peer)
        if rule is None or rule.quota is None:
            return self.quota
        return parse_quota(rule.quota)

    def _of(self, peer: PeerId) -> PeerRule | None:
        if not self.rules:
            return None
        text = peer.text
        fitting = (rule for rule in self.rules if text.startswith(rule.id))
        return max(fitting, key=lambda rule: len(rule.id), default=None)


def parse_quota(text: str) -> int | None:
    """Bytes, or None for `none`; raises ValueError as `parse_size` does."""
    return None if text == "none" else parse_size(text)


def format_quota(quota: int | None) -> str:
    """A text that `parse_quota` reads as exactly this quota."""
    return "none" if quota is None else exact_size(quota)


class PeerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[peers."ID"]` table."""

    favourite: bool = False
    quota: str | None = None
    address: str | None = None


class Peers(Tables[dict[str, PeerSettings], tuple[PeerRule, ...]]):
    """The `[peers]` tables of all files; of two for one id the later one counts."""

    toml = dict[str, PeerSettings]
    tables: Mapping[str, type[msgspec.Struct]] = {".ID": PeerSettings}

    def read(self, given: Sequence[Given[dict[str, PeerSettings]]]) -> tuple[PeerRule, ...]:
        rules: dict[str, PeerRule] = {}
        for each in given:
            rules |= {id_: _rule(each.where, id_, table) for id_, table in each.value.items()}
        return tuple(rules.values())

    def show_tables(self, value: tuple[PeerRule, ...]) -> Iterator[tuple[str, Mapping[str, Toml]]]:
        for rule in value:
            quota = {} if rule.quota is None else {"quota": rule.quota}
            address = {} if rule.address is None else {"address": str(rule.address)}
            yield f'[peers."{rule.id}"]', {"favourite": rule.favourite, **quota, **address}


def _rule(where: str, id_: str, table: PeerSettings) -> PeerRule:
    if not _ID.fullmatch(id_):
        raise ConfigError(
            f"{where}: {id_!r} is not a peer's id or the first {MIN_ID_CHARS} or more "
            "characters of one (names are not unique); `hdpctl peers --json` lists them"
        )
    try:
        parse_quota(table.quota or "none")
    except ValueError as error:
        raise ConfigError(f"{where}.{id_}.quota: {error}") from None
    return PeerRule(id_, table.favourite, table.quota, _address(where, id_, table))


def _address(where: str, id_: str, table: PeerSettings) -> HostPort | None:
    if table.address is None:
        return None
    if len(id_) != PEER_ID_CHARS:
        raise ConfigError(
            f"{where}.{id_}.address: it goes with the whole id, of {PEER_ID_CHARS} characters"
        )
    try:
        PeerId.parse(id_)
        return parse_host_port(table.address, DEFAULT_PORT)
    except ProtocolError:
        raise ConfigError(f"{where}.{id_}: this is no peer's id") from None
    except ValueError as error:
        raise ConfigError(f"{where}.{id_}.address: {error}") from None
