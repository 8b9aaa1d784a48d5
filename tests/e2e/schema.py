"""Holds JSON strictly against the schemas of an OpenRPC document: what the schema does not name may
not be there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = Any

_TYPES: dict[str, Any] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


def complaints(schema: Json, value: Json, components: Json, where: str = "$") -> Iterator[str]:
    """What is not as the schema says."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        yield from complaints(components[name], value, components, where)
    elif choices := schema.get("anyOf") or schema.get("oneOf"):
        found = [list(complaints(each, value, components, where)) for each in choices]
        if all(found):
            yield from min(found, key=len)
    elif "enum" in schema:
        if value not in schema["enum"]:
            yield f"{where}: {value!r} is none of {schema['enum']}"
    elif "type" in schema:
        yield from _of_type(schema, value, components, where)


def _of_type(schema: Json, value: Json, components: Json, where: str) -> Iterator[str]:
    kind = schema["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield f"{where}: {value!r} is no {kind}"
    elif kind == "array":
        for number, item in enumerate(value):
            yield from complaints(schema.get("items", {}), item, components, f"{where}[{number}]")
    elif kind == "object":
        yield from _object(schema, value, components, where)


def _object(schema: Json, value: Json, components: Json, where: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            yield f"{where}: {name} is missing"
    for name, item in value.items():
        if name in properties:
            yield from complaints(properties[name], item, components, f"{where}.{name}")
        elif (others := schema.get("additionalProperties", "properties" not in schema)) is False:
            yield f"{where}: {name} is not in the schema"
        elif isinstance(others, dict):
            yield from complaints(others, item, components, f"{where}.{name}")
        elif "properties" in schema:
            yield f"{where}: {name} is not in the schema"
