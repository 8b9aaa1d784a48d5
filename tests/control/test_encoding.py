"""What the parts return as clients get it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from hdpd.config import HostPort
from hdpd.control import results as r
from hdpd.control.encoding import Text, encode, show
from hdpd.control.eventtypes import EVENTS, News
from hdpd.identity.keys import PeerId
from hdpd.nat.report import NatReport, PortMapping
from hdpd.uploads.status import ActiveUpload, UploadsStatus
from hdpd.wire.paths import RemotePath

UPLOAD = ActiveUpload(PeerId(bytes(32)), "Name", RemotePath(b"Music/\xff"), 0, 10, 5)


def as_json(kind: Any, value: object) -> Any:
    return json.loads(encode(show(kind, value)))


def test_types_of_ours_are_text() -> None:
    assert as_json(r.ActiveUpload, UPLOAD) == {
        "peer": "a" * 52,
        "peer_name": "Name",
        "path": "Music/\uefff",
        "offset": 0,
        "size": 10,
        "rate": 5,
    }


def test_properties_are_shown_and_what_has_no_name_is_not() -> None:
    mapped = PortMapping("pcp", ipv6=False, state="mapped", external=HostPort("2001:db8::1", 3031))
    refused = PortMapping("upnp", ipv6=True, state="refused", error="it does not allow this")
    report = NatReport(online=True, port_mappings=(mapped, refused))
    shown = as_json(r.NatReport, report)
    assert shown["sentence"] == report.sentence
    assert shown["public_ipv4"] is None
    assert shown["port_mappings"] == [
        {
            "protocol": "pcp",
            "ipv6": False,
            "state": "mapped",
            "external": "[2001:db8::1]:3031",
            "error": None,
        },
        {
            "protocol": "upnp",
            "ipv6": True,
            "state": "refused",
            "external": None,
            "error": "it does not allow this",
        },
    ]
    assert "stun_asked" not in shown


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (r.ActiveUpload, replace(UPLOAD, size=1.5)),
        (r.ActiveUpload, replace(UPLOAD, path=None)),
        (r.ActiveUpload, replace(UPLOAD, path=b"raw")),
        (r.ActiveUpload, UploadsStatus()),
        (r.PortMappingInfo, PortMapping("pcp", ipv6=False, state="asleep")),  # type: ignore[arg-type]
        (list[Text], [object()]),
    ],
)
def test_what_is_not_as_promised_is_not_shown(kind: Any, value: object) -> None:
    with pytest.raises((msgspec.ValidationError, TypeError)):
        show(kind, value)


def test_every_event_has_a_row() -> None:
    assert set(EVENTS) == set(News.__args__)
