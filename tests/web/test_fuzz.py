"""The JSON-RPC of a real daemon, fuzzed from its own OpenRPC document: whatever comes, it answers
with a result or an error for the caller, never with a mistake of hdpd.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hdpd.control.methods import METHODS
from tests.e2e.harness import Daemon, Lab
from tests.web.calls import call, post

INTERNAL_ERROR = -32603
# What would end the test, or takes a second each time, for a scrypt or to look at the machine.
LEFT_OUT = {"daemon.shutdown", "daemon.doctor", "topics.join", "peers.invite"}
EXAMPLES = 12

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    root = Path(tempfile.mkdtemp(prefix="hdp-"))
    lab = Lab(root)
    try:
        daemon = lab.daemon("a")
        (daemon.share / "file.txt").write_text("x")
        daemon.start()
        daemon.wait_scanned()
        yield daemon
    finally:
        try:
            lab.close()  # fails when the log holds a traceback
        finally:
            shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def document(daemon: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = call(daemon.socket, "rpc.discover", {})
    return found


def values(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that fit a schema of the document; mostly."""
    if reference := schema.get("$ref"):
        return values(document["components"]["schemas"][reference.rpartition("/")[2]], document)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of(*(values(each, document) for each in schema["anyOf"]))
    match schema.get("type"):
        case "string":
            usual = st.sampled_from(["a", "media", "media/file.txt", "self", "..", "hdp1-x"])
            return usual | st.text(max_size=min(40, schema.get("maxLength", 40)))
        case "integer":
            return st.integers(schema.get("minimum", -10), min(schema.get("maximum", 10), 10**6))
        case "boolean":
            return st.booleans()
        case "array":
            return st.lists(values(schema["items"], document), max_size=3)
    return anything


def requests(method: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    fitting = st.fixed_dictionaries(
        {},
        optional={
            each["name"]: values(each["schema"], document) | anything for each in method["params"]
        },
    )
    return st.fixed_dictionaries(
        {
            "jsonrpc": st.just("2.0"),
            "id": st.integers(),
            "method": st.just(method["name"]),
            "params": fitting | anything,
        }
    )


@pytest.mark.parametrize("name", sorted(set(METHODS) - LEFT_OUT))
def test_no_call_makes_a_mistake_of_hdpd(
    daemon: Daemon, document: dict[str, Any], name: str
) -> None:
    [method] = [each for each in document["methods"] if each["name"] == name]

    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.lists(requests(method, document), min_size=1, max_size=4))
    def fuzz(batch: list[Any]) -> None:
        answers = post(daemon.socket, batch)
        assert len(answers) == len(batch)
        for answer in answers:
            assert ("result" in answer) != ("error" in answer)
            assert answer.get("error", {}).get("code") != INTERNAL_ERROR, (batch, answer)

    fuzz()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(anything)
def test_no_document_makes_a_mistake_of_hdpd(daemon: Daemon, value: Any) -> None:
    answer = post(daemon.socket, value)
    for each in answer if isinstance(answer, list) else [answer]:
        assert each["error"]["code"] != INTERNAL_ERROR
