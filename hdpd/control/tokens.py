"""Access tokens and login codes: made, stored as hashes, checked, revoked.

A token is 160 random bits, shown once. A browser's session is a token too, made when the one-time
code of a login link is used and kept in a cookie; so it survives restarts, is listed, and can be
revoked like any other.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from msgspec import Struct

from hdpd.control.results import TokenInfo
from hdpd.control.rules import Role
from hdpd.database import Database, Transaction
from hdpd.errors import LimitReached, StateUnavailable, TokenNotFound, Unauthorized
from hdpd.recent import Recent

TOKEN_PREFIX = "hdp_"  # lets people and secret scanners see what it is  # noqa: S105
TOKEN_BYTES = 20
CODE_BYTES = 16
CODE_S = 600.0
MAX_TOKENS = 256  # checked one by one at each request
MAX_CODES = 16  # the oldest link stops working when more are made
LAST_USED_S = 60.0  # how exact `last_used` is; saves a write for each request
SESSION_S = 90 * 86400.0  # an unused browser session ends; tokens never do by themselves

_SESSION_PREFIX = "session-"


class Token(Struct):
    """A stored token; the secret itself is not known any more."""

    id: str
    hash: bytes
    role: Role
    created: float
    last_used: float | None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def is_session(id_: str) -> bool:
    """Whether a token was made by logging a browser in."""
    return id_.startswith(_SESSION_PREFIX)


class Tokens:
    """The tokens of state.db, also held in memory, and the open login codes, only there."""

    def __init__(self, state: Database, clock: Callable[[], float] = time.time) -> None:
        self._state = state
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self._codes = Recent[bytes, float](MAX_CODES)  # hash of the code to its expiry
        self._on_revoke: list[Callable[[str], None]] = []

    async def load(self) -> None:
        rows = await self._state.read(
            lambda t: list(t.execute("SELECT id, hash, role, created, last_used FROM token"))
        )
        self._tokens = {
            id_: Token(id_, digest, Role.parse(role), created, last_used)
            for id_, digest, role, created, last_used in rows
        }

    def on_revoke(self, callback: Callable[[str], None]) -> None:
        """Calls back with the id of each token that ends, at once."""
        self._on_revoke.append(callback)

    async def new(self, role: Role) -> tuple[Token, str]:
        """A new token and its text, which can't be had again.

        Raises:
            LimitReached: there are too many.
        """
        return await self._add("token-", role)

    async def _add(self, prefix: str, role: Role) -> tuple[Token, str]:
        await self._end_unused_sessions()
        if len(self._tokens) >= MAX_TOKENS:
            raise LimitReached(f"there are {MAX_TOKENS} tokens already; revoke some first")
        secret = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        token = Token(prefix + secrets.token_hex(4), _hash(secret), role, self._clock(), None)
        # Counted before the write, so that calls side by side keep to the limit.
        self._tokens[token.id] = token
        row = (token.id, token.hash, role.word, token.created)
        try:
            await self._state.write(
                lambda t: t.execute(
                    "INSERT INTO token (id, hash, role, created) VALUES (?, ?, ?, ?)", row
                )
            )
        except BaseException:
            del self._tokens[token.id]
            raise
        return token, secret

    async def _end_unused_sessions(self) -> None:
        oldest = self._clock() - SESSION_S
        for token in list(self._tokens.values()):
            if is_session(token.id) and (token.last_used or token.created) < oldest:
                await self.revoke(token.id)

    def list(self) -> list[TokenInfo]:
        """The oldest first."""
        return [
            TokenInfo(
                id=token.id,
                role=token.role.word,
                created=token.created,
                last_used=token.last_used,
            )
            for token in sorted(self._tokens.values(), key=lambda token: token.created)
        ]

    async def revoke(self, id_: str) -> None:
        """Ends a token; it is refused from this moment on.

        Raises:
            TokenNotFound: no token has that id.
        """
        if self._tokens.pop(id_, None) is None:
            raise TokenNotFound(f"there is no token with the id {id_}")
        for callback in self._on_revoke:
            callback(id_)
        await self._state.write(lambda t: t.execute("DELETE FROM token WHERE id = ?", (id_,)))

    async def check(self, secret: str) -> Token | None:
        """The token with that text, or None."""
        digest = _hash(secret)
        found = None
        for token in self._tokens.values():
            if hmac.compare_digest(token.hash, digest):
                found = token
        if found is not None:
            await self._note_use(found)
        return found

    async def _note_use(self, token: Token) -> None:
        now = self._clock()
        if token.last_used is not None and abs(now - token.last_used) < LAST_USED_S:
            return
        token.last_used = now

        def update(transaction: Transaction) -> None:
            transaction.execute("UPDATE token SET last_used = ? WHERE id = ?", (now, token.id))

        with contextlib.suppress(StateUnavailable):  # nobody is kept out for that
            await self._state.write(update)

    def new_code(self) -> tuple[str, float]:
        """A login code and when it expires (seconds since the epoch)."""
        code = secrets.token_urlsafe(CODE_BYTES)
        expires = self._clock() + CODE_S
        self._codes.put(_hash(code), expires)
        return code, expires

    async def use_code(self, code: str) -> str:
        """The text of a new session's token, which may do everything, for a login code.

        Raises:
            Unauthorized: unknown, used or expired.
        """
        digest = _hash(code)
        expires = None
        for known in list(self._codes):
            if hmac.compare_digest(known, digest):
                expires = self._codes.pop(known)
        if expires is None or expires < self._clock():
            raise Unauthorized("the login link was used already or has expired; ask for a new one")
        _token, secret = await self._add(_SESSION_PREFIX, Role.ADMIN)
        return secret
