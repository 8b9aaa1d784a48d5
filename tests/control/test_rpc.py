"""JSON-RPC in process: what is answered to good, wrong and hostile requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdpd.control import jsonrpc
from hdpd.control.auth import OWNER
from hdpd.control.call import Call, Context, Method
from hdpd.control.encoding import Result
from hdpd.control.jsonrpc import answer
from hdpd.control.methods import METHODS
from hdpd.control.parameters import NoParams, Params
from hdpd.control.results import Name, Nothing
from hdpd.control.rules import Role
from hdpd.errors import HdpdError, NoCommonTopic, PeerAmbiguous, PeerNotFound

NOBODY: Any = None


class Number(Params):
    """A number."""

    number: int = 0


class Echo(Result):
    """A number."""

    number: int


class Running:
    now = 0
    most = 0


async def echo(_call: Call, params: Number) -> Echo:
    Running.now += 1
    Running.most = max(Running.most, Running.now)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    Running.now -= 1
    return Echo(number=params.number)


def raising(error: Exception) -> Any:
    async def handler(_call: Call, _params: NoParams) -> Nothing:
        raise error

    return handler


async def not_json(_call: Call, _params: NoParams) -> Name:
    return Name(name="\ud800")


HANDLERS: dict[str, tuple[Any, type[Params]]] = {
    "echo": (echo, Number),
    "bug": (raising(RuntimeError("secret detail")), NoParams),
    "timeout": (raising(TimeoutError("secret detail")), NoParams),
    "missing": (raising(PeerNotFound("no peer is called x")), NoParams),
    "ambiguous": (raising(PeerAmbiguous()), NoParams),
    "forbidden": (raising(NoCommonTopic()), NoParams),
    "not_json": (not_json, NoParams),
}


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    wrapped = jsonrpc._Wrapped(
        {
            name: jsonrpc._wrap(Method(name, Role.READ, handler, params, Nothing, "", {}))
            for name, (handler, params) in HANDLERS.items()
        }
    )
    monkeypatch.setattr(jsonrpc, "_WRAPPED", wrapped)
    yield
    Running.most = 0


def call() -> Call:
    context: Context = NOBODY
    return Call(context, OWNER)


async def ask(request: Any) -> Any:
    text = request if isinstance(request, bytes) else json.dumps(request).encode()
    reply = await answer(text, call())
    return None if reply is None else json.loads(reply)


def request(method: str, id_: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


async def test_a_call_is_answered_with_its_id() -> None:
    for id_ in (1, "a", 1.5, None, 2**70, ""):
        reply = await ask(request("echo", id_, number=7))
        assert reply == {"jsonrpc": "2.0", "result": {"number": 7}, "id": id_}


async def test_params_may_be_left_out_and_must_be_named() -> None:
    bare = {"jsonrpc": "2.0", "id": 1, "method": "echo"}
    assert (await ask(bare))["result"] == {"number": 0}
    assert (await ask({**bare, "params": []}))["result"] == {"number": 0}
    assert (await ask({**bare, "params": [3]}))["error"]["code"] == -32602


async def test_a_notification_runs_and_is_not_answered() -> None:
    notification = {"jsonrpc": "2.0", "method": "echo"}
    assert await ask(notification) is None
    assert Running.most == 1
    assert await ask([notification, notification]) is None
    assert await ask({**notification, "method": "bug"}) is None


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"number": "7"}, "Expected `int`, got `str` - at `$.number`"),
        ({"number": None}, "got `null`"),
        ({"numbr": 7}, "unknown field `numbr`"),
        ({"call": 7}, "unknown field `call`"),
        ({"self": {"deep": [[[]]]}}, "unknown field `self`"),
    ],
)
async def test_wrong_params_are_named(params: dict[str, Any], complaint: str) -> None:
    error = (await ask(request("echo", **params)))["error"]
    assert error["code"] == -32602
    assert error["data"] == {"error": "invalid_params"}
    assert complaint in error["message"]


@pytest.mark.parametrize(
    ("method", "code", "word"),
    [
        ("missing", -32000, "peer_not_found"),
        ("ambiguous", -32602, "peer_ambiguous"),
        ("forbidden", -32001, "no_common_topic"),
        ("nope", -32601, "method_not_found"),
        ("__missing__", -32601, "method_not_found"),
        ("", -32601, "method_not_found"),
    ],
)
async def test_our_own_errors_have_a_code_and_a_word(method: str, code: int, word: str) -> None:
    error = (await ask(request(method)))["error"]
    assert (error["code"], error["data"]) == (code, {"error": word})
    assert error["message"]


@pytest.mark.parametrize("method", ["bug", "timeout", "not_json"])
async def test_nothing_else_reaches_the_client_but_the_log_has_it(
    method: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    error = (await ask(request(method)))["error"]
    assert (error["code"], error["data"]) == (-32603, {"error": "internal_error"})
    assert "secret" not in json.dumps(error)
    assert f"the method {method} failed" in caplog.text
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b'{"jsonrpc": "2.0"',
        b"{} {}",
        b"\xff\xfe",
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        b'{"id": NaN}',
        b'{"id": 1e999}',
        b'{"id": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 100_000,
    ],
)
async def test_text_that_is_no_json(text: bytes) -> None:
    reply = await ask(text)
    assert reply["id"] is None
    assert (reply["error"]["code"], reply["error"]["data"]) == (-32700, {"error": "parse_error"})


@pytest.mark.parametrize(
    "wrong",
    [
        1,
        None,
        "x",
        [],
        {},
        {"method": "echo", "id": 1},
        {"jsonrpc": "1.0", "method": "echo", "id": 1},
        {"jsonrpc": "2.0", "method": 1, "id": 1},
        {"jsonrpc": "2.0", "method": "echo", "id": {}},
        {"jsonrpc": "2.0", "method": "echo", "id": True},
        {"jsonrpc": "2.0", "method": "echo", "id": 1, "params": "x"},
        {"jsonrpc": "2.0", "method": "echo", "id": 1, "extra": 1},
        [request("echo")] * 51,
    ],
)
async def test_json_that_is_no_request(wrong: Any) -> None:
    reply = await ask(wrong)
    assert reply["id"] is None
    assert reply["error"]["code"] == -32600
    assert reply["error"]["data"] == {"error": "invalid_request"}


async def test_a_request_is_bounded() -> None:
    reply = await ask(b" " * (jsonrpc.MAX_MESSAGE_BYTES + 1))
    assert reply["error"]["code"] == -32600


async def test_of_equal_keys_the_last_one_counts() -> None:
    text = b'{"jsonrpc":"2.0","id":1,"id":2,"method":"bug","method":"echo"}'
    assert await ask(text) == {"jsonrpc": "2.0", "result": {"number": 0}, "id": 2}


async def test_a_batch_answers_each_by_itself_and_runs_a_few_at_once() -> None:
    batch = [request("echo", n, number=n) for n in range(47)]
    reply = await ask([*batch, 1, [request("echo")], {"jsonrpc": "2.0", "method": "echo"}])
    assert [one["result"]["number"] for one in reply[:47]] == list(range(47))
    assert [one["error"]["code"] for one in reply[47:]] == [-32600, -32600]
    assert 1 < Running.most <= jsonrpc.BATCH_CONCURRENCY


async def test_a_role_that_is_too_low_is_refused_before_the_params_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = Method("admin", Role.ADMIN, echo, Number, Nothing, "", {})
    wrapped = jsonrpc._Wrapped({"admin": jsonrpc._wrap(method)})
    monkeypatch.setattr(jsonrpc, "_WRAPPED", wrapped)
    caller = Call(NOBODY, type(OWNER)(Role.CONTROL))
    reply = await answer(json.dumps(request("admin", number="x")).encode(), caller)
    assert reply is not None
    assert json.loads(reply)["error"]["code"] == -32001
    assert b"admin" in reply


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
odd_requests = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | json_values,
        "method": st.sampled_from([*HANDLERS, *METHODS]) | json_values,
        "id": st.integers() | json_values,
        "params": st.dictionaries(st.sampled_from(["number", "x"]), json_values) | json_values,
        "extra": json_values,
    },
)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.text().map(lambda text: text.encode(errors="replace"))
    | (json_values | odd_requests | st.lists(odd_requests, max_size=5)).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_whatever_comes_the_answer_is_json_rpc(text: bytes) -> None:
    reply = asyncio.run(answer(text, call()))
    if reply is None:
        return
    decoded = msgspec.json.decode(reply)
    for one in decoded if isinstance(decoded, list) else [decoded]:
        assert one["jsonrpc"] == "2.0"
        assert ("result" in one) != ("error" in one)
        assert set(one) <= {"jsonrpc", "id", "result", "error"}
        if "error" in one:
            assert set(one["error"]) == {"code", "message", "data"}
            assert "secret" not in one["error"]["message"]


def test_every_error_class_has_a_code() -> None:
    assert jsonrpc.error_code(HdpdError) == jsonrpc.SERVER_ERROR
