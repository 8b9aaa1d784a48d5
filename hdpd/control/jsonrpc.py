"""JSON-RPC 2.0: text in, text out. The only importer of jsonrpcserver.

jsonrpcserver 5 would tell a client the text of any exception and run a batch of any size at once;
so every method is wrapped, and requests of a batch are handed to it one by one.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from hdpd.control.call import Call, Method
from hdpd.control.encoding import encode
from hdpd.control.methods import METHODS
from hdpd.errors import Forbidden, HdpdError, InvalidParams

with warnings.catch_warnings():
    # It reads a file of its own in a way that is deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from jsonrpcserver import Error, Result, Success, async_dispatch_to_serializable

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES: Final = 1024 * 1024
MAX_BATCH: Final = 50
BATCH_CONCURRENCY: Final = 8

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
SERVER_ERROR: Final = -32000
FORBIDDEN: Final = -32001


def error_text(code: int, message: str, word: str) -> bytes:
    """The answer to what is no request that could be answered by its id."""
    return msgspec.json.encode(_error_answer(code, message, word))


def _error_answer(code: int, message: str, word: str) -> dict[str, Any]:
    error = {"code": code, "message": message, "data": {"error": word}}
    return {"jsonrpc": "2.0", "error": error, "id": None}


def _error(code: int, message: str, word: str) -> Result:
    return Error(code, message, {"error": word})


def error_code(kind: type[HdpdError]) -> int:
    """The JSON-RPC code of our own errors: whether the call is wrong, forbidden, or came amiss."""
    if issubclass(kind, InvalidParams):
        return INVALID_PARAMS
    return FORBIDDEN if issubclass(kind, Forbidden) else SERVER_ERROR


def _wrap(method: Method) -> Callable[..., Awaitable[Result]]:
    async def run(call: Call, /, *args: object, **kwargs: object) -> Result:
        try:
            return Success(await _run(method, call, args, kwargs))
        except HdpdError as error:
            return _error(error_code(type(error)), error.message, error.code)
        except Exception:
            log.exception("the method %s failed", method.name)
            return _error(
                INTERNAL_ERROR,
                "something went wrong inside hdpd; its log says more",
                "internal_error",
            )

    return run


async def _run(
    method: Method, call: Call, args: tuple[object, ...], kwargs: dict[str, object]
) -> msgspec.Raw:
    if call.caller.role < method.role:
        raise Forbidden(
            f"{method.name} needs a token with the role {method.role.word}, "
            f"this one has {call.caller.role.word}"
        )
    if args:
        raise InvalidParams("parameters go by name: params must be an object")
    try:
        params = msgspec.convert(kwargs, method.params)
    except msgspec.ValidationError as error:
        raise InvalidParams(f"{method.name}: {error}") from None
    # Encoded here, so that a result that cannot be is an error of this method alone.
    return msgspec.Raw(encode(await method.handler(call, params)))


class _Wrapped(dict[str, Callable[..., Awaitable[Result]]]):
    """The wrapped methods; a name that is none finds one that says so."""

    def __missing__(self, name: str) -> Callable[..., Awaitable[Result]]:
        async def unknown(_call: Call, /, *_args: object, **_kwargs: object) -> Result:
            message = f"there is no method {name[:100]!r}; rpc.discover lists them"
            return _error(METHOD_NOT_FOUND, message, "method_not_found")

        return unknown


_WRAPPED = _Wrapped({name: _wrap(method) for name, method in METHODS.items()})


async def answer(text: bytes, call: Call) -> bytes | None:
    """Runs one request or batch and returns the text of the answer; None when nobody waits for
    one. Of equal keys in an object the last one counts.

    Never raises: whatever the text is, the answer says what is wrong with it.
    """
    if len(text) > MAX_MESSAGE_BYTES:
        message = f"a request is longer than {MAX_MESSAGE_BYTES} bytes"
        return error_text(INVALID_REQUEST, message, "invalid_request")
    try:
        request = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return error_text(PARSE_ERROR, f"the request is not JSON: {error}", "parse_error")
    if not isinstance(request, list):
        return _encode(await _dispatch(request, call))
    if not 1 <= len(request) <= MAX_BATCH:
        message = f"a batch holds 1 to {MAX_BATCH} requests"
        return error_text(INVALID_REQUEST, message, "invalid_request")
    return await _answer_batch(request, call)


async def _answer_batch(batch: list[object], call: Call) -> bytes | None:
    places = asyncio.Semaphore(BATCH_CONCURRENCY)

    async def dispatch(request: object) -> object:
        async with places:
            return await _dispatch(request, call)

    answers = await asyncio.gather(*map(dispatch, batch))
    return _encode([answer for answer in answers if answer is not None] or None)


async def _dispatch(request: object, call: Call) -> object:
    """Runs one request; None for a notification."""
    if not isinstance(request, dict):
        message = "a request is an object with jsonrpc, method and id"
        return _error_answer(INVALID_REQUEST, message, "invalid_request")
    answer = await async_dispatch_to_serializable(
        "", _WRAPPED, context=call, deserializer=lambda _text: request
    )
    if isinstance(answer, dict) and answer.get("error", {}).get("code") == INVALID_REQUEST:
        message = 'a request has "jsonrpc": "2.0", method, params (an object), id, and no more'
        return _error_answer(INVALID_REQUEST, message, "invalid_request")
    return answer


def _encode(answer: object) -> bytes | None:
    return None if answer is None else msgspec.json.encode(answer)
