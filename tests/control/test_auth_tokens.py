"""Tokens and login codes: only hashes are kept, codes work once, revoked is revoked."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hdpd.control import tokens as tokens_module
from hdpd.control.rules import Role
from hdpd.control.tokens import Tokens
from hdpd.database import Database
from hdpd.errors import LimitReached, TokenNotFound, Unauthorized


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def opened(tmp_path: Path, clock: Clock) -> AsyncIterator[tuple[Tokens, Database]]:
    state = Database(tmp_path / "state.db", "state")
    await state.open()
    tokens = Tokens(state, clock)
    await tokens.load()
    try:
        yield tokens, state
    finally:
        await state.close()


async def rows(state: Database) -> list[tuple[object, ...]]:
    return await state.read(lambda t: list(t.execute("SELECT hash, role, last_used FROM token")))


async def test_a_token_is_stored_as_its_hash_and_known_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as (tokens, state):
        token, secret = await tokens.new(Role.READ)
        assert secret.startswith("hdp_")
        assert len(secret) >= 4 + 22  # 128 bits or more, 6 bits a character
        assert await rows(state) == [(hashlib.sha256(secret.encode()).digest(), "read", None)]
        again = Tokens(state)
        await again.load()
        found = await again.check(secret)
        assert found is not None
        assert (found.id, found.role) == (token.id, Role.READ)
        assert await again.check(secret + "x") is None
        assert await again.check("\udcff") is None


async def test_the_last_use_is_written_once_a_minute(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as (tokens, state):
        _token, secret = await tokens.new(Role.ADMIN)
        for now, expected in ((1001, 1001), (1060, 1001), (1061, 1061), (5, 5)):
            clock.now = now
            await tokens.check(secret)
            assert [row[2] for row in await rows(state)] == [expected]
        assert tokens.list()[0].last_used == 5


async def test_a_revoked_token_is_gone_everywhere_and_its_users_are_told(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as (tokens, state):
        ended: list[str] = []
        tokens.on_revoke(ended.append)
        token, secret = await tokens.new(Role.ADMIN)
        await tokens.revoke(token.id)
        assert ended == [token.id]
        assert await tokens.check(secret) is None
        assert await rows(state) == []
        assert tokens.list() == []
        with pytest.raises(TokenNotFound):
            await tokens.revoke(token.id)


async def test_a_code_makes_one_session_and_expires(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as (tokens, _state):
        code, expires = tokens.new_code()
        assert expires == clock.now + 600
        secret = await tokens.use_code(code)
        session = await tokens.check(secret)
        assert session is not None
        assert session.role is Role.ADMIN
        late, _expires = tokens.new_code()
        clock.now += 601
        for wrong in (code, late, "", "x" * 1000):
            with pytest.raises(Unauthorized):
                await tokens.use_code(wrong)


async def test_only_the_latest_codes_are_kept(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as (tokens, _state):
        codes = [tokens.new_code()[0] for _ in range(tokens_module.MAX_CODES + 1)]
        with pytest.raises(Unauthorized):
            await tokens.use_code(codes[0])
        await tokens.use_code(codes[1])


async def test_tokens_are_bounded_and_forgotten_sessions_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens_module, "MAX_TOKENS", 2)
    clock = Clock()
    async with opened(tmp_path, clock) as (tokens, _state):
        await tokens.new(Role.READ)
        session = await tokens.use_code(tokens.new_code()[0])
        with pytest.raises(LimitReached):
            await tokens.new(Role.READ)
        clock.now += 91 * 86400
        await tokens.new(Role.READ)
        assert await tokens.check(session) is None
        assert len(tokens.list()) == 2
