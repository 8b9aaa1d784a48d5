"""What a method is, and what it is called with: the parts it may use, who calls, the connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol

from msgspec import Struct, field

from hdpd.control.access import Access
from hdpd.control.auth import Caller
from hdpd.control.encoding import Result
from hdpd.control.events import Events, Subscription
from hdpd.control.logring import LogRing
from hdpd.control.parameters import Params
from hdpd.control.rules import Role
from hdpd.control.searches import Searches
from hdpd.control.services import Services
from hdpd.control.tokens import Tokens
from hdpd.errors import InvalidParams


class Context(Struct, frozen=True):
    """What all methods share."""

    services: Services
    events: Events
    tokens: Tokens
    searches: Searches
    log: LogRing
    access: Access


class Client(Protocol):
    """A WebSocket connection, which can be sent more than answers."""

    async def notify(self, method: str, params: Result) -> None:
        """Sends a notification, waiting while the client is slow."""

    def start(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs `job` until it ends or the connection does."""

    def follow(self, subscription: Subscription) -> None:
        """Sends the subscription's events from now on, in place of an earlier one's."""


class Call(Struct, frozen=True):
    """One call of a method. What is in `after_answer` runs when its answer is on its way, so that
    a client knows the id that notifications carry.
    """

    context: Context
    caller: Caller
    client: Client | None = None
    after_answer: list[Callable[[], None]] = field(default_factory=list)

    @property
    def services(self) -> Services:
        return self.context.services

    def need_client(self) -> Client:
        """The connection. Raises InvalidParams when the call came by POST."""
        if self.client is None:
            raise InvalidParams("this needs a WebSocket, as notifications follow the answer")
        return self.client


class Method(Struct, frozen=True):
    """A row of the table of methods: `role` is the least one that may call it, `result` one type
    or the alternatives, `example` some parameters.
    """

    name: str
    role: Role
    handler: Callable[[Call, Any], Awaitable[Result]]
    params: type[Params]
    result: type[Result] | tuple[type[Result], ...]
    summary: str
    example: Mapping[str, object]

    @property
    def results(self) -> tuple[type[Result], ...]:
        return self.result if isinstance(self.result, tuple) else (self.result,)
