"""The description is true: of the right form, whole, and answered to those who may do anything."""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from tests.console.harness import admin

from inhouse.console.call import Call
from inhouse.console.openapi import document
from inhouse.console.routes import TABLE

TYPES = {"string", "integer", "number", "boolean", "array", "object", "null"}
KEYWORDS = {
    "$ref", "type", "enum", "anyOf", "items", "properties", "required", "additionalProperties",
    "format", "pattern", "default", "title", "description", "minimum", "maximum", "minLength",
    "maxLength", "minItems", "maxItems",
}  # fmt: skip


def every_schema(node: Any) -> Iterator[dict[str, Any]]:
    """The schemas in a description, wherever they stand."""
    if isinstance(node, dict):
        for name, each in node.items():
            if name in ("schema", "items") or (
                name == "additionalProperties" and isinstance(each, dict)
            ):
                yield each
            elif name in ("schemas", "properties"):
                yield from each.values()
            elif name == "anyOf":
                yield from each
            yield from every_schema(each)
    elif isinstance(node, list):
        for each in node:
            yield from every_schema(each)


async def test_it_is_served_to_whoever_may_do_anything_here(tmp_path: Path) -> None:
    async with admin(tmp_path) as started:
        for role in ("admin", "auditor", "user"):
            answer = await started.get("openapi.json", role)
            assert answer.json() == json.loads(msgspec.json.encode(document(TABLE.routes)))
        assert (await started.get("openapi.json", "nobody")).status_code == 403


def test_it_is_openapi() -> None:
    told = document(TABLE.routes)
    assert told["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(told["info"])
    names = []
    for path, methods in told["paths"].items():
        assert path.startswith("/admin/v1/")
        for method, operation in methods.items():
            assert method in {"get", "post", "put", "patch", "delete"}
            names.append(operation["operationId"])
            parameters = operation.get("parameters", [])
            in_path = [each["name"] for each in parameters if each["in"] == "path"]
            assert in_path == re.findall(r"\{(\w+)\}", path)
            assert all(each["required"] for each in parameters if each["in"] == "path")
            assert len({(each["in"], each["name"]) for each in parameters}) == len(parameters)
            assert "default" in operation["responses"]
            assert len(operation["responses"]) == 2
            assert all(each["description"] for each in operation["responses"].values())
    assert len(set(names)) == len(names) == len(TABLE.routes)


def test_its_schemas_are_whole() -> None:
    told = json.loads(msgspec.json.encode(document(TABLE.routes)))
    components = told["components"]["schemas"]
    used = set()
    for schema in every_schema(told):
        assert set(schema) <= KEYWORDS, schema
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/components/schemas/")
            used.add(name)
            assert name in components
        elif "type" in schema:
            assert schema["type"] in TYPES
    assert used == set(components)


def test_handlers_take_and_give_what_the_table_says() -> None:
    for route in TABLE.routes:
        hints = get_type_hints(route.handler)
        answer = hints.pop("return")
        assert answer == (msgspec.Raw if route.permission is None else route.answer), route.path
        assert hints.pop("call") is Call
        assert hints.pop("body", None) is route.body
        assert hints.pop("query", None) is route.query
        assert set(hints) == set(route.parameters)
        assert all(kind is str for kind in hints.values())
        assert not inspect.iscoroutinefunction(route.handler)


def test_bodies_and_queries_refuse_what_they_do_not_know() -> None:
    for route in TABLE.routes:
        for kind in (route.body, route.query):
            assert kind is None or kind.__struct_config__.forbid_unknown_fields, route.path
        assert (route.body is None) or route.method not in ("GET", "DELETE")
