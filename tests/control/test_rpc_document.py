"""The documents made from the table of methods agree with it, and docs/rpc.md is up to date."""

from __future__ import annotations

import msgspec
import pytest
from click.testing import CliRunner

from hdpctl.cli import cli
from hdpd.control.document import FILE, HDPCTL_FILE, document, method_list
from hdpd.control.methods import METHODS
from hdpd.control.openrpc import discover
from hdpd.wire.messages import SORT_KEYS

# Section 6 of the design; a client may rely on each of them.
PROMISED = """
daemon.info daemon.shutdown daemon.log
peers.list peers.connect peers.disconnect peers.block peers.unblock peers.invite
peers.invite_qr
topics.list topics.join topics.leave
shares.list shares.add shares.remove shares.rescan
files.list files.search
downloads.add downloads.list downloads.files downloads.pause downloads.resume downloads.cancel
downloads.retry downloads.clear downloads.move
uploads.list uploads.cancel
tokens.new tokens.list tokens.revoke tokens.login_link tokens.current
events.subscribe rpc.discover
"""


def test_all_promised_methods_are_there() -> None:
    assert set(PROMISED.split()) <= set(METHODS)


def test_docs_rpc_md_and_the_help_of_hdpctl_are_up_to_date() -> None:
    assert FILE.read_text() == document(), "run `python -m hdpd.control.document`"
    assert HDPCTL_FILE.read_text() == method_list(), "run `python -m hdpd.control.document`"
    shown = CliRunner().invoke(cli, ["rpc", "--help"]).output
    assert all(line in shown for line in method_list().splitlines())


@pytest.mark.parametrize("name", METHODS)
def test_examples_are_valid_and_unknown_fields_are_not(name: str) -> None:
    method = METHODS[name]
    msgspec.convert(method.example, method.params)
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({**method.example, "unknown": 1}, method.params)


def test_the_openrpc_document_is_whole() -> None:
    text = msgspec.json.encode(discover(METHODS.values())).decode()
    found = msgspec.json.decode(text)
    assert found["openrpc"].startswith("1.")
    assert [method["name"] for method in found["methods"]] == list(METHODS)
    schemas = found["components"]["schemas"]
    for reference in text.split('"$ref":"')[1:]:
        assert reference.partition('"')[0].removeprefix("#/components/schemas/") in schemas
    listing = next(m for m in found["methods"] if m["name"] == "files.list")
    params = {p["name"]: p for p in listing["params"]}
    assert params["peer"]["required"]
    assert not params["limit"]["required"]
    assert params["limit"]["schema"]["maximum"] == 10_000
    assert set(params["sort"]["schema"]["enum"]) == set(SORT_KEYS)
