"""The OpenRPC document (https://spec.open-rpc.org) made from the table of methods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from hdpd import __version__
from hdpd.control.call import Method
from hdpd.control.encoding import schema
from hdpd.control.eventtypes import EVENTS
from hdpd.control.results import Lost, SearchHits

Json = dict[str, object]

OPENRPC_VERSION = "1.3.2"
API_VERSION = "1.0.0"
_REF = "#/components/schemas/{name}"


def discover(methods: Iterable[Method]) -> Json:
    """The document that `rpc.discover` answers with."""
    rows = list(methods)
    types: list[type] = [kind for row in rows for kind in (row.params, *row.results)]
    types += [SearchHits, Lost, *(event.result for event in EVENTS.values())]
    _schemas, components = msgspec.json.schema_components(
        types, schema_hook=schema, ref_template=_REF
    )
    return {
        "openrpc": OPENRPC_VERSION,
        "info": {
            "title": "hdpd control interface",
            "version": API_VERSION,
            "description": f"Made by hdpd {__version__}; docs/rpc.md has the prose.",
        },
        "methods": [_method(row, components[row.params.__name__]) for row in rows],
        "components": {"schemas": components},
    }


def _method(row: Method, params: dict[str, Any]) -> Json:
    references = [{"$ref": _REF.format(name=kind.__name__)} for kind in row.results]
    result = references[0] if len(references) == 1 else {"oneOf": references}
    required = params.get("required", [])
    return {
        "name": row.name,
        "summary": row.summary,
        "description": f"Needs the role `{row.role.word}`.",
        "paramStructure": "by-name",
        "params": [
            {"name": name, "required": name in required, "schema": schema}
            for name, schema in params["properties"].items()
        ],
        "result": {"name": "result", "schema": result},
        "examples": [
            {
                "name": row.name,
                "params": [{"name": name, "value": value} for name, value in row.example.items()],
            }
        ],
    }
